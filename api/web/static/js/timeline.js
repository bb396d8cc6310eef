// The timeline of the chosen stream: zoom with the wheel or + and −, pan by dragging, click to go there.

import { get, streamPath } from "./api.js";
import { el, iconButton, svg } from "./dom.js";
import { AXIS, HEIGHT, LANES, drawAxis, drawMarks, drawTracks, gapAt, gapPattern, marks, top } from "./lanes.js";
import { currentStream, jump, on, state } from "./state.js";
import { failed } from "./toast.js";
import { duration, iso, label, originOf, parse } from "./time.js";

const SHORTEST_MS = 5000;
const LIVE_VIEW_MS = 10 * 60_000;
const REFRESH_MS = 3000;

export function mountTimeline(root, tip) {
  const timeline = new Timeline(root, tip);
  on("current", () => timeline.changed());
  on("streams", () => timeline.extended());
  on("hits", () => timeline.draw());
  on("playhead", () => timeline.drawPlayhead());
  on("live", () => state.live && timeline.fit());
  document.addEventListener("jump", ({ detail }) => timeline.reveal(detail.ms));
  for (const name of ["alerts-changed", "footage-erased"]) document.addEventListener(name, () => timeline.load());
  setInterval(() => document.hidden || timeline.refresh(), REFRESH_MS);
}

class Timeline {
  constructor(root, tip) {
    this.root = root;
    this.tip = tip;
    this.view = null; // {from, to} in ms
    this.data = null; // TimelineOut
    this.stream = null;
    this.following = true;
    this.width = 600;
    this.build();
    new ResizeObserver(([entry]) => {
      this.width = Math.max(100, entry.contentRect.width);
      this.draw();
    }).observe(this.holder);
  }

  build() {
    this.drawing = svg("svg", { class: "lanes", height: HEIGHT, role: "slider", tabindex: 0, "aria-label": "Position", "aria-orientation": "horizontal" });
    this.marksLayer = svg("g");
    this.axisLayer = svg("g");
    this.trackLayer = svg("g");
    this.playhead = svg("g", { class: "playhead" }, svg("line", { y1: AXIS - 6, y2: HEIGHT, x1: 0, x2: 0 }), svg("path", { d: `M-6 ${AXIS - 12}h12v6l-6 6l-6-6z` }));
    this.drawing.append(gapPattern(), this.trackLayer, this.axisLayer, this.marksLayer, this.playhead);
    const labels = el("div", { class: "lane-labels", "aria-hidden": "true" }, LANES.map((lane) => {
      const text = el("span", {}, lane.label);
      text.style.top = `${top(lane.id)}px`;
      text.style.height = `${lane.height}px`;
      return text;
    }));
    labels.style.height = `${HEIGHT}px`;
    this.holder = el("div", { class: "lane-holder" }, this.drawing);
    this.range = el("span", { class: "range" });
    this.note = el("span", { class: "timeline-note", role: "status" });
    const head = el("div", { class: "timeline-head" }, el("h2", {}, "Timeline"), this.range, this.note, el("span", { class: "spring" }),
      iconButton("minus", "Zoom out", () => this.zoom(2)), iconButton("plus", "Zoom in", () => this.zoom(0.5)), iconButton("fit", "Show everything", () => this.everything()));
    this.picture = el("img", { class: "tip-picture", alt: "", hidden: true });
    // One that was asked for before may come when the pointer is where there is none.
    this.picture.addEventListener("load", () => { this.picture.hidden = !this.previewed; });
    this.picture.addEventListener("error", () => { this.picture.hidden = true; });
    this.root.replaceChildren(head, el("div", { class: "timeline-body" }, labels, this.holder));
    this.listen();
  }

  listen() {
    const drawing = this.drawing;
    drawing.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    drawing.addEventListener("pointerdown", (event) => this.press(event));
    drawing.addEventListener("pointermove", (event) => this.hover(event));
    drawing.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    drawing.addEventListener("keydown", (event) => this.key(event));
  }

  limits() {
    const stream = currentStream();
    if (!stream?.span) return null;
    const from = parse(stream.span.start);
    return { from, to: Math.max(parse(stream.known_to ?? stream.span.end), from + SHORTEST_MS) };
  }

  changed() {
    this.stream = null;
    this.data = null;
    this.view = null;
    this.extended();
  }

  /** The stream may have more footage than before. */
  extended() {
    const stream = currentStream();
    const limits = this.limits();
    this.root.classList.toggle("nothing", !limits);
    if (!limits) {
      this.draw();
      return;
    }
    if (this.stream !== stream.id) {
      this.stream = stream.id;
      this.fit();
    } else if (this.following) {
      this.follow(limits, stream);
    }
  }

