// The health of the service: a dot that says whether its parts have really done their work.

import { health as examine } from "./api.js";
import { el } from "./dom.js";

const EVERY_MS = 10_000;

export function mountHealth(button, details) {
  const text = button.querySelector(".health-text");

  async function refresh() {
    let kind = "good";
    try {
      const health = await examine();
      const odd = health.checks.filter((check) => !check.ok || check.worth_a_look).map((check) => check.name);
      kind = odd.length ? "poor" : "good";
      text.textContent = odd.length ? `Look at: ${odd.join(", ")}` : "All well";
      details.replaceChildren(
        el("ul", { class: "checks" }, health.checks.map((check) => el("li", { class: odd.includes(check.name) ? "bad" : "ok" },
          el("span", { class: "check-name" }, check.name), el("span", { class: "check-detail" }, check.detail)))),
        el("p", { class: "fine-print" }, `Hindsight ${health.version} · profile ${health.profile}`));
    } catch (error) {
      kind = "bad";
      text.textContent = error.status ? "Not well" : "No connection";
      details.replaceChildren(el("p", {}, error.message), el("p", { class: "advice" }, error.advice ?? ""));
    }
    button.className = `health ${kind}`;
  }

  function toggle(open) {
    details.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
  }

  button.addEventListener("click", () => toggle(details.hidden));
  document.addEventListener("click", (event) => details.contains(event.target) || button.contains(event.target) || toggle(false));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !details.hidden) {
      toggle(false);
      button.focus();
    }
  });
  refresh();
  setInterval(() => document.hidden || refresh(), EVERY_MS);
}
