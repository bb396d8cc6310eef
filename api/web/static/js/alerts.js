// Alerts: the rules, and a list that grows while the page is open.

import { get, patch, remove } from "./api.js";
import { el, icon, iconButton, modal, picture } from "./dom.js";
import { openRule } from "./rules.js";
import { play } from "./state.js";
import { ago, parse } from "./time.js";
import { failed, problemBox, toast } from "./toast.js";

const MOST = 100;

export function mountAlerts(root, count) {
  const alerts = new Alerts(root, count);
  alerts.loadRules();
  alerts.loadAlerts();
  alerts.listen();
  document.addEventListener("rules-changed", () => alerts.loadRules());
  document.addEventListener("streams-changed", () => alerts.loadAlerts());
  document.addEventListener("tab", ({ detail }) => detail === "tab-alerts" && alerts.seen());
}

class Alerts {
  constructor(root, count) {
    this.root = root;
    this.count = count;
    this.unseen = 0;
    this.known = new Map(); // id -> AlertOut
    this.rules = el("ul", { class: "rule-list" });
    this.list = el("ul", { class: "alert-list", "aria-live": "polite", "aria-label": "Alerts, newest first" });
    this.connection = el("span", { class: "connection", title: "The list updates by itself" });
    root.replaceChildren(
      el("div", { class: "section-head" }, el("h3", {}, "Rules"), el("button", { type: "button", class: "button small", onclick: () => openRule() }, icon("plus"), "New rule")),
      this.rules,
      el("div", { class: "section-head" }, el("h3", {}, "What fired"), this.connection), this.list);
    setInterval(() => this.times(), 15_000);
  }

  async loadRules() {
    try {
      const rules = await get("/rules");
      this.rules.replaceChildren(...rules.map((rule) => this.ruleRow(rule)));
      if (!rules.length) {
        this.rules.append(el("li", { class: "empty" }, el("p", {}, "A rule is a sentence, such as “something red enters”. Hindsight watches every stream for it and tells you when it comes true.")));
      }
    } catch (error) {
      this.rules.replaceChildren(el("li", {}, problemBox(error)));
    }
  }

  ruleRow(rule) {
    const enabled = el("input", { type: "checkbox", role: "switch", class: "switch", "aria-label": `Rule ${rule.name} is armed`, checked: rule.enabled });
    enabled.addEventListener("change", async () => {
      try {
        await patch(`/rules/${encodeURIComponent(rule.id)}`, { enabled: enabled.checked });
      } catch (error) {
        enabled.checked = !enabled.checked;
        failed(error);
      }
    });
    return el("li", { class: "rule" }, enabled,
      el("span", { class: "rule-text" }, el("span", { class: "rule-name" }, rule.name), el("span", { class: "rule-words" }, `“${rule.text}”`),
        rule.unknown.length ? el("span", { class: "unknown" }, `Cannot look for: ${rule.unknown.join(", ")}`) : null),
      iconButton("trash", `Delete rule ${rule.name}`, () => this.confirmDelete(rule)));
  }

  confirmDelete(rule) {
    const drop = el("button", { type: "button", class: "button danger", onclick: async () => {
      try {
        await remove(`/rules/${encodeURIComponent(rule.id)}`);
        dialog.close();
        toast(`Rule ${rule.name} was deleted.`);
        this.loadRules();
      } catch (error) {
        dialog.close();
        failed(error);
      }
    } }, "Delete rule");
    const dialog = modal("Delete this rule?", el("p", {}, `“${rule.name}” stops watching. Alerts that it raised stay.`),
      el("div", { class: "actions" }, el("button", { type: "button", class: "button", autofocus: true, onclick: () => dialog.close() }, "Keep it"), drop));
  }

  async loadAlerts() {
    try {
      const found = await get("/alerts", { limit: MOST });
      this.known = new Map(found.map((alert) => [alert.id, alert]));
      this.draw();
    } catch (error) {
      this.list.replaceChildren(el("li", {}, problemBox(error)));
    }
  }

  /** The browser reconnects by itself and says the last id it had, so nothing is missed. */
  listen() {
    const source = new EventSource("/v1/alerts/events");
    source.addEventListener("open", () => { this.connection.className = "connection on"; this.connection.textContent = "live"; this.loadAlerts(); });
    source.addEventListener("error", () => { this.connection.className = "connection off"; this.connection.textContent = "reconnecting…"; });
    source.addEventListener("alert", (event) => this.hear(JSON.parse(event.data)));
    addEventListener("pagehide", () => source.close());
  }

  hear(alert) {
    const fresh = !this.known.has(alert.id);
    this.known.set(alert.id, alert);
    this.draw(fresh ? alert.id : null);
    if (fresh && this.root.hidden) {
      this.unseen += 1;
      this.count.textContent = String(this.unseen);
      this.count.hidden = false;
      this.count.setAttribute("aria-label", `${this.unseen} new`);
    }
    document.dispatchEvent(new Event("alerts-changed"));
  }

  seen() {
    this.unseen = 0;
    this.count.hidden = true;
  }

  draw(fresh = null) {
    const newest = [...this.known.values()].sort((one, other) => parse(other.span.start) - parse(one.span.start)).slice(0, MOST);
    this.list.replaceChildren(...newest.map((alert) => alertRow(alert, alert.id === fresh)));
    if (!newest.length) this.list.append(el("li", { class: "empty" }, el("p", {}, "Nothing has fired yet. Alerts appear here by themselves.")));
  }

  times() {
    for (const time of this.list.querySelectorAll("time.ago")) time.textContent = ago(parse(time.dateTime));
  }
}

function alertRow(alert, fresh) {
  return el("li", { class: `alert ${fresh ? "fresh" : ""}` },
    el("button", { type: "button", class: "hit", onclick: () => play(alert.stream, parse(alert.span.start)) },
      picture(alert.thumbnail_url),
      el("span", { class: "hit-text" },
        el("span", { class: "hit-head" }, el("span", { class: "hit-time" }, alert.rule_name), alert.open ? el("span", { class: "badge live" }, "now") : null),
        el("span", { class: "hit-seen" }, alert.why),
        el("span", { class: "hit-foot" }, el("span", { class: "hit-stream" }, alert.stream_name), el("span", {}, alert.span.label),
          alert.span.start_offset_s === null ? el("time", { class: "ago", datetime: alert.span.start }, ago(parse(alert.span.start))) : null))));
}
