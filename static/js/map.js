// The map: colour by error, slice or class; drag a lasso or a box around images to look at them and keep them.

import { NamedStyle, OutcomeStyle, Plot, Tip, legend, readPoints, token } from "./points.js";

const SHOWN = 48;
for (const form of document.querySelectorAll("[data-map]")) start(form);

async function start(form) {
  const [stage, canvas] = [form.querySelector(".map-stage"), form.querySelector("canvas")];
  const points = await readPoints(form.dataset.map);
  const classes = JSON.parse(form.dataset.classes);
  const styles = {
    error: () => new OutcomeStyle(points),
    class: () => new NamedStyle(points, points.label, classes, { rest: "no label" }),
    slice: () => new NamedStyle(points, points.slice, JSON.parse(form.dataset.slices), { first: 1, rest: "in no slice" }),
  };
  const state = { form, stage, canvas, points, classes, trail: [] };
  state.plot = new Plot(canvas, points, styles[form.elements.colour.value]());
  state.plot.overlay = (pen) => outline(pen, state.trail);
  state.tip = new Tip(stage, (row) => form.dataset.thumbs + row);
  legend(form.querySelector("[data-map-legend]"), state.plot.style);
  for (const radio of form.elements.colour) {
    radio.addEventListener("change", () => recolour(state, radio.value, styles[radio.value]()));
  }
  form.querySelector("[data-map-home]").addEventListener("click", () => {
    state.plot.home();
    state.plot.draw();
  });
  drag(state);
}

function recolour(state, name, style) {
  state.plot.style = style;
  state.plot.draw();
  legend(state.form.querySelector("[data-map-legend]"), style);
  const address = new URL(location);
  address.searchParams.set("colour", name);
  history.replaceState(null, "", address);
}

function drag(state) {
  const { canvas, plot, form } = state;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    state.trail = [[event.offsetX, event.offsetY]];
    state.last = [event.offsetX, event.offsetY];
    state.tip.hide();
  });
  canvas.addEventListener("pointermove", (event) => {
    const here = [event.offsetX, event.offsetY];
    if (!state.trail.length) return hover(state, ...here);
    if (form.elements.drag.value === "pan") plot.move(here[0] - state.last[0], here[1] - state.last[1]);
    else state.trail = form.elements.drag.value === "box" ? box(state.trail[0], here) : [...state.trail, here];
    state.last = here;
    plot.draw();
  });
  canvas.addEventListener("pointerup", () => {
    const trail = state.trail;
    state.trail = [];
    if (form.elements.drag.value !== "pan") finish(state, trail);
    plot.draw();
  });
  canvas.addEventListener("pointerleave", () => state.tip.hide());
}

function box([x0, y0], [x1, y1]) {
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
}

function outline(pen, trail) {
  if (trail.length < 2) return;
  pen.strokeStyle = token("accent");
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const [x, y] of trail) pen.lineTo(x, y);
  pen.closePath();
  pen.stroke();
}

function hover(state, x, y) {
  const { points, plot, classes, tip } = state;
  const i = plot.nearest(x, y, 8);
  if (i < 0) return tip.hide();
  tip.show(x, y, points.row[i], `${classes[points.label[i]] ?? "no label"}, ${["right", "wrong", "not judged"][points.outcome[i]]}`);
}

// A click without a drag opens the image under it; a drag picks what it surrounds.
function finish(state, trail) {
  const { plot, points, form } = state;
  const spread = Math.max(...trail.map(([x, y]) => Math.hypot(x - trail[0][0], y - trail[0][1])));
  if (spread < 4) {
    const i = plot.nearest(...trail[0], 8);
    if (i >= 0) location.assign(form.dataset.images + points.row[i]);
    return;
  }
  const found = plot.inside(trail);
  plot.selected = found.size ? found : null;
  pick(state, [...found].sort((a, b) => points.outcome[b] - points.outcome[a] || points.row[a] - points.row[b]));
}

function pick({ form, points, classes }, found) {
  const said = form.querySelector("[data-map-picked]");
  const grid = form.querySelector("[data-map-thumbs]");
  grid.replaceChildren(...found.slice(0, SHOWN).map((i) => thumb(form, points, classes, i)));
  form.elements.rows.value = found.map((i) => points.row[i]).join(",");
  if (!found.length) return said.replaceChildren("Nothing was picked.");
  const wrong = found.filter((i) => points.outcome[i] === 1).length;
  const button = document.createElement("button");
  button.className = "button button-primary";
  button.type = "submit";
  button.textContent = "Look closer, ask, or save as a slice";
  said.className = "row";
  const more = found.length > SHOWN ? ` The first ${SHOWN} are below.` : "";
  said.replaceChildren(`${found.length.toLocaleString("en")} images picked, ${wrong.toLocaleString("en")} of them wrong.${more}`, button);
}

function thumb(form, points, classes, i) {
  const link = document.createElement("a");
  link.className = "thumb";
  link.href = form.dataset.images + points.row[i];
  const frame = document.createElement("span");
  frame.className = "thumb-frame";
  const image = new Image(160, 160);
  image.loading = "lazy";
  const outcome = ["right", "wrong", "not judged"][points.outcome[i]];
  image.alt = `${classes[points.label[i]] ?? "no label"}, ${outcome}`;
  image.src = form.dataset.thumbs + points.row[i];
  frame.append(image);
  const text = document.createElement("span");
  text.className = "thumb-text";
  text.textContent = image.alt;
  link.append(frame, text);
  return link;
}
