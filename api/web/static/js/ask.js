// Ask: a question in words; the answer streams in and its citations [1] play the footage.

import { events } from "./api.js";
import { el, icon } from "./dom.js";
import { finePrint, hitCard, startOf, whereFields } from "./results.js";
import { play, state } from "./state.js";
import { problemBox } from "./toast.js";

const EXAMPLES = ["What happened?", "Did something red pass?", "What was said?", "Which words could be read?"];

export function mountAsk(root) {
  const question = el("textarea", { rows: 2, maxlength: 2000, required: true, placeholder: "What happened at the door?", "aria-label": "Question" });
  const send = el("button", { type: "submit", class: "button primary icon-only", "aria-label": "Ask" }, icon("send"));
  const where = whereFields(state);
  const answers = el("div", { class: "answers" });
  const hint = el("div", { class: "empty" }, el("h3", {}, "Ask about the footage"),
    el("p", {}, "Answers come from what was seen, read and heard, and each one shows the footage it rests on."),
    el("div", { class: "chips" }, EXAMPLES.map((text) => el("button", { type: "button", class: "chip", onclick: () => ask(text) }, text))));
  let running = null;

  async function ask(text) {
    hint.remove();
    running?.abort();
    running = new AbortController();
    const mine = running;
    const answer = new Answer(text, () => mine.abort());
    answers.prepend(answer.element);
    send.disabled = true;
    try {
      for await (const { event, data } of events("/ask", { question: text, ...where.value() }, mine.signal)) answer.hear(event, data);
      answer.finish();
    } catch (error) {
      answer.fail(error);
    } finally {
      if (running === mine) send.disabled = false;
    }
  }

  const form = el("form", { class: "ask-form" }, el("div", { class: "ask-box" }, question, send), where.element);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = question.value.trim();
    if (!text) return;
    question.value = "";
    ask(text);
  });
  question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  root.replaceChildren(form, hint, answers);
}

class Answer {
  constructor(question, stop) {
    this.streamed = "";
    this.text = el("p", { class: "answer-text writing" });
    this.rest = el("div", { class: "answer-rest" });
    this.stop = el("button", { type: "button", class: "chip", onclick: stop }, "Stop");
    this.element = el("article", { class: "answer", "aria-busy": "true", "aria-live": "polite" }, el("h3", { class: "question" }, question), this.text, this.stop, this.rest);
  }

  hear(event, data) {
    if (event === "token") {
      this.streamed += data.text;
      this.text.replaceChildren(this.streamed);
    } else if (event === "answer") {
      this.done = true;
      this.show(data);
    } else if (event === "problem") {
      this.done = true;
      this.rest.replaceChildren(problemBox({ message: data.detail, advice: data.advice }));
    }
  }

  show(answer) {
    this.element.classList.toggle("not-found", !answer.found);
    this.text.replaceChildren(...cited(answer.text, answer.citations));
    const took = Object.values(answer.timings_ms).reduce((sum, ms) => sum + ms, 0);
    const extra = `${answer.model} · ${answer.profile} · ${(took / 1000).toFixed(1)} s`;
    this.rest.replaceChildren(
      el("div", { class: "hits" }, answer.citations.map((one) => hitCard(one, { number: one.number }))),
      finePrint({ ...answer, extra }));
  }

  finish() {
    this.settle();
    if (!this.done) this.rest.replaceChildren(problemBox({ message: "The answer broke off.", advice: "Ask again." }));
  }

  fail(error) {
    this.settle();
    if (error.name === "AbortError") this.rest.replaceChildren(el("p", { class: "fine-print" }, "Stopped."));
    else this.rest.replaceChildren(problemBox(error));
  }

  settle() {
    this.stop.remove();
    this.text.classList.remove("writing");
    this.element.setAttribute("aria-busy", "false");
  }
}

/** The text with each [n] that is a citation as a button that plays it. */
function cited(text, citations) {
  const known = new Map(citations.map((one) => [one.number, one]));
  return text.split(/(\[\d+\])/).filter(Boolean).map((piece) => {
    const one = known.get(Number(/^\[(\d+)\]$/.exec(piece)?.[1]));
    if (!one) return piece;
    return el("button", { type: "button", class: "citation", "aria-label": `Play evidence ${one.number}, ${one.span.label}`, title: `${one.stream_name}, ${one.span.label}`,
      onclick: () => play(one.stream, startOf(one)) }, String(one.number));
  });
}
