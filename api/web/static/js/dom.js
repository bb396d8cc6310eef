// Elements without markup: text is only ever set as text, so names, words read and answers cannot become code.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An element: el("p", {class: "note"}, "text", child). */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function icon(name, size = 20) {
  const drawing = svg("svg", { "aria-hidden": "true", width: size, height: size });
  drawing.append(svg("use", { href: `/static/icons.svg#${name}` }));
  return drawing;
}

export function iconButton(name, label, onclick, extra = {}) {
  const { class: more = "", ...rest } = extra;
  return el("button", { type: "button", class: `icon-button ${more}`, "aria-label": label, title: label, onclick, ...rest }, icon(name));
}

export function setIcon(button, name, label) {
  button.querySelector("use").setAttribute("href", `/static/icons.svg#${name}`);
  button.setAttribute("aria-label", label);
  button.title = label;
}

/** Only paths on this service are ever loaded as pictures or clips. */
export function ownUrl(url) {
  return typeof url === "string" && url.startsWith("/") && !url.startsWith("//") ? url : "";
}

export function picture(url, alt = "") {
  const image = el("img", { class: "thumb", alt, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.classList.add("missing"));
  if (ownUrl(url)) image.src = ownUrl(url);
  return image;
}

/** A labelled form field; `control` gets an id and, when there is a hint, its description. */
export function field(label, control, hint = "") {
  control.id ||= `field-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  const note = hint ? el("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control, note);
}

/** Fills in a name made from `text`, until the person types one. */
export function suggest(name, text) {
  if (!name.dataset.watched) {
    name.dataset.watched = "yes";
    name.addEventListener("input", () => { name.dataset.typed = "yes"; });
  }
  if (name.dataset.typed) return;
  name.value = text.trim().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 40);
}

/** Opens a modal dialog with a title and returns it; it removes itself when closed. */
export function modal(title, ...content) {
  const close = iconButton("close", "Close", () => dialog.close());
  const heading = el("h2", { id: "dialog-title" }, title);
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": "dialog-title" },
    el("div", { class: "dialog-head" }, heading, close), ...content);
  const opener = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (opener?.isConnected) opener.focus();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("input:not([type=radio]), textarea, [autofocus]")?.focus();
  return dialog;
}