  follow(limits, stream) {
    const live = stream.kind === "live";
    const from = live ? Math.max(limits.from, limits.to - LIVE_VIEW_MS) : limits.from;
    if (this.view && this.view.from === from && this.view.to === limits.to) return;
    this.view = { from, to: limits.to };
    this.draw();
  }

  fit() {
    const limits = this.limits();
    if (!limits) return;
    this.following = true;
    this.follow(limits, currentStream());
    this.draw();
    this.load();
  }

  /** All of a camera's time is not followed: that begins anew where its newest picture is shown. */
  everything() {
    const limits = this.limits();
    if (limits && currentStream().kind === "live") this.show(limits.from, limits.to);
    else this.fit();
  }

  /** Shows [from, to], kept within what there is. */
  show(from, to) {
    const limits = this.limits();
    if (!limits) return;
    const length = Math.min(Math.max(to - from, SHORTEST_MS), (limits.to - limits.from) * 1.04);
    const middle = (from + to) / 2;
    const margin = (limits.to - limits.from) * 0.02;
    const start = Math.min(Math.max(middle - length / 2, limits.from - margin), limits.to + margin - length);
    this.following = false;
    this.view = { from: start, to: start + length };
    this.draw();
    clearTimeout(this.later);
    this.later = setTimeout(() => this.load(), 180);
  }

  /** Moves on to `ms` where it is not in view. */
  reveal(ms) {
    if (!this.view || (ms >= this.view.from && ms <= this.view.to)) return;
    const half = (this.view.to - this.view.from) / 2;
    this.show(ms - half, ms + half);
  }

  zoom(factor, around = null) {
    if (!this.view) return;
    const { from, to } = this.view;
    const inside = state.playhead !== null && state.playhead >= from && state.playhead <= to;
    const centre = around ?? (inside ? state.playhead : (from + to) / 2);
    this.show(centre - (centre - from) * factor, centre + (to - centre) * factor);
  }

  refresh() {
    const stream = currentStream();
    if (stream && !["finished", "paused", "failed"].includes(stream.state)) this.load();
    else if (stream?.id !== this.complete) this.load();
  }

  async load() {
    const stream = currentStream();
    if (!stream || !this.view) return;
    const spare = (this.view.to - this.view.from) / 2;
    try {
      const [from, to] = [iso(this.view.from - spare), iso(this.view.to + spare)];
      const data = await get(streamPath(stream.id, "/timeline"), { from, to });
      if (currentStream()?.id !== stream.id) return;
      this.data = data;
      this.complete = stream.state === "finished" ? stream.id : null;
      this.draw();
    } catch (error) {
      if (!this.data) failed(error);
      this.complete = stream.id;
    }
  }

  draw() {
    this.drawing.setAttribute("width", this.width);
    this.trackLayer.replaceChildren(...drawTracks(this.width));
    if (!this.view) {
      for (const layer of [this.axisLayer, this.marksLayer]) layer.replaceChildren();
      this.playhead.setAttribute("visibility", "hidden");
      this.range.textContent = "";
      this.note.textContent = currentStream() ? "Nothing has been seen yet." : "";
      return;
    }
    const origin = originOf(currentStream());
    const hits = state.hits.filter((hit) => hit.stream === state.current);
    this.axisLayer.replaceChildren(...drawAxis(this.view, this.width, origin));
    this.marksLayer.replaceChildren(...drawMarks(marks(this.data, hits), this.view, this.width));
    this.range.textContent = `${label(this.view.from, origin)} – ${label(this.view.to, origin)}`;
    this.note.textContent = this.data?.truncated ? "More happened than is drawn: zoom in to see it." : "";
    this.drawPlayhead();
  }

  drawPlayhead() {
    const at = state.playhead;
    const outside = !this.view || at === null || at < this.view.from || at > this.view.to;
    this.playhead.setAttribute("visibility", outside ? "hidden" : "visible");
    if (at === null || !this.view) return;
    const x = ((at - this.view.from) / (this.view.to - this.view.from)) * this.width;
    this.playhead.setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
    this.drawing.setAttribute("aria-valuemin", Math.round(this.view.from / 1000));
    this.drawing.setAttribute("aria-valuemax", Math.round(this.view.to / 1000));
    this.drawing.setAttribute("aria-valuenow", Math.round(at / 1000));
    this.drawing.setAttribute("aria-valuetext", label(at, originOf(currentStream())));
  }

