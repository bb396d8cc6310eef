// Erasing: a stretch of a stream or all of it, after a question, with the receipt of what is gone.

import { post } from "./api.js";
import { el, field, modal } from "./dom.js";
import { set, state } from "./state.js";
import { problemBox } from "./toast.js";

export function openErase(stream, whole = false) {
  const from = el("input", { required: !whole, placeholder: "00:00:30 or yesterday 14:00", autocomplete: "off" });
  const to = el("input", { required: !whole, placeholder: "00:01:00 or yesterday 15:00", autocomplete: "off" });
  const name = el("input", { required: true, autocomplete: "off", spellcheck: "false" });
  const outcome = el("div", {});
  const erase = el("button", { type: "submit", class: "button danger" }, whole ? "Erase everything" : "Erase this stretch");
  const actions = el("div", { class: "actions" }, el("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"), erase);

  function matches() {
    name.setCustomValidity(name.value.trim() === stream.name ? "" : `Type ${stream.name} to go on.`);
  }

  async function submit(event) {
    event.preventDefault();
    erase.disabled = true;
    outcome.replaceChildren();
    // Nothing may be asked about it while it goes.
    if (whole) set({ streams: state.streams.filter((one) => one.id !== stream.id), current: null });
    try {
      const times = whole ? {} : { from: from.value.trim(), to: to.value.trim() };
      receipt(await post("/erase", { stream: stream.id, ...times }));
    } catch (error) {
      outcome.replaceChildren(problemBox(error));
      erase.disabled = false;
      document.dispatchEvent(new Event("streams-changed"));
    }
  }

  function receipt(done) {
    const removed = Object.entries(done.removed).filter(([, count]) => count);
    form.replaceChildren(
      el("p", {}, done.span ? `${done.stream}, ${done.span.label}, is erased.` : `${done.stream} is erased.`),
      removed.length ? el("ul", { class: "receipt" }, removed.map(([what, count]) => el("li", {}, `${count} ${what}`))) : el("p", {}, "There was nothing to remove."),
      done.verified_gone.length ? el("p", { class: "fine-print" }, `Looked for afterwards and not found: ${done.verified_gone.join(", ")}.`) : "",
      done.note ? el("p", { class: "fine-print" }, done.note) : "",
      el("div", { class: "actions" }, el("button", { type: "button", class: "button primary", onclick: () => dialog.close() }, "Done")));
    set({ hits: state.hits.filter((hit) => hit.stream !== stream.id) });
    if (!whole) document.dispatchEvent(new Event("footage-erased"));
    document.dispatchEvent(new Event("streams-changed"));
  }

  name.addEventListener("input", matches);
  matches();
  const explained = whole
    ? "Everything remembered of this stream goes: pictures, words, alerts, recordings made here. A file of yours that it was read from stays."
    : "What was remembered and recorded in this stretch goes. A file of yours that it was read from stays.";
  const form = el("form", { class: "form", onsubmit: submit }, el("p", {}, explained),
    whole ? null : el("div", { class: "pair" }, field("From", from), field("To", to)),
    field("Type the stream's name to confirm", name, stream.name), el("p", { class: "warning" }, "This cannot be undone."), outcome, actions);
  const dialog = modal(whole ? "Remove this stream" : "Erase footage", form);
}
