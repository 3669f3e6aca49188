// Reads packed points (see app/web/pages/results_points.py) and draws them on a canvas that can be moved and zoomed.

const BYTES = 16;

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

export function token(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

export class Plot {
  constructor(canvas, points, style) {
    this.canvas = canvas;
    this.points = points;
    this.style = style;
    this.selected = null;
    this.overlay = () => {};
    this.home();
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.restyle());
    new MutationObserver(() => this.restyle()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  home() {
    const range = (values) => {
      let [low, high] = [Infinity, -Infinity];
      for (const value of values) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
      const pad = (high - low || 1) * 0.04;
      return [low - pad, high + pad];
    };
    this.bounds = this.points.m ? [range(this.points.x), range(this.points.y)] : [[0, 1], [0, 1]];
    this.view = this.bounds.map((range) => [...range]);
  }

  restyle() {
    this.style.refresh();
    this.draw();
  }

  place(x, y) {
    const [[x0, x1], [y0, y1]] = this.view;
    return [((x - x0) / (x1 - x0)) * this.width, (1 - (y - y0) / (y1 - y0)) * this.height];
  }

  wheel(event) {
    event.preventDefault();
    const factor = Math.exp(Math.sign(event.deltaY) * 0.18);
    const at = [event.offsetX / this.width, 1 - event.offsetY / this.height];
    this.view = this.view.map(([low, high], axis) => {
      const middle = low + (high - low) * at[axis];
      return [middle - (middle - low) * factor, middle + (high - middle) * factor];
    });
    this.draw();
  }

  move(dx, dy) {
    const [[x0, x1], [y0, y1]] = this.view;
    const [sx, sy] = [(-dx / this.width) * (x1 - x0), (dy / this.height) * (y1 - y0)];
    this.view = [[x0 + sx, x1 + sx], [y0 + sy, y1 + sy]];
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    const { canvas, points } = this;
    const ratio = devicePixelRatio || 1;
    [this.width, this.height] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [this.width * ratio, this.height * ratio];
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const size = points.m > 20000 ? 1.5 : points.m > 4000 ? 2 : 2.75;
    // Quiet points first, so that what matters lies on top.
    for (const group of this.style.groups) {
      pen.fillStyle = pen.strokeStyle = group.colour;
      pen.globalAlpha = this.selected ? 0.18 : group.alpha;
      this.dots(pen, group, size, (i) => !this.selected?.has(i));
      pen.globalAlpha = 1;
      if (this.selected) this.dots(pen, group, size + 0.5, (i) => this.selected.has(i));
    }
    this.overlay(pen);
  }

  dots(pen, group, size, wanted) {
    const { x, y } = this.points;
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (const i of group.members) {
      if (!wanted(i)) continue;
      const [px, py] = this.place(x[i], y[i]);
      if (px < -4 || py < -4 || px > this.width + 4 || py > this.height + 4) continue;
      if (group.cross) {
        pen.moveTo(px - size, py - size);
        pen.lineTo(px + size, py + size);
        pen.moveTo(px - size, py + size);
        pen.lineTo(px + size, py - size);
      } else {
        pen.moveTo(px + size, py);
        pen.arc(px, py, size, 0, 6.2832);
      }
    }
    if (group.cross) pen.stroke();
    else pen.fill();
  }

  nearest(px, py, within = 12) {
    let [best, distance] = [-1, within * within];
    for (let i = 0; i < this.points.m; i++) {
      const [x, y] = this.place(this.points.x[i], this.points.y[i]);
      const d = (x - px) ** 2 + (y - py) ** 2;
      if (d < distance) [best, distance] = [i, d];
    }
    return best;
  }

  inside(polygon) {
    const found = new Set();
    for (let i = 0; i < this.points.m; i++) {
      const [px, py] = this.place(this.points.x[i], this.points.y[i]);
      if (contains(polygon, px, py)) found.add(i);
    }
    return found;
  }
}

function contains(polygon, x, y) {
  let within = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [[xi, yi], [xj, yj]] = [polygon[i], polygon[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) within = !within;
  }
  return within;
}

// Groups of points by outcome: right as dots, wrong as crosses, so that colour never stands alone.
export class OutcomeStyle {
  constructor(points) {
    this.points = points;
    this.refresh();
  }

  refresh() {
    const members = [[], [], []];
    for (let i = 0; i < this.points.m; i++) members[this.points.outcome[i]].push(i);
    this.groups = [
      { name: "not judged", colour: token("line"), alpha: 0.4, members: members[2] },
      { name: "right", colour: token("right"), alpha: 0.45, members: members[0] },
      { name: "wrong", colour: token("wrong"), alpha: 0.95, cross: true, members: members[1] },
    ].filter((group) => group.members.length);
  }
}

// Groups by a number per point: each name a hue of equal lightness; 0 of a slice means none.
export class NamedStyle {
  constructor(points, values, names, { first = 0, rest = "" } = {}) {
    Object.assign(this, { points, values, names, first, rest });
    this.refresh();
  }

  refresh() {
    const members = new Map();
    for (let i = 0; i < this.points.m; i++) {
      const name = this.names[this.values[i] - this.first] ?? this.rest;
      if (!members.has(name)) members.set(name, []);
      members.get(name).push(i);
    }
    const order = [...members.keys()].sort((a, b) => this.names.indexOf(a) - this.names.indexOf(b));
    this.groups = order.map((name) => this.group(name, members.get(name)));
  }

  group(name, members) {
    const index = this.names.indexOf(name);
    if (index < 0) return { name, colour: token("line"), alpha: 0.25, members };
    const light = getComputedStyle(document.body).colorScheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches ? 0.74 : 0.56;
    return { name, colour: `oklch(${light} 0.13 ${(index * 137.5 + 25) % 360})`, alpha: 0.8, members };
  }
}

export function legend(target, style, most = 14) {
  target.replaceChildren();
  const named = [...style.groups].sort((a, b) => b.members.length - a.members.length);
  for (const group of named.slice(0, most)) {
    const key = document.createElement("span");
    key.className = "map-key";
    const shape = group.cross ? "M2 2L10 10M2 10L10 2" : "M6 2a4 4 0 1 0 .01 0z";
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 12 12");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", shape);
    path.setAttribute(group.cross ? "stroke" : "fill", group.colour);
    if (group.cross) path.setAttribute("stroke-width", "2");
    svg.append(path);
    key.append(svg, `${group.name} (${group.members.length.toLocaleString("en")})`);
    target.append(key);
  }
  if (named.length > most) target.append(`and ${named.length - most} more`);
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

  show(px, py, row, text) {
    const src = this.thumb(row);
    if (this.image.getAttribute("src") !== src) this.image.src = src;
    this.text.textContent = text;
    this.box.hidden = false;
    const left = px + 128 > this.stage.clientWidth ? px - 128 : px + 14;
    const top = Math.min(py, Math.max(this.stage.clientHeight - 160, 0));
    Object.assign(this.box.style, { left: `${Math.max(left, 0)}px`, top: `${top}px` });
  }

  hide() {
    this.box.hidden = true;
  }
}
