// Plotly's strict bundle, fetched when a chart is about to be seen, and points drawn with it under the strict policy.

import { outcomes, paint } from "./points.js";

const BUNDLE = new URL("../vendor/plotly/plotly-strict.min.js", import.meta.url).href;
// The bundle adds inline styles unless these ids are taken; the rules that it needs are in css/results/charts.css.
const TAKEN = ["plotly.js-style-global", "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53"];
const SYMBOLS = ["circle", "x", "circle-open"];
// SVG marks are elements of the page: more of them make it unusable.
const MOST_WITHOUT_WEBGL = 4000;
const CONFIG = { displayModeBar: false, displaylogo: false, responsive: true, scrollZoom: true, showAxisDragHandles: false, showTips: false };

// A finger scrolls the page until somebody says that it selects; a wheel zooms only with Ctrl or ⌘.
export const touch = matchMedia("(pointer: coarse)").matches;

const FINGER = 24;

let bundle;

export function plotly() {
  bundle ??= new Promise((resolve, reject) => {
    for (const id of TAKEN) {
      const taken = document.createElement("template");
      taken.id = id;
      taken.className = "no-inline-styles";
      document.head.append(taken);
    }
    const script = document.createElement("script");
    script.src = BUNDLE;
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => reject(new Error("The chart's script did not load.")));
    document.head.append(script);
  });
  return bundle;
}

export function seen(element) {
  return new Promise((resolve) => {
    const watch = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      resolve();
    }, { rootMargin: "400px" });
    watch.observe(element);
  });
}

export function notDrawn(error) {
  const said = document.createElement("p");
  said.className = "small";
  said.setAttribute("role", "alert");
  said.textContent = `The chart was not drawn (${error.message}). Load the page again; the images page lists every image without a chart.`;
  return said;
}

function hasWebGL() {
  const context = document.createElement("canvas").getContext("webgl");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return context !== null;
}

// One trace per outcome, so that a symbol says right or wrong whatever the colour says; wrong ones lie on top.
export class PointChart {
  constructor(stage, points, colours, layout) {
    Object.assign(this, { stage, points, colours, layout });
    this.webgl = hasWebGL();
    this.left = this.webgl ? 0 : Math.max(points.m - MOST_WITHOUT_WEBGL, 0);
    const shown = points.m - this.left;
    const order = [1, 0, 2].flatMap((outcome) => indices(points, outcome)).slice(0, shown);
    this.members = [2, 0, 1].map((outcome) => Uint32Array.from(order.filter((i) => points.outcome[i] === outcome)));
    this.outcome = [2, 0, 1];
  }

  async draw() {
    this.plotly = await plotly();
    this.stage.addEventListener("wheel", leaveToPage, { capture: true, passive: true });
    this.scrolls(this.layout.dragmode === false);
    await this.plotly.newPlot(this.stage, this.traces(), this.themed(), CONFIG);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.restyle());
    new MutationObserver(() => this.restyle()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  traces() {
    const size = this.points.m > 20000 ? 4 : this.points.m > 4000 ? 5 : 7;
    return this.members.map((members, t) => ({
      type: this.webgl ? "scattergl" : "scatter",
      mode: "markers",
      name: outcomes[this.outcome[t]],
      x: Float32Array.from(members, (i) => this.points.x[i]),
      y: Float32Array.from(members, (i) => this.points.y[i]),
      hoverinfo: "none",
      marker: { symbol: SYMBOLS[this.outcome[t]], size: this.outcome[t] === 1 ? size + 1 : size, ...this.marks(t) },
      unselected: { marker: { opacity: 0.15 } },
    }));
  }

  marks(t) {
    return {
      color: this.colours.of(this.members[t], this.outcome[t]),
      opacity: this.outcome[t] === 1 ? 0.95 : 0.6,
      line: { width: 0 },
    };
  }

  themed() {
    const font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: paint("var(--ink-2)") };
    const [grid, accent] = [paint("var(--hairline)"), paint("var(--accent)")];
    const axis = { gridcolor: grid, linecolor: grid, zeroline: false, automargin: true };
    const { xaxis, yaxis, ...rest } = this.layout;
    return {
      font,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      showlegend: false,
      hovermode: "closest",
      hoverdistance: 8,
      margin: { l: 12, r: 8, t: 8, b: 12 },
      newselection: { line: { color: accent, width: 1.5, dash: "solid" } },
      ...rest,
      xaxis: { ...axis, ...xaxis },
      yaxis: { ...axis, ...yaxis },
    };
  }

  // Colours only: the columns stay where they are.
  async recolour(colours) {
    this.colours = colours;
    const colour = this.members.map((members, t) => colours.of(members, this.outcome[t]));
    await this.plotly.restyle(this.stage, { "marker.color": colour }, [0, 1, 2]);
  }

  async restyle() {
    this.colours.refresh();
    await this.recolour(this.colours);
    const { font, newselection, xaxis } = this.themed();
    const grid = ["xaxis", "yaxis"].flatMap((axis) => ["gridcolor", "linecolor"].map((name) => [`${axis}.${name}`, xaxis[name]]));
    await this.plotly.relayout(this.stage, { font, newselection, ...Object.fromEntries(grid) });
    this.stage.dispatchEvent(new Event("themed"));
  }

  scrolls(yes) {
    this.stage.classList.toggle("plot-scrolls", yes);
  }

  async change(layout) {
    if ("dragmode" in layout) this.scrolls(layout.dragmode === false);
    await this.plotly.relayout(this.stage, layout);
  }

  async unselect() {
    await this.plotly.update(this.stage, { selectedpoints: null }, { selections: [] });
  }

  on(name, listener) {
    this.stage.on(name, listener);
  }

  // While a finger scrolls the page the chart takes no drags, so a tap finds its point here.
  onTap(listener) {
    this.stage.addEventListener("click", (event) => {
      const i = this.stage.classList.contains("plot-scrolls") ? this.nearest(event) : -1;
      if (i >= 0) listener(i);
    });
  }

  nearest(event) {
    const { xaxis, yaxis } = this.stage._fullLayout;
    const box = this.stage.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - xaxis._offset, event.clientY - box.top - yaxis._offset];
    let [best, least] = [-1, FINGER ** 2];
    for (const i of this.members.flatMap((members) => [...members])) {
      const away = (xaxis.l2p(this.points.x[i]) - x) ** 2 + (yaxis.l2p(this.points.y[i]) - y) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    return best;
  }

  // The point behind a mark of Plotly's.
  index(mark) {
    return this.members[mark.curveNumber][mark.pointNumber];
  }

  // What a browser without WebGL does not show.
  said() {
    if (this.webgl) return "";
    const [drawn, all] = [this.points.m - this.left, this.points.m].map((count) => count.toLocaleString("en"));
    return this.left ? `Without WebGL this browser draws ${drawn} of ${all} points, errors first; only these can be picked.` : "This browser has no WebGL, so the chart is slower.";
  }
}

function leaveToPage(event) {
  if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
}

function indices(points, outcome) {
  const found = [];
  for (let i = 0; i < points.m; i++) if (points.outcome[i] === outcome) found.push(i);
  return found;
}
