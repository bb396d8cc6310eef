// The panel's tabs, with the arrow keys as ARIA describes them.

export function mountTabs(list) {
  const tabs = [...list.querySelectorAll("[role=tab]")];

  function choose(tab) {
    for (const other of tabs) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
    }
    document.dispatchEvent(new CustomEvent("tab", { detail: tab.id }));
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const here = tabs.indexOf(document.activeElement);
    let next = null;
    if (step) next = tabs[(here + step + tabs.length) % tabs.length];
    if (event.key === "Home") next = tabs[0];
    if (event.key === "End") next = tabs.at(-1);
    if (!next) return;
    event.preventDefault();
    choose(next);
    next.focus();
  });
}