  at(event) {
    const box = this.drawing.getBoundingClientRect();
    return this.view.from + ((event.clientX - box.left) / box.width) * (this.view.to - this.view.from);
  }

  wheel(event) {
    if (!this.view) return;
    event.preventDefault();
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    if (sideways) {
      const move = ((event.deltaX || event.deltaY) / this.width) * (this.view.to - this.view.from);
      this.show(this.view.from + move, this.view.to + move);
    } else this.zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) / 300), this.at(event));
  }

  press(event) {
    if (!this.view || event.button !== 0) return;
    const start = { x: event.clientX, ...this.view, mark: event.target.mark };
    let dragged = false;
    const move = (later) => {
      if (Math.abs(later.clientX - start.x) > 4) dragged = true;
      if (!dragged) return;
      const shift = ((start.x - later.clientX) / this.width) * (start.to - start.from);
      this.show(start.from + shift, start.to + shift);
    };
    const end = (later) => {
      this.drawing.removeEventListener("pointermove", move);
      if (!dragged && later.type === "pointerup") this.choose(start.mark, later);
    };
    this.drawing.setPointerCapture(event.pointerId);
    this.drawing.addEventListener("pointermove", move);
    this.drawing.addEventListener("pointerup", end, { once: true });
    this.drawing.addEventListener("pointercancel", end, { once: true });
  }

  choose(mark, event) {
    const stays = !mark || mark.kind === "covered" || mark.kind === "gap";
    const limits = this.limits();
    if (limits) jump(state.current, stays ? Math.min(Math.max(this.at(event), limits.from), limits.to - 100) : mark.start, true);
  }

  hover(event) {
    if (!this.view || event.buttons) {
      this.tip.hidden = true;
      return;
    }
    const hole = gapAt(this.data, this.at(event));
    const over = event.target.mark;
    const mark = over && over.kind !== "covered" ? over : hole;
    const when = label(this.at(event), originOf(currentStream()));
    const lines = mark
      ? [el("strong", {}, mark.title), mark.detail ? el("span", {}, mark.detail) : null,
         el("span", { class: "tip-time" }, `${mark.label} · ${duration(mark.end - mark.start, true)}${mark.score === undefined ? "" : ` · ${Math.round(mark.score * 100)} %`}`)]
      : [el("span", { class: "tip-time" }, when)];
    this.preview(hole ? null : this.at(event));
    this.tip.replaceChildren(this.picture, ...lines.filter(Boolean));
    this.tip.hidden = false;
    const box = this.tip.getBoundingClientRect();
    this.tip.style.left = `${Math.min(Math.max(8, event.clientX - box.width / 2), innerWidth - box.width - 8)}px`;
    this.tip.style.top = `${event.clientY - box.height - 14}px`;
  }

  /** The remembered picture of where the pointer is; asked for when it rests, one for every few pixels. */
  preview(ms) {
    const limits = this.limits();
    const step = Math.max(500, ((this.view.to - this.view.from) / this.width) * 8);
    const seen = limits && ms !== null && ms >= limits.from && ms <= limits.to;
    const at = seen ? Math.max(limits.from, Math.round(ms / step) * step) : null;
    const source = seen ? `/v1${streamPath(state.current, "/thumbnail")}?at=${encodeURIComponent(iso(at))}` : null;
    if (source === this.previewed) return;
    this.previewed = source;
    clearTimeout(this.resting);
    if (source) this.resting = setTimeout(() => { this.picture.src = source; }, 80);
    else this.picture.hidden = true;
  }

  key(event) {
    const limits = this.limits();
    if (!limits || !this.view || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10_000 : 1000;
    const here = state.playhead ?? limits.from;
    const go = (ms) => jump(state.current, Math.min(Math.max(ms, limits.from), limits.to - 100), false);
    const act = {
      ArrowLeft: () => go(here - step), ArrowRight: () => go(here + step), Home: () => go(limits.from), End: () => go(limits.to),
      PageUp: () => go(here - 60_000), PageDown: () => go(here + 60_000), "+": () => this.zoom(0.5), "=": () => this.zoom(0.5),
      "-": () => this.zoom(2), 0: () => this.everything(), n: () => this.nextMark(here, 1), p: () => this.nextMark(here, -1),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** To the next or previous thing that happened. */
  nextMark(here, way) {
    const hits = state.hits.filter((hit) => hit.stream === state.current);
    const starts = marks(this.data, hits).filter((mark) => mark.lane !== "watched").map((mark) => mark.start).sort((a, b) => (a - b) * way);
    const next = starts.find((ms) => (ms - here) * way > 400);
    if (next !== undefined) jump(state.current, next, false);
  }
}
