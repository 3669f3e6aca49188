// The map: colour by error, slice or class; drag a lasso or a box around images to look at them and keep them.

import { PointChart, notDrawn, touch } from "./charts.js";
import { NamedColours, OutcomeColours, Tip, legend, outcomes, readPoints } from "./points.js";

const SHOWN = 48;
const DRAGS = { page: false, lasso: "lasso", box: "select", pan: "pan" };
// One unit is as long across as up: distances on the map mean the same in every direction.
const LAYOUT = { margin: { l: 0, r: 0, t: 0, b: 0 }, xaxis: { visible: false }, yaxis: { visible: false, scaleanchor: "x", scaleratio: 1 } };

for (const form of document.querySelectorAll("[data-map]")) {
  start(form).catch((error) => form.querySelector(".map-stage").append(notDrawn(error)));
}

async function start(form) {
  const stage = form.querySelector(".map-stage");
  const points = await readPoints(form.dataset.map);
  const classes = JSON.parse(form.dataset.classes);
  const colours = {
    error: () => new OutcomeColours(points),
    class: () => new NamedColours(points, points.label, classes, { rest: "no label" }),
    slice: () => new NamedColours(points, points.slice, JSON.parse(form.dataset.slices), { first: 1, rest: "in no slice" }),
  };
  if (touch) form.querySelector("[name=drag][value=page]").checked = true;
  const layout = { ...LAYOUT, dragmode: DRAGS[form.elements.drag.value] };
  const chart = new PointChart(stage.querySelector("[data-map-plot]"), points, colours[form.elements.colour.value](), layout);
  await chart.draw();
  const state = { form, stage, points, classes, chart };
  choices(state, colours);
  listen(state);
  explain(state);
  chart.stage.addEventListener("themed", () => explain(state));
}

function choices({ form, chart, ...state }, colours) {
  for (const radio of form.elements.colour) {
    radio.addEventListener("change", async () => {
      await chart.recolour(colours[radio.value]());
      explain({ form, chart, ...state });
      const address = new URL(location);
      address.searchParams.set("colour", radio.value);
      history.replaceState(null, "", address);
    });
  }
  for (const radio of form.elements.drag) {
    radio.addEventListener("change", () => chart.change({ dragmode: DRAGS[radio.value] }));
  }
  form.querySelector("[data-map-home]").addEventListener("click", () => chart.change({ "xaxis.autorange": true, "yaxis.autorange": true }));
}

function explain({ form, chart }) {
  const target = form.querySelector("[data-map-legend]");
  legend(target, chart.colours.keys);
  target.append(chart.said());
}

function named({ points, classes }, i) {
  return `${classes[points.label[i]] ?? "no label"}, ${outcomes[points.outcome[i]]}`;
}

function listen(state) {
  const { chart, points, form } = state;
  const tip = new Tip(state.stage, (row) => form.dataset.thumbs + row);
  chart.on("plotly_hover", ({ event, points: [mark] }) => {
    const i = chart.index(mark);
    tip.show(event, points.row[i], named(state, i));
  });
  chart.on("plotly_unhover", () => tip.hide());
  chart.on("plotly_selecting", () => tip.hide());
  chart.on("plotly_click", ({ points: [mark] }) => location.assign(form.dataset.images + points.row[chart.index(mark)]));
  chart.onTap((i) => location.assign(form.dataset.images + points.row[i]));
  chart.on("plotly_deselect", () => pick(state, []));
  chart.on("plotly_selected", (selection) => {
    if (!selection) return;
    const found = selection.points.map((mark) => chart.index(mark));
    if (!found.length) chart.unselect();
    pick(state, found.sort((a, b) => outcomeOrder(points, a) - outcomeOrder(points, b) || points.row[a] - points.row[b]));
  });
}

function outcomeOrder(points, i) {
  return [1, 0, 2][points.outcome[i]];
}

function pick(state, found) {
  const { form, points } = state;
  const said = form.querySelector("[data-map-picked]");
  const grid = form.querySelector("[data-map-thumbs]");
  grid.replaceChildren(...found.slice(0, SHOWN).map((i) => thumb(state, i)));
  form.elements.rows.value = found.map((i) => points.row[i]).join(",");
  if (!found.length) return said.replaceChildren("Nothing was picked.");
  const wrong = found.filter((i) => points.outcome[i] === 1).length;
  const button = document.createElement("button");
  button.className = "button button-primary";
  button.type = "submit";
  button.textContent = "Look closer, ask, or save as a slice";
  said.className = "row small";
  const more = found.length > SHOWN ? ` The first ${SHOWN} are below.` : "";
  said.replaceChildren(`${found.length.toLocaleString("en")} images picked, ${wrong.toLocaleString("en")} of them wrong.${more}`, button);
}

function thumb(state, i) {
  const { form, points } = state;
  const link = document.createElement("a");
  link.className = "thumb";
  link.href = form.dataset.images + points.row[i];
  const frame = document.createElement("span");
  frame.className = "thumb-frame";
  const image = new Image(160, 160);
  image.loading = "lazy";
  image.alt = named(state, i);
  image.src = form.dataset.thumbs + points.row[i];
  frame.append(image);
  const text = document.createElement("span");
  text.className = "thumb-text";
  text.textContent = image.alt;
  link.append(frame, text);
  return link;
}
