// Behaviour that every page may have. It hangs on data- attributes; without it the page still works.

import "./theme.js";
import "./dialogs.js";

// On a narrow screen the tabs scroll sideways; the present one is brought into view.
const tab = document.querySelector(".tabs [aria-current]");
if (tab) {
  const [row, from] = [tab.parentElement, tab.offsetLeft - tab.parentElement.offsetLeft];
  if (from + tab.offsetWidth > row.clientWidth - 40) row.scrollLeft = from - 24;
}

const later = {
  "[data-hx-get], [hx-get]": "../vendor/htmx/htmx.min.js",
  "[data-upload]": "./upload.js",
  "[data-patch-sizes]": "./patches.js",
};

for (const [selector, module] of Object.entries(later)) {
  if (document.querySelector(selector)) import(module);
}
