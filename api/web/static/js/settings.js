// What a stream has of its own in place of the service's settings: fields for it, and what of them was changed.

import { el, field } from "./dom.js";

const ON_OFF = { true: "on", false: "off" };

/** Fields for what this stream may have, and `patch()`: what is new of it, null where it is as the service has it. */
export function ownSettings(stream) {
  const makers = { ...LISTENING, ...(stream.kind === "live" ? RECORDING : {}) };
  const controls = Object.entries(makers).map(([name, { label, hint, make }]) => {
    const made = make(stream[name], stream.in_force[name]);
    return { name, ...made, element: field(label, made.control, hint) };
  });
  const element = el("details", { class: "more-settings" },
    el("summary", {}, "Settings of its own"),
    el("p", { class: "hint" }, "Empty is as the service has it. A change counts at once; only another policy connects to a camera anew."),
    el("div", { class: "pairs" }, controls.map((one) => one.element)));
  const patch = () => Object.fromEntries(controls
    .map(({ name, value }) => [name, value()])
    .filter(([name, value]) => value !== (stream[name] ?? null)));
  return { element, patch };
}

function text(pattern, title, otherwise = "") {
  return (own, usual) => {
    const control = el("input", { autocomplete: "off", spellcheck: "false", pattern, title, value: own ?? "", placeholder: usual || otherwise });
    return { control, value: () => control.value.trim() || null };
  };
}

function number(least, step) {
  return (own, usual) => {
    const control = el("input", { type: "number", min: least, max: 1_000_000_000, step, value: own ?? "", placeholder: usual });
    return { control, value: () => (control.value === "" ? null : Number(control.value)) };
  };
}

function choice(own, usual) {
  const options = { "": `as the service: ${ON_OFF[usual]}`, ...ON_OFF };
  const control = el("select", {}, Object.entries(options).map(([value, label]) =>
    el("option", { value, selected: value === String(own ?? "") }, label)));
  return { control, value: () => (control.value ? control.value === "true" : null) };
}

const LISTENING = {
  sampling: { label: "Which pictures are looked at", hint: "motion, adaptive, scene, rate or keys; with rates: motion:0.5-4.", make: text("[a-z]+(:[0-9.]+(-[0-9.]+)?)?", "Like motion, keys or motion:0.5-4") },
  audio: { label: "Sound", hint: "Listened to, and recorded with its pictures.", make: choice },
  language: { label: "Language", hint: "Which is spoken, such as de.", make: text("[a-z]{2,3}", "Two or three letters, such as de", "as it is heard") },
};

const RECORDING = {
  record: { label: "Recording", hint: "So that moments can be played.", make: choice },
  keep_recordings_hours: { label: "Keep recordings (hours)", make: number("0.01", "any") },
  keep_events_hours: { label: "… around events, at least", make: number("0", "any") },
  keep_alerts_hours: { label: "… around alerts, at least", make: number("0", "any") },
  recordings_budget_mb: { label: "Most disk for them (MB)", hint: "0 is without bound.", make: number("0", "1") },
};
