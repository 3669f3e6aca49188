// The scatter of a class: decision value against confidence; a click opens the image.

import { OutcomeStyle, Plot, Tip, legend, readPoints } from "./points.js";

for (const stage of document.querySelectorAll("[data-scatter]")) draw(stage);

async function draw(stage) {
  const points = await readPoints(stage.dataset.scatter);
  const canvas = document.createElement("canvas");
  canvas.className = "plot-canvas";
  stage.replaceChildren(canvas, axis("hard", "left: 0; bottom: 0"), axis("easy: decision value →", "right: 0; bottom: 0"), axis("↑ confidence", "left: 0; top: 0"));
  const style = new OutcomeStyle(points);
  const plot = new Plot(canvas, points, style);
  const tip = new Tip(stage, (row) => stage.dataset.thumbs + row);
  canvas.addEventListener("pointermove", (event) => {
    const i = plot.nearest(event.offsetX, event.offsetY);
    canvas.style.cursor = i < 0 ? "" : "pointer";
    if (i < 0) return tip.hide();
    const confidence = `confidence ${(100 * points.y[i]).toFixed(0)} %`;
    tip.show(event.offsetX, event.offsetY, points.row[i], `${["right", "wrong", "not judged"][points.outcome[i]]}, ${confidence}`);
  });
  canvas.addEventListener("pointerleave", () => tip.hide());
  canvas.addEventListener("click", (event) => {
    const i = plot.nearest(event.offsetX, event.offsetY);
    if (i >= 0) location.assign(stage.dataset.images + points.row[i]);
  });
  const note = document.querySelector("[data-scatter-note]");
  const key = document.createElement("span");
  key.className = "map-legend";
  legend(key, style);
  const left = points.total - points.m;
  note.replaceChildren(key, left ? `${points.m.toLocaleString("en")} images drawn, errors first; ${left.toLocaleString("en")} right ones are left out.` : "Every image of the class is drawn.");
}

function axis(text, place) {
  const label = document.createElement("span");
  label.className = "plot-axis";
  label.textContent = text;
  for (const part of place.split(";")) {
    const [name, value] = part.split(":");
    label.style[name.trim()] = value.trim();
  }
  return label;
}
