// A slider over patch sizes in place of the row of links; the size stays in the address.

for (const views of document.querySelectorAll("[data-patch-sizes]")) start(views);

function start(views) {
  const links = [...views.querySelectorAll(".patch-sizes a")];
  if (links.length < 2) return;
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: links.length - 1, step: 1, className: "patch-slider" });
  slider.setAttribute("aria-label", "Patch size");
  views.querySelector(".patch-sizes").prepend(slider);
  views.classList.add("patch-live");
  const show = (i) => pick(views, links, slider, i);
  slider.addEventListener("input", () => keep(links[slider.value], show(Number(slider.value))));
  for (const [i, link] of links.entries()) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      keep(link, show(i));
    });
  }
  addEventListener("hashchange", () => show(named(links)));
  show(named(links));
}

function named(links) {
  const found = links.findIndex((link) => link.hash === location.hash);
  return found < 0 ? links.findIndex((link) => "chosen" in link.dataset) : found;
}

function pick(views, links, slider, chosen) {
  slider.value = chosen;
  slider.setAttribute("aria-valuetext", links[chosen].textContent);
  for (const [i, link] of links.entries()) {
    link.toggleAttribute("aria-current", i === chosen);
    if (i === chosen) link.setAttribute("aria-current", "true");
    views.querySelector(link.hash).classList.toggle("patch-on", i === chosen);
  }
}

function keep(link) {
  history.replaceState(null, "", link.hash);
}
