// Behaviour that every page may have. It hangs on data- attributes; without it the page still works.

import "./theme.js";
import "./dialogs.js";

const later = {
  "[data-hx-get], [hx-get]": "../vendor/htmx/htmx.min.js",
  "[data-upload]": "./upload.js",
};

for (const [selector, module] of Object.entries(later)) {
  if (document.querySelector(selector)) import(module);
}
