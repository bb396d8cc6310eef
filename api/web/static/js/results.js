// How a stretch of footage is shown in a list: a picture, when, how sure, and what was seen. Choosing it plays it.

import { el, picture } from "./dom.js";
import { play } from "./state.js";
import { parse } from "./time.js";

/** Where to start playing: the beginning of a short span, just before the best moment of a long one. */
export function startOf(hit) {
  const start = parse(hit.span.start);
  const peak = hit.peak ? parse(hit.peak) : start;
  return parse(hit.span.end) - start <= 20_000 ? start : Math.max(start, peak - 3000);
}

/** What was observed just then, rather than what is always there: by how well it overlaps the hit in time. */
function telling(hit) {
  const [from, to] = [parse(hit.span.start), parse(hit.span.end)];
  const overlap = (seen) => {
    const [start, end] = [parse(seen.span.start), parse(seen.span.end)];
    return (Math.min(end, to) - Math.max(start, from) + 1) / (Math.max(end, to) - Math.min(start, from) + 1);
  };
  const ranked = (hit.observations ?? []).toSorted((one, other) => overlap(other) - overlap(one));
  return [...new Set(ranked.map((seen) => seen.description))].slice(0, 2).join(" · ");
}

export function hitCard(hit, { number = null, text = "" } = {}) {
  const seen = text || telling(hit);
  const percent = Math.round(hit.score * 100);
  const meter = el("span", { class: "meter", role: "img", "aria-label": `${percent} % sure` }, el("span", { class: "meter-fill" }));
  meter.firstChild.style.width = `${percent}%`;
  return el("button", { type: "button", class: "hit", "data-start": hit.span.start, onclick: () => play(hit.stream, startOf(hit)) },
    picture(hit.thumbnail_url),
    el("span", { class: "hit-text" },
      el("span", { class: "hit-head" }, number === null ? null : el("span", { class: "number" }, String(number)), el("span", { class: "hit-time" }, hit.span.label)),
      seen ? el("span", { class: "hit-seen" }, seen) : null,
      el("span", { class: "hit-foot" }, el("span", { class: "hit-stream" }, hit.stream_name), meter, el("span", { class: "percent" }, `${percent} %`)),
      hit.clip_url ? null : el("span", { class: "hit-gone" }, "Only remembered: the recording has expired.")));
}

/** What was searched and what could not be seen: the fine print of an answer. */
export function finePrint({ searched, gaps = [], more_gaps: more = 0, unknown = [], unsure = [], extra = "" }) {
  const where = searched?.streams?.length ? `Searched ${searched.streams.join(", ")}${searched.span ? `, ${searched.span.label}` : ""}.` : "";
  return el("div", { class: "fine-print" },
    where ? el("p", {}, where) : null,
    gaps.length ? el("details", {}, el("summary", {}, `${gaps.some(({ reason }) => reason === "unheard") ? "Not all seen or heard" : "Nothing seen"} during ${gaps.length + more === 1 ? "one stretch" : `${gaps.length + more} stretches`}`),
      el("ul", {}, gaps.map((gap) => el("li", {}, `${gap.span.label}: ${gap.reason}${gap.detail ? ` (${gap.detail})` : ""}`)), more ? el("li", {}, `and ${more} shorter ones`) : null)) : null,
    unknown.length ? el("p", { class: "unknown" }, `This profile cannot look for: ${unknown.join(", ")}.`) : null,
    unsure.length ? el("p", { class: "unknown" }, `It cannot be sure of: ${unsure.join(", ")}.`) : null,
    extra ? el("p", {}, extra) : null);
}

/** Where to look: this stream or all, and when. Returns {element, value()}. */
export function whereFields(state) {
  const all = el("select", { class: "scope", "aria-label": "Which streams" }, el("option", { value: "one" }, "This stream"), el("option", { value: "all" }, "All streams"));
  const from = el("input", { placeholder: "from 14:00", "aria-label": "From", autocomplete: "off" });
  const to = el("input", { placeholder: "to now", "aria-label": "To", autocomplete: "off" });
  const element = el("div", { class: "where" }, all, from, to);
  const value = () => ({
    streams: all.value === "one" && state.current ? [state.current] : [],
    from: from.value.trim() || null,
    to: to.value.trim() || null,
  });
  return { element, value };
}
