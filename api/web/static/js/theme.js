// Runs before the first paint, so that a chosen theme does not flash. Everything else is a module.
(function () {
  const chosen = localStorage.getItem("hindsight-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;

  function dark() {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  addEventListener("DOMContentLoaded", function () {
    const button = document.getElementById("theme");
    function show() {
      button.setAttribute("aria-label", dark() ? "Change to light colours" : "Change to dark colours");
    }
    button.addEventListener("click", function () {
      document.documentElement.dataset.theme = dark() ? "light" : "dark";
      localStorage.setItem("hindsight-theme", document.documentElement.dataset.theme);
      show();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    show();
  });
})();
