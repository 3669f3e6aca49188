// The scatter of a class: decision value against confidence; a click opens the image.

import { PointChart, notDrawn, seen, touch } from "./charts.js";
import { OutcomeColours, Tip, legend, outcomes, readPoints } from "./points.js";

const LAYOUT = {
  dragmode: touch ? false : "pan",
  xaxis: { title: { text: "hard ← decision value → easy" } },
  yaxis: { title: { text: "confidence" }, tickformat: ".0%" },
};

for (const stage of document.querySelectorAll("[data-scatter]")) {
  draw(stage).catch((error) => stage.replaceChildren(notDrawn(error)));
}

async function draw(stage) {
  await seen(stage);
  const points = await readPoints(stage.dataset.scatter);
  const plot = document.createElement("div");
  plot.className = "plot-area";
  stage.replaceChildren(plot);
  const chart = new PointChart(plot, points, new OutcomeColours(points), LAYOUT);
  await chart.draw();
  const tip = new Tip(stage, (row) => stage.dataset.thumbs + row);
  chart.on("plotly_hover", ({ event, points: [mark] }) => {
    const i = chart.index(mark);
    tip.show(event, points.row[i], `${outcomes[points.outcome[i]]}, confidence ${(100 * points.y[i]).toFixed(0)} %`);
  });
  chart.on("plotly_unhover", () => tip.hide());
  chart.on("plotly_click", ({ points: [mark] }) => location.assign(stage.dataset.images + points.row[chart.index(mark)]));
  chart.onTap((i) => location.assign(stage.dataset.images + points.row[i]));
  describe(chart, points);
  plot.addEventListener("themed", () => describe(chart, points));
}

function describe(chart, points) {
  const key = document.createElement("span");
  key.className = "map-legend";
  legend(key, chart.colours.keys);
  const left = points.total - points.m;
  const drawn = left ? `${points.m.toLocaleString("en")} images drawn, errors first; ${left.toLocaleString("en")} right ones are left out.` : "Every image of the class is drawn.";
  document.querySelector("[data-scatter-note]").replaceChildren(key, chart.left ? chart.said() : `${drawn} ${chart.said()}`);
}
