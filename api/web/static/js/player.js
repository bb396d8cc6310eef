// The player: the newest picture of a running stream, or past footage as clips that follow one another.

import { clip, newest, onwards, remembered, streamPath, unwatched } from "./api.js";
import { el, icon, iconButton, setIcon } from "./dom.js";
import { openAdd } from "./add.js";
import { currentStream, jump, on, set, state } from "./state.js";
import { duration, iso, label, originOf, parse } from "./time.js";

const BEFORE_MS = 10_000;
const AFTER_MS = 110_000;
const PICTURE_MS = 100;
const NEAR_MS = 10_000; // a remembered picture is called that of a moment which is no further away
const SAID_MS = 5000; // how long it is said that something was passed over
const LIVE_EVERY_MS = 1000;
const SPEEDS = [1, 2, 4, 8, 0.5];
const NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
const RUNNING = new Set(["live", "reading", "connecting", "stalled", "offline", "frozen", "dark"]);

export function mountPlayer(root) {
  const player = new Player(root);
  document.addEventListener("jump", ({ detail }) => player.jump(detail.stream, detail.ms, detail.play));
  on("current", () => player.changed());
  on("streams", () => player.known());
  player.known();
}

class Player {
  constructor(root) {
    this.root = root;
    this.loaded = null; // {stream, start, end} of the clip in the video element
    this.wanted = null; // {stream, ms, play, note}: where a jump that is under way leads, and what is said there
    this.loading = null;
    this.saidUntil = null;
    this.shownStream = null;
    this.build();
    setInterval(() => this.tickLive(), LIVE_EVERY_MS);
  }

