// The service's HTTP interface. Every failure is a `Problem` with a message and an advice.

import { iso } from "./time.js";

export class Problem extends Error {
  constructor(detail, advice = "", status = 0) {
    super(detail);
    this.advice = advice;
    this.status = status;
  }
}

async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Not JSON: the status alone must do.
  }
  const detail = typeof body.detail === "string" ? body.detail : `The service answered with ${response.status}.`;
  const advice = typeof body.advice === "string" ? body.advice : "Try again; `hindsight doctor` shows what is wrong.";
  return new Problem(detail, advice, response.status);
}

async function send(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service cannot be reached.", "Check that `hindsight serve` is running on this address.");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

function query(parameters) {
  const kept = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(kept).toString();
  return text ? `?${text}` : "";
}

export async function get(path, parameters = {}, options = {}) {
  return (await send(`/v1${path}${query(parameters)}`, options)).json();
}

async function write(method, path, body, options = {}) {
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await send(`/v1${path}`, { method, ...json, ...options });
  return response.status === 204 ? null : response.json();
}

export const post = (path, body, options) => write("POST", path, body, options);
export const patch = (path, body) => write("PATCH", path, body);
export const remove = (path) => write("DELETE", path);

export const streamPath = (id, rest = "") => `/streams/${encodeURIComponent(id)}${rest}`;

/** The newest picture of a stream and its moment: sharp for a live one, the remembered one of a file being read. */
export function newest(stream) {
  const live = stream.kind === "live";
  return pictureOf(stream.id, live ? `/frame${query({ at: "now", max_side: 960 })}` : "/thumbnail?at=now", { cache: "no-store" });
}

/** The remembered picture nearest to a moment, and its own. */
export const remembered = (stream, ms, signal) => pictureOf(stream, `/thumbnail${query({ at: iso(ms) })}`, { signal });

async function pictureOf(stream, path, options) {
  const response = await send(`/v1${streamPath(stream, path)}`, options);
  const moment = Date.parse(response.headers.get("Hindsight-Moment"));
  return { blob: await response.blob(), moment: Number.isNaN(moment) ? null : moment };
}

/** HealthOut, also when the service answers 503 because a part of it is not well. */
export async function health() {
  const response = await fetch("/v1/health", { credentials: "same-origin" }).catch(() => null);
  if (!response) throw new Problem("The service cannot be reached.", "Check that `hindsight serve` is running on this address.");
  if (response.ok || response.status === 503) return response.json();
  throw await problemOf(response);
}

/** FindOut for a picture instead of words. */
export async function searchPicture(file, { streams, from, to }) {
  const form = new FormData();
  form.append("image", file);
  for (const stream of streams) form.append("streams", stream);
  if (from) form.append("from", from);
  if (to) form.append("to", to);
  return (await send("/v1/search", { method: "POST", body: form })).json();
}

/** The address of a clip, the moment its first picture shows (clips begin at a key frame before what was asked), and
 *  what is missing within it. */
export async function clip(stream, from, to, signal) {
  const url = `/v1${streamPath(stream, "/clip")}${query({ from, to })}`;
  const response = await send(url, { headers: { Range: "bytes=0-0" }, signal });
  await response.arrayBuffer();
  const [start, end] = (response.headers.get("Hindsight-Span") ?? `${from}/${to}`).split("/");
  const gaps = [...(response.headers.get("Hindsight-Gaps") ?? "").matchAll(/([^\s,;]+)\/([^\s,;]+);reason="([^"]*)"/g)]
    .map(([, first, last, reason]) => ({ start: Date.parse(first), end: Date.parse(last), reason }));
  return { url, start: Date.parse(start), end: Date.parse(end), gaps };
}

/** Why nobody watched at `ms`, as {reason, detail}; null when someone did. */
export async function unwatched(stream, ms, signal) {
  const { covered, gaps } = await get(streamPath(stream, "/coverage"), { from: iso(ms), to: iso(ms + 100) }, { signal });
  return covered.length ? null : gaps.find(({ reason }) => reason !== "unheard") ?? null;
}

/** From `from` on the first moment of which there is video, and why there is none before it; null when none comes until
 *  `to`. Asked for in stretches that grow: a year need not be told to pass over an hour. */
export async function onwards(stream, from, to, signal) {
  let reason = "";
  for (let ahead = 120_000; ; ahead *= 10) {
    const end = Math.min(to, from + ahead);
    const asked = { from: new Date(from).toISOString(), to: new Date(end).toISOString() };
    const { covered, gaps } = await get(streamPath(stream, "/coverage"), asked, { signal });
    reason ||= gaps.find((gap) => gap.reason !== "unheard")?.reason ?? "";
    const first = covered.find((span) => Date.parse(span.end) > from + 200);
    if (first) return { ms: Math.max(from, Date.parse(first.start)), reason };
    if (end >= to) return null;
  }
}

/** Posts and yields the server-sent events of the response as {event, data}. */
export async function* events(path, body, signal) {
  const response = await send(`/v1${path}`, {
    method: "POST", signal, body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    waiting += (value ?? "").replaceAll("\r\n", "\n");
    const blocks = waiting.split("\n\n");
    waiting = done ? "" : blocks.pop();
    for (const block of blocks) {
      const found = parseEvent(block);
      if (found) yield found;
    }
    if (done) return;
  }
}

function parseEvent(block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length ? { event, data: JSON.parse(data.join("\n")) } : null;
}

export const stem = (filename) => filename.replace(/\.[^.]*$/, "");

/** Of the name of a subtitle file what stands behind the film's own: ".de.srt". */
function endOfSubtitles(name, film) {
  if (name.startsWith(`${film}.`)) return name.slice(film.length);
  return name.match(/(\.[a-z]{2,3}(-[A-Za-z]{2,4})?)?(\.(forced|sdh|cc))?\.(srt|vtt)$/i)[0];
}

const PIECE = 4 * 1024 * 1024;

/** Uploads a file in pieces, continuing where the service stopped when a piece fails; returns the new stream.
 * Subtitles go first: what is wrong with them is said before hours of video were sent. */
export async function upload(file, name, startsAt, { subtitles, signal, progress }) {
  let state = await post("/uploads", { filename: file.name, size: file.size }, { signal });
  for (const text of subtitles) {
    const filename = stem(state.filename) + endOfSubtitles(text.name, stem(file.name));
    const path = `/v1/uploads/${encodeURIComponent(state.id)}/subtitles${query({ filename })}`;
    await send(path, { method: "PUT", body: text, headers: { "Content-Type": "application/octet-stream" }, signal });
  }
  for (let failures = 0; state.received < state.size; ) {
    try {
      const piece = file.slice(state.received, state.received + PIECE);
      const path = `/v1/uploads/${encodeURIComponent(state.id)}${query({ offset: state.received })}`;
      const headers = { "Content-Type": "application/octet-stream" };
      state = await (await send(path, { method: "PUT", body: piece, headers, signal })).json();
      failures = 0;
    } catch (error) {
      const hopeless = error.name === "AbortError" || (error.status >= 400 && error.status < 500 && error.status !== 409);
      if (hopeless || ++failures > 4) throw error;
      await new Promise((resume) => setTimeout(resume, 400 * 2 ** failures));
      state = await get(`/uploads/${encodeURIComponent(state.id)}`, {}, { signal });
    }
    progress(state.received / state.size);
  }
  return post(`/uploads/${encodeURIComponent(state.id)}/complete`, { name, starts_at: startsAt || null }, { signal });
}
