// What the parts of the page share. A part says what it needs with `on`, and `set` tells those who asked.

const values = {
  streams: null, // StreamOut[] once known
  current: null, // id of the chosen stream
  playhead: null, // ms of the picture that is shown
  live: false, // the player follows the newest picture
  hits: [], // HitOut[] that the timeline marks
};
const listeners = new Map();

export const state = values;

export function on(name, listener) {
  if (!listeners.has(name)) listeners.set(name, new Set());
  listeners.get(name).add(listener);
}

export function set(changes) {
  Object.assign(values, changes);
  const told = new Set(Object.keys(changes).flatMap((name) => [...(listeners.get(name) ?? [])]));
  for (const listener of told) listener();
}

export function currentStream() {
  return values.streams?.find((stream) => stream.id === values.current) ?? null;
}

export function streamNamed(idOrName) {
  return values.streams?.find((stream) => stream.id === idOrName || stream.name === idOrName) ?? null;
}

/** "Go there": the player listens. */
export function jump(stream, ms, play = true) {
  document.dispatchEvent(new CustomEvent("jump", { detail: { stream, ms, play } }));
}

/** Plays what lies there, and in view: on a narrow screen the player is far above what names it. */
export function play(stream, ms) {
  jump(stream, ms);
  document.getElementById("player").scrollIntoView({ block: "nearest" });
}
