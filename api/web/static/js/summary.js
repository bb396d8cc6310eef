// Summary: what happened in a stretch of time, with its highlights.

import { get } from "./api.js";
import { el } from "./dom.js";
import { finePrint, hitCard, whereFields } from "./results.js";
import { state } from "./state.js";
import { problemBox } from "./toast.js";

export function mountSummary(root) {
  const where = whereFields(state);
  const make = el("button", { type: "submit", class: "button primary" }, "Summarise");
  const result = el("div", { class: "results", "aria-live": "polite" }, el("div", { class: "empty" }, el("h3", {}, "What happened, in short"),
    el("p", {}, "A few sentences about a stretch of time and its most telling moments. Leave the times empty for everything.")));

  async function summarise(event) {
    event.preventDefault();
    make.disabled = true;
    result.replaceChildren(el("p", { class: "working" }, "Reading back…"));
    try {
      const { streams, from, to } = where.value();
      const parameters = new URLSearchParams(streams.map((stream) => ["stream", stream]));
      if (from) parameters.set("from", from);
      if (to) parameters.set("to", to);
      show(await get(`/summary?${parameters}`));
    } catch (error) {
      result.replaceChildren(problemBox(error));
    } finally {
      make.disabled = false;
    }
  }

  function show(summary) {
    result.replaceChildren(
      el("div", { class: "answer" }, summary.text.split("\n").filter(Boolean).map((line) => el("p", { class: "answer-text" }, line))),
      el("div", { class: "hits" }, summary.highlights.map((hit, at) => hitCard(hit, { number: at + 1 }))),
      finePrint({ searched: { streams: summary.streams, span: summary.span }, gaps: summary.gaps, more_gaps: summary.more_gaps }));
  }

  root.replaceChildren(el("form", { class: "ask-form", onsubmit: summarise }, where.element, make), result);
}
