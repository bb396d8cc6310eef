// The list of streams: state, progress, choosing one, pausing, erasing.

import { get, post, streamPath } from "./api.js";
import { openAdd } from "./add.js";
import { openChange } from "./change.js";
import { el, icon, iconButton, picture } from "./dom.js";
import { openErase } from "./erase.js";
import { on, set, state } from "./state.js";
import { iso, parse } from "./time.js";
import { failed } from "./toast.js";

const EVERY_MS = 2000;
const MOST_BESIDE = 22;
const STATES = {
  connecting: "Connecting", live: "Live", reading: "Reading", finished: "Ready", stalled: "Stalled",
  offline: "Offline", paused: "Paused", failed: "Failed", frozen: "Frozen", dark: "Dark",
};

export function mountStreams(list) {
  const rows = new Map();

  async function refresh() {
    try {
      const streams = await get("/streams");
      const gone = state.current && !streams.some((stream) => stream.id === state.current);
      set({ streams });
      if ((!state.current || gone) && streams.length) set({ current: streams[0].id });
      if (!streams.length && state.current) set({ current: null });
    } catch (error) {
      if (state.streams === null) failed(error); // later failures show in the health state
    }
  }

  function draw() {
    const streams = state.streams ?? [];
    for (const [id, row] of rows) {
      if (!streams.some((stream) => stream.id === id)) {
        row.remove();
        rows.delete(id);
      }
    }
    list.querySelector(".empty")?.remove();
    if (state.streams && !streams.length) list.append(emptyState());
    for (const stream of streams) {
      if (!rows.has(stream.id)) {
        const row = streamRow(stream);
        rows.set(stream.id, row);
        list.append(row);
      }
      update(rows.get(stream.id), stream);
    }
  }

  on("streams", draw);
  on("current", draw);
  document.addEventListener("streams-changed", refresh);
  refresh();
  setInterval(() => document.hidden || refresh(), EVERY_MS);
}

function emptyState() {
  return el("li", { class: "empty" },
    el("div", { class: "empty-icon" }, icon("camera", 28)),
    el("h3", {}, "No streams yet"),
    el("p", {}, "Add a video file, a web address or a camera. Hindsight watches it and remembers what it saw."),
    el("button", { type: "button", class: "button primary", onclick: openAdd }, "Add your first stream"));
}

function streamRow(stream) {
  const choose = el("button", { type: "button", class: "stream-choose", onclick: () => set({ current: stream.id }) },
    picture("", ""),
    el("span", { class: "stream-text" },
      el("span", { class: "stream-name" }),
      el("span", { class: "stream-state" }, el("span", { class: "badge" }), el("span", { class: "stream-detail" }))),
    el("progress", { class: "stream-progress", max: "1", hidden: true, "aria-label": "How much has been read" }));
  const more = iconButton("more", "More", () => openMenu(more, stream.id), { "aria-haspopup": "menu", class: "stream-more" });
  return el("li", { class: "stream", "data-stream": stream.id }, choose, more);
}

function update(row, stream) {
  const chosen = stream.id === state.current;
  row.classList.toggle("chosen", chosen);
  row.querySelector(".stream-choose").setAttribute("aria-current", String(chosen));
  row.querySelector(".stream-name").textContent = stream.name;
  const badge = row.querySelector(".badge");
  badge.textContent = STATES[stream.state] ?? stream.state;
  badge.className = `badge ${stream.state}`;
  const reading = stream.state === "reading" && stream.progress !== null;
  row.querySelector(".stream-detail").textContent = reading ? `${Math.round(stream.progress * 100)} %` : short(stream.detail);
  row.querySelector(".stream-choose").title = stream.detail ? `${stream.source}\n${stream.detail}` : stream.source;
  row.querySelector(".stream-more").setAttribute("aria-label", `More about ${stream.name}`);
  const progress = row.querySelector("progress");
  progress.hidden = !reading;
  if (reading) progress.value = stream.progress;
  thumbnail(row.querySelector("img"), stream);
}

/** What has room beside the state; all of it stands in the tooltip and over the picture. */
function short(detail) {
  return detail.length <= MOST_BESIDE ? detail : "";
}

/** The middle of a file that was read, else the newest remembered picture, at most every ten seconds. */
function thumbnail(image, stream) {
  if (!stream.span) return;
  const end = parse(stream.span.end);
  const at = stream.state === "finished" ? (parse(stream.span.start) + end) / 2 : end;
  const stamp = String(Math.floor(at / 10_000));
  if (image.dataset.stamp === stamp) return;
  image.dataset.stamp = stamp;
  image.classList.remove("missing");
  image.src = `/v1${streamPath(stream.id, "/thumbnail")}?at=${encodeURIComponent(iso(at))}`;
}

function openMenu(button, id) {
  document.querySelector(".menu")?.remove();
  const stream = state.streams.find((one) => one.id === id);
  const paused = stream.state === "paused";
  const menu = el("div", { class: "menu", role: "menu" });
  const item = (text, act, kind = "") => el("button", { type: "button", role: "menuitem", class: kind, onclick: () => { close(); act(); } }, text);
  const close = () => { menu.remove(); button.focus(); };
  if (stream.state !== "finished") {
    menu.append(item(paused ? "Resume" : "Pause", () => act(id, paused ? "resume" : "pause")));
  }
  menu.append(item("Change…", () => openChange(stream)), item("Erase footage…", () => openErase(stream)), item("Remove stream…", () => openErase(stream, true), "danger"));
  button.parentElement.append(menu);
  place(menu, button.getBoundingClientRect());
  const items = [...menu.querySelectorAll("button")];
  items[0].focus({ preventScroll: true });
  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") close();
    if (step) items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
    if (step || event.key === "Escape") event.preventDefault();
  });
  menu.addEventListener("focusout", (event) => menu.contains(event.relatedTarget) || queueMicrotask(() => menu.remove()));
}

/** Below the button, in the window: the list that it is in scrolls, and would cut it off. */
function place(menu, beside) {
  menu.style.left = `${Math.max(8, beside.right - menu.offsetWidth)}px`;
  menu.style.top = `${Math.min(beside.bottom + 2, innerHeight - menu.offsetHeight - 8)}px`;
  document.addEventListener("scroll", () => menu.remove(), { capture: true, once: true });
}

async function act(id, what) {
  try {
    await post(streamPath(id, `/${what}`));
    document.dispatchEvent(new Event("streams-changed"));
  } catch (error) {
    failed(error);
  }
}
