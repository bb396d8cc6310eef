// Find: an event in words; where it was becomes marks on the timeline.

import { post, searchPicture } from "./api.js";
import { el, icon } from "./dom.js";
import { finePrint, hitCard, whereFields } from "./results.js";
import { openRule } from "./rules.js";
import { set, state } from "./state.js";
import { problemBox } from "./toast.js";

const EXAMPLES = ["something red", "something enters", "something moves left", "someone is speaking"];

export function mountFind(root) {
  const words = el("input", { maxlength: 500, required: true, placeholder: "a red car", "aria-label": "What to find", autocomplete: "off" });
  const search = el("button", { type: "submit", class: "button primary icon-only", "aria-label": "Find" }, icon("search"));
  const where = whereFields(state);
  const results = el("div", { class: "results", "aria-live": "polite" });
  const clear = el("button", { type: "button", class: "chip", onclick: forget }, "Clear");

  function forget() {
    set({ hits: [] });
    results.replaceChildren(hint());
  }

  function hint() {
    return el("div", { class: "empty" }, el("h3", {}, "Find when something happened"),
      el("p", {}, "Describe it in words. Every time it happened is marked on the timeline, the surest first."),
      el("div", { class: "chips" }, EXAMPLES.map((text) => el("button", { type: "button", class: "chip", onclick: () => { words.value = text; find(text); } }, text))));
  }

  async function find(event) {
    await look(() => post("/find", { event, ...where.value() }));
  }

  async function look(asking) {
    search.disabled = true;
    results.replaceChildren(el("p", { class: "working" }, "Looking…"));
    try {
      const found = await asking();
      set({ hits: found.hits.map((hit) => ({ ...hit, title: found.event })) });
      show(found);
    } catch (error) {
      set({ hits: [] });
      results.replaceChildren(problemBox(error));
    } finally {
      search.disabled = false;
    }
  }

  function show(found) {
    const count = found.hits.length;
    const head = count ? `${count === 1 ? "Once" : `${count} times`}: “${found.event}”` : `“${found.event}” was not found.`;
    results.replaceChildren(
      el("div", { class: "results-head" }, el("h3", {}, head), el("span", { class: "results-acts" }, words.value ? el("button", { type: "button", class: "chip", onclick: () => openRule(found.event) }, "Tell me next time") : null, count ? clear : null)),
      found.note ? el("p", { class: "note" }, found.note) : "",
      el("div", { class: "hits" }, found.hits.map((hit) => hitCard(hit))),
      finePrint(found));
  }

  const chooser = el("input", { type: "file", accept: "image/jpeg,image/png,image/webp", class: "file-input", "aria-label": "Find with a picture" });
  chooser.addEventListener("change", () => {
    const [file] = chooser.files;
    chooser.value = "";
    if (file) look(() => searchPicture(file, where.value()));
  });
  const byPicture = el("label", { class: "chip by-picture" }, "Find with a picture…", chooser);

  const form = el("form", { class: "ask-form" }, el("div", { class: "ask-box" }, words, search), where.element, byPicture);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (words.value.trim()) find(words.value.trim());
  });
  root.replaceChildren(form, results);
  forget();
}
