// Times: milliseconds since 1970 inside the page, ISO at the service, clock or file offset for people.

export const parse = (iso) => Date.parse(iso);
export const iso = (ms) => new Date(ms).toISOString();

const two = (number) => String(number).padStart(2, "0");

/** "1:02:03" or "02:03"; with tenths when asked. */
export function duration(ms, tenths = false) {
  const sign = ms < 0 ? "−" : "";
  const whole = Math.abs(tenths ? Math.floor(ms / 100) / 10 : Math.round(ms / 1000));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = tenths ? (whole % 60).toFixed(1).padStart(4, "0") : two(Math.floor(whole % 60));
  return `${sign}${hours ? `${hours}:` : ""}${two(minutes)}:${rest}`;
}

/** How a moment is shown: as an offset when the stream is a file that began at `origin`, else as local time. */
export function label(ms, origin, tenths = false) {
  if (origin !== null && origin !== undefined) return duration(ms - origin, tenths);
  const date = new Date(ms);
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return date.toDateString() === new Date().toDateString() ? clock : `${day(ms)} ${clock}`;
}

export function day(ms) {
  return new Date(ms).toLocaleDateString(undefined, { weekday: "short", day: "numeric", month: "short" });
}

/** Moment zero of a file stream, null for a live one or while nothing is known. */
export function originOf(stream) {
  const span = stream?.span;
  if (!span || span.start_offset_s === null || span.start_offset_s === undefined) return null;
  return parse(span.start) - span.start_offset_s * 1000;
}

/** "2 min ago" */
export function ago(ms) {
  const seconds = Math.max(0, (Date.now() - ms) / 1000);
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  return day(ms);
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

/** Moments for an axis over [from, to] with at most `most` labels, on round offsets or round local times. */
export function ticks(from, to, most, origin) {
  const step = 1000 * (STEPS.find((seconds) => (to - from) / (seconds * 1000) <= most) ?? STEPS.at(-1));
  const zone = new Date(from).getTimezoneOffset() * 60000;
  const zero = origin ?? zone;
  const first = Math.ceil((from - zero) / step) * step + zero;
  const found = [];
  for (let at = first; at <= to; at += step) found.push(at);
  return { step, at: found };
}

export function tickLabel(ms, step, origin) {
  if (origin !== null && origin !== undefined) return duration(ms - origin);
  const date = new Date(ms);
  if (step >= 86400000 || (date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0)) return day(ms);
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return step < 60000 ? `${clock}:${two(date.getSeconds())}` : clock;
}
