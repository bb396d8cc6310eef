// What the timeline draws: lanes of marks as SVG, from what the service knows about a stretch of a stream.

import { svg } from "./dom.js";
import { parse, tickLabel, ticks } from "./time.js";

export const AXIS = 26;
export const LANES = [
  { id: "watched", label: "Watched", height: 18 },
  { id: "seen", label: "Seen", height: 26 },
  { id: "events", label: "Events", height: 20 },
  { id: "read", label: "Read", height: 18 },
  { id: "heard", label: "Heard", height: 18 },
  { id: "alerts", label: "Alerts", height: 20 },
  { id: "found", label: "Found", height: 20 },
];
export const HEIGHT = LANES.reduce((sum, lane) => sum + lane.height + 4, AXIS + 4);

const LANE_OF = { thing: "seen", event: "events", scene: "events", read: "read", heard: "heard" };
const NAMED = new Set(["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey", "gray"]);

export function top(id) {
  let y = AXIS + 4;
  for (const lane of LANES) {
    if (lane.id === id) return y;
    y += lane.height + 4;
  }
  return y;
}

/** Everything to draw as {lane, start, end, kind, title, detail, score, colour}, times in ms. */
export function marks(data, hits) {
  const found = [];
  const add = (lane, span, rest) => found.push({ lane, start: parse(span.start), end: parse(span.end), label: span.label, ...rest });
  for (const span of data?.covered ?? []) add("watched", span, { kind: "covered", title: "Watched", detail: "" });
  for (const gap of data?.gaps ?? []) add(gap.reason === "unheard" ? "heard" : "watched", gap.span, { kind: "gap", title: gapTitle(gap.reason), detail: gap.detail });
  for (const seen of data?.observations ?? []) {
    add(LANE_OF[seen.kind] ?? "events", seen.span, { kind: seen.kind, quiet: seen.label === "still", title: seen.description, detail: "", score: seen.score, colour: NAMED.has(seen.colour) ? seen.colour : "" });
  }
  for (const alert of data?.alerts ?? []) add("alerts", alert.span, { kind: "alert", title: alert.rule_name, detail: alert.why, score: alert.score });
  for (const hit of hits) add("found", hit.span, { kind: "found", title: hit.title ?? "Found", detail: "", score: hit.score, at: parse(hit.peak) });
  return found;
}

/** The mark of the gap that `ms` lies in, where pictures were missed. */
export function gapAt(data, ms) {
  return marks({ gaps: data?.gaps }, []).find((mark) => mark.lane === "watched" && mark.start <= ms && ms < mark.end);
}

/** Sub-rows so that marks that overlap in time lie below each other; at most `most` of them. */
function rows(list, most) {
  const ends = [];
  return list.toSorted((one, other) => one.start - other.start).map((mark) => {
    let row = ends.findIndex((end) => end <= mark.start);
    if (row < 0) row = ends.length < most ? ends.length : ends.indexOf(Math.min(...ends));
    ends[row] = Math.max(ends[row] ?? -Infinity, mark.end);
    return { mark, row };
  });
}

export function drawMarks(list, view, width) {
  const scale = width / (view.to - view.from);
  const visible = list.filter((mark) => mark.end >= view.from && mark.start <= view.to);
  const drawn = [];
  for (const lane of LANES) {
    const most = lane.id === "seen" ? 3 : 2;
    const placed = rows(visible.filter((mark) => mark.lane === lane.id), lane.id === "watched" ? 1 : most);
    const used = Math.max(1, ...placed.map(({ row }) => row + 1));
    const height = lane.height / used;
    for (const { mark, row } of placed) {
      const left = Math.max(-4, (mark.start - view.from) * scale);
      const right = Math.min(width + 4, (mark.end - view.from) * scale);
      const rect = svg("rect", {
        class: `mark ${mark.kind} ${mark.colour ? `colour-${mark.colour}` : ""} ${mark.quiet ? "quiet" : ""}`,
        x: left.toFixed(1), y: (top(lane.id) + row * height + 0.5).toFixed(1),
        width: Math.max(mark.kind === "covered" ? 0.5 : 3, right - left).toFixed(1), height: (height - 1).toFixed(1), rx: Math.min(3, height / 3),
      });
      rect.mark = mark;
      drawn.push(rect);
      if (lane.id === "found" && right - left > 34) drawn.push(percent(mark, (left + right) / 2, top(lane.id) + (row + 0.5) * height));
    }
  }
  return drawn;
}

function percent(mark, x, y) {
  const text = svg("text", { class: "mark-score", x: x.toFixed(1), y: y.toFixed(1), "text-anchor": "middle", "dominant-baseline": "central" }, `${Math.round(mark.score * 100)} %`);
  text.mark = mark;
  return text;
}

export function drawAxis(view, width, origin) {
  const { step, at } = ticks(view.from, view.to, Math.max(2, Math.floor(width / 90)), origin);
  const scale = width / (view.to - view.from);
  return at.flatMap((ms) => {
    const x = ((ms - view.from) * scale).toFixed(1);
    return [
      svg("line", { class: "tick", x1: x, x2: x, y1: AXIS - 4, y2: HEIGHT }),
      svg("text", { class: "tick-label", x, y: AXIS - 15, "text-anchor": x < 18 ? "start" : x > width - 18 ? "end" : "middle" }, tickLabel(ms, step, origin)),
    ];
  });
}

export function drawTracks(width) {
  return LANES.map((lane) => svg("rect", { class: `track ${lane.id}`, x: 0, y: top(lane.id), width, height: lane.height, rx: 4 }));
}

function gapTitle(reason) {
  if (["overload", "cut short", "set aside"].includes(reason)) return `Only partly looked at: ${reason}`;
  if (reason === "unheard") return "Not all was listened to";
  if (reason === "clock put back") return "May have been earlier: the clock was put back";
  return ["frozen", "dark"].includes(reason) ? `Nothing to be seen: ${reason}` : `No video: ${reason}`;
}

/** The pattern that gaps are filled with. */
export function gapPattern() {
  return svg("defs", {}, svg("pattern", { id: "gap-lines", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { class: "gap-back", width: 6, height: 6 }), svg("line", { class: "gap-line", x1: 0, y1: 0, x2: 0, y2: 6 })));
}
