// Adding a stream: an upload, a file on the service's machine, a web address or a camera.

import { post, stem, upload } from "./api.js";
import { el, field, icon, modal, suggest } from "./dom.js";
import { set } from "./state.js";
import { problemBox, toast } from "./toast.js";

const WAYS = {
  upload: { icon: "upload", label: "Upload", note: "a video from this device" },
  path: { icon: "file", label: "File", note: "on the service's machine" },
  url: { icon: "globe", label: "Address", note: "a video or live stream on the web" },
  camera: { icon: "camera", label: "Camera", note: "RTSP camera or webcam" },
};

export function openAdd() {
  let way = "upload";
  let stopping = null;
  const name = el("input", { name: "name", required: true, maxlength: 80, autocomplete: "off", placeholder: "door-cam" });
  const startsAt = el("input", { name: "starts_at", autocomplete: "off", placeholder: "its own creation time" });
  const fields = Object.fromEntries(Object.entries(MAKERS).map(([key, make]) => [key, make(name)]));
  const holder = el("div", { class: "way-fields" });
  const when = field("When was it filmed?", startsAt, "Optional. For example “yesterday 14:00” or “2026-03-14 17:42”.");
  const progress = el("progress", { max: "1", value: "0", "aria-label": "Upload progress" });
  const amount = el("span", { class: "amount" });
  const bar = el("div", { class: "upload-progress", hidden: true }, progress, amount);
  const errors = el("div", {});
  const submit = el("button", { type: "submit", class: "button primary" }, "Add stream");

  const ways = el("div", { class: "ways", role: "radiogroup", "aria-label": "Where the video comes from" },
    Object.entries(WAYS).map(([key, { icon: drawing, label, note }]) => el("label", { class: "way" },
      el("input", { type: "radio", name: "way", value: key, checked: key === way, onchange: () => show(key) }),
      icon(drawing, 24), el("span", { class: "way-label" }, label), el("span", { class: "way-note" }, note))));

  function show(key) {
    way = key;
    errors.replaceChildren();
    holder.replaceChildren(fields[key].element);
    when.hidden = key === "camera";
  }

  async function add(event) {
    event.preventDefault();
    errors.replaceChildren();
    submit.disabled = true;
    stopping = new AbortController();
    try {
      const stream = way === "upload" ? await sendFile() : await addSource();
      dialog.close();
      set({ current: stream.id });
      document.dispatchEvent(new Event("streams-changed"));
      toast(`${stream.name} was added.`);
    } catch (error) {
      if (error.name !== "AbortError") errors.replaceChildren(problemBox(error));
    } finally {
      submit.disabled = false;
      bar.hidden = true;
    }
  }

  function addSource() {
    const source = fields[way].source();
    const starts_at = way === "camera" ? null : startsAt.value.trim() || null;
    return post("/streams", { name: name.value.trim(), source, starts_at }, { signal: stopping.signal });
  }

  function sendFile() {
    const file = fields.upload.file();
    bar.hidden = false;
    amount.textContent = "0 %";
    return upload(file, name.value.trim(), startsAt.value.trim(), {
      subtitles: fields.upload.subtitles(),
      signal: stopping.signal,
      progress: (done) => {
        progress.value = done;
        amount.textContent = done < 1 ? `${Math.round(done * 100)} %` : "Checking…";
      },
    });
  }

  const form = el("form", { class: "form", onsubmit: add }, ways, holder, field("Name", name, "What you will call it in questions and rules."),
    when, bar, errors, el("div", { class: "actions" },
      el("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"), submit));
  const dialog = modal("Add a stream", form);
  dialog.addEventListener("close", () => stopping?.abort());
  show(way);
  form.querySelector("input[type=radio]").focus();
}

const MAKERS = {
  upload(name) {
    const input = el("input", { type: "file", multiple: true, accept: "video/*,.mkv,.ts,.m2ts,.srt,.vtt", class: "file-input", "aria-label": "Video file", required: true });
    const invited = "Choose a video or drop it here, and its subtitles (.srt, .vtt) if there are any";
    const chosen = el("span", { class: "drop-text" }, invited);
    const isText = (file) => /\.(srt|vtt)$/i.test(file.name);
    const video = () => [...input.files].find((file) => !isText(file));
    const subtitles = () => [...input.files].filter(isText);
    const drop = el("label", { class: "drop" }, icon("upload", 24), chosen, input);
    const show = () => {
      const file = video();
      const beside = subtitles().map((text) => ` · ${text.name}`).join("");
      chosen.textContent = file ? `${file.name} · ${(file.size / 1e6).toFixed(1)} MB${beside}` : invited;
      input.setCustomValidity(input.files.length && !file ? "Choose the video too: subtitles alone are no stream." : "");
      if (file) suggest(name, stem(file.name));
    };
    input.addEventListener("change", show);
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
        if (kind === "drop" && event.dataTransfer.files.length) {
          input.files = event.dataTransfer.files;
          show();
        }
      });
    }
    return { element: drop, file: video, subtitles };
  },
  path(name) {
    const input = el("input", { required: true, autocomplete: "off", spellcheck: "false", placeholder: "/home/me/holiday.mp4" });
    input.addEventListener("input", () => suggest(name, input.value.split("/").at(-1).replace(/\.[^.]*$/, "")));
    return { element: field("Path", input, "A file, or a folder to watch for new ones, on the machine that runs Hindsight, in one of its allowed folders."), source: () => input.value.trim() };
  },
  url(name) {
    const input = el("input", { required: true, type: "url", autocomplete: "off", placeholder: "https://example.org/live.m3u8" });
    input.addEventListener("input", () => URL.canParse(input.value) && suggest(name, new URL(input.value).hostname));
    return { element: field("Address", input, "http, https (also .m3u8 and motion JPEG), rtmp or srt."), source: () => input.value.trim() };
  },
  camera() {
    const address = el("input", { required: true, autocomplete: "off", spellcheck: "false", placeholder: "rtsp://192.168.1.20/stream1 or /dev/video0" });
    const user = el("input", { autocomplete: "off", spellcheck: "false" });
    const password = el("input", { type: "password", autocomplete: "new-password" });
    const source = () => {
      const text = address.value.trim();
      const credentials = user.value ? `${encodeURIComponent(user.value)}:${encodeURIComponent(password.value)}@` : "";
      return text.replace(/^(rtsps?:\/\/)/i, `$1${credentials}`);
    };
    return {
      element: el("div", {}, field("Camera", address, "Its RTSP address is in the camera's manual; a webcam is /dev/video0."),
        el("div", { class: "pair" }, field("User name", user), field("Password", password, "Never shown again."))),
      source,
    };
  },
};
