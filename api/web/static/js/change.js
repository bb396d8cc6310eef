// Changing a stream while it is watched: its name, its settings and, for a camera, its address and login.

import { patch, streamPath } from "./api.js";
import { el, field, modal } from "./dom.js";
import { ownSettings } from "./settings.js";
import { problemBox, toast } from "./toast.js";

export function openChange(stream) {
  const camera = stream.kind === "live";
  const name = el("input", { required: true, maxlength: 80, autocomplete: "off", value: stream.name });
  const source = el("input", { autocomplete: "off", spellcheck: "false", placeholder: stream.source });
  const user = el("input", { autocomplete: "off", spellcheck: "false" });
  const password = el("input", { type: "password", autocomplete: "new-password" });
  const own = stream.state === "finished" ? null : ownSettings(stream);
  const errors = el("div", {});
  const submit = el("button", { type: "submit", class: "button primary" }, "Change");

  async function change(event) {
    event.preventDefault();
    errors.replaceChildren();
    submit.disabled = true;
    const wanted = { name: name.value.trim(), source: source.value.trim(), username: user.value, password: password.value };
    try {
      const said = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value));
      const changed = await patch(streamPath(stream.id), { ...said, ...own?.patch() });
      dialog.close();
      document.dispatchEvent(new Event("streams-changed"));
      toast(`${changed.name} was changed.`);
    } catch (error) {
      errors.replaceChildren(problemBox(error));
      submit.disabled = false;
    }
  }

  const form = el("form", { class: "form", onsubmit: change }, field("Name", name),
    camera ? field("Address", source, "Where the same camera is now. Empty: where it was.") : null,
    camera ? el("div", { class: "pair" }, field("User name", user, "Empty: as it was."), field("Password", password, "Never shown again.")) : null,
    own?.element, errors, el("div", { class: "actions" }, el("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"), submit));
  const dialog = modal("Change this stream", form);
}
