// Packed points (see app/web/pages/results_points.py), what colours them, and the words and pictures beside a chart.

const BYTES = 16;

export const outcomes = ["right", "wrong", "not judged"];

export async function readPoints(href) {
  const answer = await fetch(href);
  if (!answer.ok) throw new Error(`${answer.status}`);
  const buffer = await answer.arrayBuffer();
  const m = buffer.byteLength / BYTES;
  return {
    m,
    total: Number(answer.headers.get("X-Total") ?? m),
    x: new Float32Array(buffer, 0, m),
    y: new Float32Array(buffer, 4 * m, m),
    row: new Uint32Array(buffer, 8 * m, m),
    label: new Uint16Array(buffer, 12 * m, m),
    outcome: new Uint8Array(buffer, 14 * m, m),
    slice: new Uint8Array(buffer, 15 * m, m),
  };
}

// A colour of the style sheet in the only notation that Plotly reads whatever the browser: rgb().
export function paint(colour) {
  const probe = document.createElement("span");
  probe.style.color = colour;
  document.body.append(probe);
  const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  pen.fillStyle = getComputedStyle(probe).color;
  probe.remove();
  pen.fillRect(0, 0, 1, 1);
  return `rgb(${pen.getImageData(0, 0, 1, 1).data.slice(0, 3).join(",")})`;
}

const OUTCOME_COLOURS = ["var(--right)", "var(--wrong)", "var(--line)"];

export class OutcomeColours {
  constructor(points) {
    this.points = points;
    this.refresh();
  }

  refresh() {
    this.colours = OUTCOME_COLOURS.map(paint);
    const counts = [0, 0, 0];
    for (const outcome of this.points.outcome) counts[outcome] += 1;
    this.keys = outcomes.map((name, k) => ({ name, colour: this.colours[k], shape: k, count: counts[k] })).filter((key) => key.count);
  }

  of(_members, outcome) {
    return this.colours[outcome];
  }
}

// Colours by a number per point: each name a hue of equal lightness; numbers without a name share the quiet one.
export class NamedColours {
  constructor(points, values, names, { first = 0, rest = "" } = {}) {
    Object.assign(this, { points, values, names, first, rest });
    this.refresh();
  }

  refresh() {
    const counts = new Map();
    for (const value of this.values) counts.set(value, (counts.get(value) ?? 0) + 1);
    this.quiet = paint("var(--line)");
    this.colours = new Map([...counts.keys()].map((value) => [value, this.colour(value - this.first)]));
    const key = ([value, count]) => ({ name: this.names[value - this.first] ?? this.rest, colour: this.colours.get(value), count });
    this.keys = [...counts].map(key).sort((a, b) => b.count - a.count);
  }

  colour(index) {
    if (!(index in this.names)) return this.quiet;
    const hue = (index * 137.5 + 25) % 360;
    return paint(`light-dark(oklch(0.56 0.13 ${hue}), oklch(0.74 0.13 ${hue}))`);
  }

  of(members) {
    return Array.from(members, (i) => this.colours.get(this.values[i]));
  }
}

const SHAPES = ["M6 2a4 4 0 1 0 .01 0z", "M2 2L10 10M2 10L10 2", "M6 3a3 3 0 1 0 .01 0z"];

export function legend(target, keys, most = 14) {
  target.replaceChildren(...keys.slice(0, most).map(entry));
  if (keys.length > most) target.append(`and ${keys.length - most} more`);
  if (!keys.some((key) => "shape" in key)) target.append("A cross is wrong, a disc right, a ring not judged.");
}

function entry({ name, colour, count, shape = 0 }) {
  const key = document.createElement("span");
  key.className = "map-key";
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[shape]);
  path.setAttribute("fill", shape ? "none" : colour);
  if (shape) path.setAttribute("stroke", colour);
  path.setAttribute("stroke-width", "2");
  svg.append(path);
  key.append(svg, `${name} (${count.toLocaleString("en")})`);
  return key;
}

// A picture beside the pointer.
export class Tip {
  constructor(stage, thumb) {
    this.stage = stage;
    this.thumb = thumb;
    this.box = document.createElement("div");
    this.box.className = "plot-tip";
    this.box.hidden = true;
    this.image = new Image();
    this.image.alt = "";
    this.text = document.createElement("span");
    this.box.append(this.image, this.text);
    stage.append(this.box);
  }

  show({ clientX, clientY }, row, text) {
    const edge = this.stage.getBoundingClientRect();
    const [px, py] = [clientX - edge.left, clientY - edge.top];
    const src = this.thumb(row);
    if (this.image.getAttribute("src") !== src) this.image.src = src;
    this.text.textContent = text;
    this.box.hidden = false;
    const left = px + 128 > edge.width ? px - 128 : px + 14;
    const top = Math.min(py, Math.max(edge.height - 160, 0));
    Object.assign(this.box.style, { left: `${Math.max(left, 0)}px`, top: `${top}px` });
  }

  hide() {
    this.box.hidden = true;
  }
}
