// The dialog that makes a rule: words, when it is armed, and a try on past footage before it is saved.

import { post } from "./api.js";
import { el, field, modal, suggest } from "./dom.js";
import { hitCard } from "./results.js";
import { state } from "./state.js";
import { problemBox, toast } from "./toast.js";

const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

export function openRule(words = "") {
  const text = el("input", { required: true, maxlength: 500, value: words, placeholder: "something red enters", autocomplete: "off" });
  const name = el("input", { required: true, maxlength: 80, placeholder: "red-thing", autocomplete: "off" });
  const streams = el("select", {}, el("option", { value: "" }, "Every stream"), (state.streams ?? []).map((one) => el("option", { value: one.id }, one.name)));
  const threshold = el("input", { type: "range", min: 0.3, max: 0.95, step: 0.05, value: 0.6 });
  const sure = el("output", {}, "60 %");
  const hold = el("input", { type: "number", min: 0, step: 0.5, value: 0 });
  const cooldown = el("input", { type: "number", min: 0, step: 1, value: 60 });
  const days = DAYS.map((day, at) => el("label", { class: "day" }, el("input", { type: "checkbox", value: at + 1, checked: true }), day));
  const [from, to] = [el("input", { type: "time", value: "00:00" }), el("input", { type: "time", value: "23:59" })];
  const webhook = el("input", { type: "url", placeholder: "https://example.org/hook", autocomplete: "off" });
  const outcome = el("div", { class: "rule-outcome", "aria-live": "polite" });
  const save = el("button", { type: "submit", class: "button primary" }, "Save rule");
  const attempt = el("button", { type: "button", class: "button", onclick: tryIt }, "Try on past footage");

  threshold.addEventListener("input", () => { sure.textContent = `${Math.round(threshold.value * 100)} %`; });
  text.addEventListener("input", () => suggest(name, text.value.toLowerCase()));

  function rule() {
    const level = Number(threshold.value);
    return {
      name: name.value.trim() || "untitled", text: text.value.trim(), streams: streams.value ? [streams.value] : [],
      threshold: level, release: Math.max(0, Math.round((level - 0.2) * 100) / 100), hold_s: Number(hold.value), cooldown_s: Number(cooldown.value),
      schedule: {
        days: days.map((day) => day.querySelector("input")).filter((box) => box.checked).map((box) => Number(box.value)),
        start: from.value || "00:00", end: !to.value || to.value === "23:59" ? "24:00" : to.value,
        timezone: Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC",
      },
      webhook: webhook.value.trim(), enabled: true,
    };
  }

  async function tryIt() {
    if (!text.reportValidity()) return;
    attempt.disabled = true;
    outcome.replaceChildren(el("p", { class: "working" }, "Looking back…"));
    try {
      const fired = await post("/rules/test", { rule: rule() });
      const head = fired.length ? `It would have fired ${fired.length === 1 ? "once" : `${fired.length} times`}:` : "It would not have fired on what has been seen so far.";
      outcome.replaceChildren(el("p", {}, head), el("div", { class: "hits" }, fired.slice(0, 12).map((alert) => hitCard(alert, { text: alert.why }))));
    } catch (error) {
      outcome.replaceChildren(problemBox(error));
    } finally {
      attempt.disabled = false;
    }
  }

  async function submit(event) {
    event.preventDefault();
    save.disabled = true;
    try {
      const saved = await post("/rules", rule());
      dialog.close();
      toast(`Rule ${saved.name} is armed.`, { advice: saved.unknown.length ? `It cannot look for: ${saved.unknown.join(", ")}.` : "" });
      document.dispatchEvent(new Event("rules-changed"));
    } catch (error) {
      outcome.replaceChildren(problemBox(error));
    } finally {
      save.disabled = false;
    }
  }

  const form = el("form", { class: "form", onsubmit: submit },
    field("Tell me when", text, "In words. Things, colours, movements, words read or heard."),
    el("div", { class: "pair" }, field("Name", name), field("Where", streams)),
    el("div", { class: "field" }, el("label", { for: "rule-threshold" }, "How sure it must be ", sure), threshold),
    el("details", { class: "advanced" }, el("summary", {}, "When, how often, and whom to tell"),
      el("div", { class: "pair" }, field("Must last (s)", hold), field("Rest after firing (s)", cooldown)),
      el("fieldset", { class: "days" }, el("legend", {}, "Armed on"), days),
      el("div", { class: "pair" }, field("From", from), field("Until", to)),
      field("Webhook", webhook, "Optional. Alerts are posted there as JSON, and again until it answers.")),
    outcome,
    el("div", { class: "actions" }, attempt, el("span", { class: "spring" }), el("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"), save));
  threshold.id = "rule-threshold";
  const dialog = modal("New rule", form);
}
