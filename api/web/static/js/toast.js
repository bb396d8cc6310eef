// Short messages in the corner. Errors stay until they are closed and always carry their advice.

import { el, iconButton } from "./dom.js";

export function toast(message, { advice = "", kind = "info", seconds = 6 } = {}) {
  const note = el("div", { class: `toast ${kind}`, role: kind === "error" ? "alert" : "status" },
    el("div", { class: "toast-text" }, el("p", {}, message), advice ? el("p", { class: "advice" }, advice) : null),
    iconButton("close", "Dismiss", () => note.remove()));
  document.getElementById("toasts").append(note);
  if (kind !== "error") setTimeout(() => note.remove(), seconds * 1000);
  while (document.querySelectorAll(".toast").length > 4) document.querySelector(".toast").remove();
  return note;
}

export function failed(error) {
  if (error.name === "AbortError") return;
  toast(error.message, { advice: error.advice ?? "", kind: "error" });
}

/** An error where it happened: beside its form or its list. */
export function problemBox(error) {
  return el("div", { class: "problem", role: "alert" }, el("p", {}, error.message),
    error.advice ? el("p", { class: "advice" }, error.advice) : null);
}
