// A chart as SVG: lines over one axis, a grid, and the values under the pointer.

import { text } from "./language.js";

const namespace = "http://www.w3.org/2000/svg";
const [width, height, left, right, top, bottom] = [560, 240, 52, 8, 8, 24];

export function svgElement(name, attributes = {}, text = "") {
  const element = document.createElementNS(namespace, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
}

/// A number in its shortest form: 12000 is "12k", 0.00031 is "3.1e-4".
export function short(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e9) return trimmed(value / 1e9) + "G";
  if (size >= 1e6) return trimmed(value / 1e6) + "M";
  if (size >= 1e4) return trimmed(value / 1e3) + "k";
  if (size < 1e-3) return value.toExponential(1);
  return trimmed(value);
}

function trimmed(value) { return String(Number(value.toPrecision(4))); }

/// Values that divide `low`…`high` into about `count` steps of 1, 2 or 5 times a power of ten.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
  const result = [];
  for (let tick = Math.ceil(low / step); tick * step <= high + step * 1e-9; tick++) result.push(Number((tick * step).toPrecision(12)));
  return result;
}

/// At most a few points a pixel column: means of neighbours.
function thinned(points) {
  const size = Math.ceil(points.length / 800);
  if (size < 2) return points;
  const result = [];
  for (let start = 0; start < points.length; start += size) {
    const part = points.slice(start, start + size);
    result.push([part.at(-1)[0], part.reduce((sum, point) => sum + point[1], 0) / part.length]);
  }
  return result;
}

/// Draws `lines` into a figure made by `chartFigure`. A line is {name, points: [[x, y]…], classes, hasDots, isShown}, where
/// isShown lines are named at the pointer.
export function drawChart(figure, lines) {
  const svg = figure.querySelector("svg");
  const all = lines.flatMap(line => line.points);
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const [x, y] of all) {
    x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
  }
  if (x0 === x1) x1 = x0 + 1;
  const margin = (y1 - y0) * 0.05 || Math.abs(y1) * 0.05 || 1;
  y0 -= margin; y1 += margin;
  const xAt = x => left + (x - x0) / (x1 - x0) * (width - left - right);
  const yAt = y => height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom);
  const elements = [];
  for (const y of ticks(y0, y1, 5)) {
    elements.push(svgElement("line", { class: "grid", x1: left, x2: width - right, y1: yAt(y), y2: yAt(y) }));
    elements.push(svgElement("text", { x: left - 6, y: yAt(y) + 4, "text-anchor": "end" }, short(y)));
  }
  for (const x of ticks(x0, x1, 5)) {
    elements.push(svgElement("text", { x: xAt(x), y: height - 6, "text-anchor": "middle" }, short(x)));
  }
  for (const line of lines) {
    const points = thinned(line.points).map(([x, y]) => [xAt(x).toFixed(1), yAt(y).toFixed(1)]);
    elements.push(svgElement("polyline", { class: "curve " + line.classes, points: points.map(point => point.join()).join(" ") }));
    if (line.hasDots) for (const [x, y] of points) elements.push(svgElement("circle", { class: line.classes, cx: x, cy: y, r: 2.4 }));
  }
  const cursor = svgElement("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" });
  svg.replaceChildren(...elements, cursor);
  const values = figure.querySelector(".values");
  const told = lines.filter(line => line.isShown && line.points.length > 0);
  const tell = x => told.map(line => `${line.name} ${short(nearest(line.points, x)[1])}`).join(" · ");
  values.textContent = tell(Infinity);
  svg.setAttribute("aria-label", `${figure.dataset.title}: ${values.textContent}`);
  svg.onpointermove = event => {
    const box = svg.getBoundingClientRect();
    const x = x0 + ((event.clientX - box.left) / box.width * width - left) / (width - left - right) * (x1 - x0);
    const place = Math.max(x0, Math.min(x1, x));
    cursor.setAttribute("x1", xAt(place));
    cursor.setAttribute("x2", xAt(place));
    cursor.setAttribute("visibility", "visible");
    values.textContent = text("at", { x: short(place), values: tell(place) });
  };
  svg.onpointerleave = () => { cursor.setAttribute("visibility", "hidden"); values.textContent = tell(Infinity); };
}

/// The point nearest to `x`; points are in the order of x.
function nearest(points, x) {
  let low = 0, high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle + 1; else high = middle;
  }
  return low > 0 && x - points[low - 1][0] < points[low][0] - x ? points[low - 1] : points[low];
}

/// An empty figure for `drawChart`.
export function chartFigure(title) {
  const figure = document.createElement("figure");
  figure.className = "chart";
  figure.dataset.title = title;
  const caption = document.createElement("figcaption");
  const values = document.createElement("span");
  values.className = "values";
  caption.append(title, values);
  figure.append(caption, svgElement("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" }));
  return figure;
}