  build() {
    this.video = el("video", { playsinline: true, preload: "auto", tabindex: "-1", "aria-label": "Footage" });
    this.video.muted = true;
    this.still = el("img", { class: "still", alt: "Newest picture" });
    this.note = el("p", { class: "player-note", role: "status", hidden: true });
    this.liveFlag = el("span", { class: "live-flag", hidden: true }, "LIVE");
    this.screen = el("div", { class: "screen" }, this.video, this.still, this.note, this.liveFlag);
    this.playButton = iconButton("play", "Play", () => this.toggle(), { class: "play" });
    this.soundButton = iconButton("muted", "Turn sound on", () => this.sound());
    this.clock = el("span", { class: "clock" }, "–");
    this.speed = el("button", { type: "button", class: "chip speed", "aria-label": "Speed", onclick: () => this.faster() }, "1×");
    this.liveButton = el("button", { type: "button", class: "chip go-live", onclick: () => this.goLive() }, "Newest");
    this.save = el("a", { class: "icon-button", title: "Download this clip", "aria-label": "Download this clip", download: "clip.mp4" }, icon("download"));
    const full = iconButton("full", "Full screen", () => (document.fullscreenElement ? document.exitFullscreen() : this.screen.requestFullscreen()));
    this.controls = el("div", { class: "controls" }, this.playButton,
      iconButton("back", "Back 10 seconds", () => this.skip(-10_000)), iconButton("forward", "Forward 10 seconds", () => this.skip(10_000)),
      this.clock, el("span", { class: "spring" }), this.liveButton, this.speed, this.soundButton, this.save, full);
    this.root.replaceChildren(this.screen, this.controls);
    this.video.addEventListener("timeupdate", () => this.moved());
    this.video.addEventListener("seeked", () => this.moved());
    this.video.addEventListener("play", () => setIcon(this.playButton, "pause", "Pause"));
    this.video.addEventListener("pause", () => setIcon(this.playButton, "play", "Play"));
    this.video.addEventListener("ended", () => this.next());
    this.video.addEventListener("error", () => this.video.getAttribute("src") && this.say("This browser cannot play the clip.", "Download it to watch it elsewhere."));
    this.screen.addEventListener("click", () => this.toggle());
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  /** The list of streams is known or has changed. */
  known() {
    const nothing = state.streams !== null && !state.streams.length;
    this.root.classList.toggle("nothing", nothing);
    this.welcome?.remove();
    this.welcome = nothing ? welcome() : null;
    if (this.welcome) this.root.append(this.welcome);
    const stream = currentStream();
    if (!stream) return;
    const running = RUNNING.has(stream.state);
    this.liveButton.hidden = !running;
    this.liveButton.textContent = stream.kind === "live" ? "Live" : "Newest";
    this.flag(stream);
    if (state.live && !running && stream.span) this.begin(stream);
    else if (this.shownStream !== stream.id && (stream.span || running)) this.changed();
  }

  /** Another stream was chosen: the newest picture of a running one, the beginning of a finished one. */
  changed() {
    const stream = currentStream();
    if (this.shownStream === (stream?.id ?? null)) return;
    this.shownStream = stream?.id ?? null;
    this.loading?.abort();
    this.video.pause();
    this.loaded = null;
    if (!stream) {
      this.video.removeAttribute("src");
      return;
    }
    set({ playhead: null });
    this.showStill(NOTHING); // not the picture of another stream
    this.say("Loading…");
    this.clock.textContent = "–";
    this.liveButton.hidden = !RUNNING.has(stream.state);
    if (this.wanted?.stream === stream.id) return;
    if (RUNNING.has(stream.state)) this.goLive();
    else if (stream.span) this.begin(stream);
    else this.say(stream.detail || "Nothing was seen on this stream.");
  }

  /** "LIVE" only over pictures that come now, not over the last one of a camera that is gone. */
  flag(stream) {
    this.liveFlag.hidden = !(state.live && stream?.kind === "live" && stream.state === "live");
  }

  begin(stream) {
    this.jump(stream.id, parse(stream.span.start), false);
  }

  goLive() {
    this.loading?.abort();
    this.wanted = null;
    this.video.pause();
    this.screen.classList.add("showing-still");
    set({ live: true });
    this.flag(currentStream());
    this.tickLive();
  }

  async tickLive() {
    const stream = currentStream();
    if (!state.live || document.hidden || !stream || this.fetching) return;
    if (!stream.span) {
      this.say(stream.detail || "Waiting for the first picture…");
      return;
    }
    this.fetching = true;
    try {
      const { blob, moment } = await newest(stream);
      if (state.live && stream.id === state.current) {
        this.showStill(URL.createObjectURL(blob));
        this.at(moment ?? parse(stream.span.end));
        this.say(stream.detail);
      }
    } catch (error) {
      this.say(stream.detail || error.message, stream.detail ? "" : error.advice);
    } finally {
      this.fetching = false;
    }
  }

  showStill(url) {
    const before = this.still.src;
    this.still.src = url;
    this.screen.classList.add("showing-still");
    if (before.startsWith("blob:")) URL.revokeObjectURL(before);
  }

  /** Shows the picture at `ms` of a stream, and plays from there. */
  async jump(stream, ms, play, note = "") {
    this.wanted = { stream, ms, play, note };
    set({ live: false, playhead: ms });
    if (state.current !== stream) set({ current: stream });
    this.liveFlag.hidden = true;
    this.clock.textContent = label(ms, originOf(currentStream()));
    this.loading?.abort();
    const { signal } = (this.loading = new AbortController());
    if (this.loaded?.stream === stream && ms >= this.loaded.start && ms < this.loaded.end) {
      this.arriveWhenReady(signal);
      return;
    }
    this.showStill(`/v1${streamPath(stream, "/thumbnail")}?at=${encodeURIComponent(iso(ms))}`);
    this.say("Loading…");
    try {
      const [from, to] = this.around(ms);
      const found = await clip(stream, iso(from), iso(to), signal);
      this.loaded = { stream, ...found };
      this.video.src = found.url;
      this.save.href = found.url;
      this.arriveWhenReady(signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      await this.rememberOnly(stream, ms, error, signal);
      if (signal.aborted) return;
      if (play && error.status === 404) this.passOver(stream, ms);
    }
  }

  /** A stretch of footage around `ms`, within what the stream has. */
  around(ms) {
    const span = currentStream()?.span;
    const [first, last] = span ? [parse(span.start), parse(span.end)] : [-Infinity, Infinity];
    const from = Math.max(first, ms - BEFORE_MS);
    return [from, Math.max(from + 1000, Math.min(last, ms + AFTER_MS))];
  }

  /** As soon as it is known how long the clip is: before that there is nowhere to seek to. */
  arriveWhenReady(signal) {
    if (this.video.readyState >= HTMLMediaElement.HAVE_METADATA) this.arrive();
    else this.video.addEventListener("loadedmetadata", () => this.arrive(), { once: true, signal });
  }

  arrive() {
    const { ms, play, note } = this.wanted ?? { ms: this.loaded.start, play: false, note: "" };
    this.say(note);
    this.saidUntil = note ? ms + SAID_MS : null;
    this.gap = null;
    this.screen.classList.remove("showing-still");
    this.loaded.end = this.loaded.start + this.video.duration * 1000;
    this.video.currentTime = Math.min(Math.max(0, (ms - this.loaded.start) / 1000), Math.max(0, this.video.duration - 0.05));
    this.video.playbackRate = this.rate ?? 1;
    this.wanted = null;
    if (play) this.video.play().catch(() => {}); // a browser may refuse to play without a gesture: the picture stands
  }

  /** The recording is gone, or nobody watched: say why, and show the nearest remembered picture as what it is. */
  async rememberOnly(stream, ms, error, signal) {
    this.wanted = null;
    this.loaded = null;
    this.video.removeAttribute("src");
    if (error.status !== 404) this.say(error.message, error.advice);
    const known = [remembered(stream, ms, signal), error.status === 404 ? unwatched(stream, ms, signal) : null];
    const [picture, hole] = (await Promise.allSettled(known)).map(({ value }) => value ?? null);
    if (signal.aborted) return;
    this.showStill(picture ? URL.createObjectURL(picture.blob) : NOTHING);
    if (error.status !== 404) return;
    const near = picture && Math.abs(picture.moment - ms) < NEAR_MS;
    const of = picture ? `${near ? "This is the remembered picture" : `The picture is of ${label(picture.moment, originOf(currentStream()))}`}.` : "";
    this.say(hole ? `No video of this moment: ${hole.reason}. ${hole.detail}` : "No recording of this moment: it has expired, or none was made.", of);
  }

  moved() {
    if (!this.loaded || state.live || this.wanted) return;
    const ms = this.loaded.start + this.video.currentTime * 1000;
    this.at(ms);
    if (this.saidUntil !== null && ms > this.saidUntil) {
      this.saidUntil = null;
      this.say("");
    }
    this.missing(ms);
  }

  /** What was erased, or never seen, is told and not waited for: the picture on the screen is the last one before it. */
  missing(ms) {
    const gap = this.loaded.gaps.find(({ start, end }) => ms >= start + PICTURE_MS && ms < end - PICTURE_MS);
    if (Boolean(gap) !== Boolean(this.gap)) this.say(gap ? `No video here: ${gap.reason}.` : "");
    this.gap = gap ?? null;
    if (!gap || this.video.paused) return;
    const after = (gap.end - this.loaded.start) / 1000;
    if (after < this.video.duration - 0.1) this.video.currentTime = after;
    else this.next();
  }

  /** The picture of `ms` is on the screen. */
  at(ms) {
    set({ playhead: ms });
    this.clock.textContent = label(ms, originOf(currentStream()));
  }

  /** The clip is over: go on with what comes after it. */
  next() {
    const stream = currentStream();
    const end = stream?.span ? parse(stream.span.end) : 0;
    if (this.loaded && this.loaded.end + 500 < end) this.passOver(stream.id, this.loaded.end + 50);
    else if (stream && RUNNING.has(stream.state)) this.goLive();
  }

  /** Plays on at `ms`, or where there is video again: what is missing, however long, is told and not waited for. */
  async passOver(id, ms) {
    const stream = currentStream();
    if (stream?.id !== id) return;
    this.loading?.abort();
    const { signal } = (this.loading = new AbortController());
    try {
      const found = await onwards(id, ms, parse(stream.span.end), signal);
      const missed = found ? found.ms - ms : 0;
      if (missed > 500) this.jump(id, found.ms, true, `No video for ${duration(missed)}${found.reason && `: ${found.reason}`}. Passed over.`);
      else if (found && this.loaded) this.jump(id, found.ms, true);
      else if (!found && RUNNING.has(stream.state)) this.goLive();
      else if (!found) this.say("No more video.");
    } catch (error) {
      if (error.name !== "AbortError") this.say(error.message, error.advice);
    }
  }

  toggle() {
    const stream = currentStream();
    if (state.live && stream?.span) {
      const from = Math.max(parse(stream.span.start), parse(stream.span.end) - 5000);
      this.jump(stream.id, from, true);
    } else if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  skip(ms) {
    const stream = currentStream();
    if (!stream?.span || state.playhead === null) return;
    const to = Math.min(Math.max(state.playhead + ms, parse(stream.span.start)), parse(stream.span.end) - 100);
    jump(stream.id, to, !this.video.paused);
  }

  faster() {
    this.rate = SPEEDS[(SPEEDS.indexOf(this.rate ?? 1) + 1) % SPEEDS.length];
    this.video.playbackRate = this.rate;
    this.speed.textContent = `${this.rate}×`;
  }

  sound() {
    this.video.muted = !this.video.muted;
    setIcon(this.soundButton, this.video.muted ? "muted" : "sound", this.video.muted ? "Turn sound on" : "Turn sound off");
  }

  key(event) {
    if (event.target.closest("button, a") && event.key === " ") return;
    const act = { " ": () => this.toggle(), ArrowLeft: () => this.skip(-5000), ArrowRight: () => this.skip(5000), m: () => this.sound() }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  say(text, advice = "") {
    this.note.replaceChildren(text, ...(advice ? [el("span", { class: "advice" }, advice)] : []));
    this.note.hidden = !text;
  }
}

function welcome() {
  return el("div", { class: "welcome" },
    el("h2", {}, "Connect a camera. Ask what happened."),
    el("ol", {},
      el("li", {}, el("strong", {}, "Add a stream. "), "A video file, a web address, a webcam or an RTSP camera."),
      el("li", {}, el("strong", {}, "Ask. "), "“What happened at the door?” Every answer shows the footage it rests on."),
      el("li", {}, el("strong", {}, "Be told. "), "Write a rule in words and hear about it when it happens again.")),
    el("button", { type: "button", class: "button primary large", onclick: openAdd }, "Add a stream"));
}
