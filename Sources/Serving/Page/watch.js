// The page of `minimind watch`: reads the runs' metrics as they grow and draws them over each other.

import { chartFigure, drawChart, svgElement } from "./chart.js";
import * as store from "./store.js";
import { browserLanguage, speak, text } from "./watch-words.js";

/// From the server: the charts, each with the name of its title's text, what its values are multiplied by, and its lines as
/// {name in metrics.jsonl, label: name of the text that tells it from the others, kind}; and the names of what else is
/// read here, and the units of bytes. Smoothed lines are noisy ones; held-out lines are dashed, with a dot an evaluation.
let charts = [], names = {}, byteUnits = [];

const part = id => document.getElementById(id);
/// {name, isRunning, …} from the server, and here: rows, file, end, samples, isVisible.
let runs = [];

async function read(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return response.json();
}

async function update() {
  if (charts.length === 0) ({ charts, names, byteUnits } = await read("metrics"));
  const listed = withShortNames(await read("runs"));
  if (listed.length !== runs.length) runs = listed.map(run => ({ ...run, rows: [], file: "0", end: 0, samples: "", isVisible: true }));
  let isChanged = false;
  for (const [index, run] of runs.entries()) {
    isChanged ||= run.isRunning !== listed[index].isRunning;
    Object.assign(run, listed[index]);
    for (let isMore = true; isMore;) {
      const answer = await read(`runs/${index}/metrics/${run.file}/${run.end}`);
      // The file is another one since a run went on from its checkpoint: some steps come again.
      if (answer.start === 0) run.rows = [];
      isChanged ||= answer.lines.length > 0 || answer.file !== run.file;
      append(run, answer.lines);
      run.file = answer.file;
      run.end = answer.end;
      isMore = answer.isMore;
    }
    const samples = (await read(`runs/${index}/samples`)).text;
    isChanged ||= samples !== run.samples;
    run.samples = samples;
  }
  if (isChanged) draw();
}

/// The runs without the directories that all their names begin with.
function withShortNames(listed) {
  const parts = listed.map(run => run.name.split("/"));
  let common = 0;
  while (parts.every(names => common < names.length - 1 && names[common] === parts[0][common])) common++;
  return listed.map((run, index) => ({ ...run, name: parts[index].slice(common).join("/") }));
}

/// Adds lines with what they do not say themselves: tokens at an evaluation, and the time, which is that of the steps.
function append(run, lines) {
  for (const line of lines) {
    const last = run.rows.at(-1) ?? { tokens: 0, time: 0 };
    const tokens = line[names.tokens] ?? last.tokens;
    const rate = line[names.rate];
    run.rows.push({ line, step: line[names.step], tokens, time: last.time + (rate > 0 ? (tokens - last.tokens) / rate / 3600 : 0) });
  }
}

function points(run, name, scale) {
  const axis = part("axis").value;
  return run.rows.filter(row => Number.isFinite(row.line[name])).map(row => [row[axis], row.line[name] * scale]);
}

function values(run, name) { return run.rows.map(row => row.line[name]).filter(Number.isFinite); }

/// What stands for a run, as `minimind runs` and the end of a training say it: the loss with each step counting 0.95 times
/// as much as the next, the last held-out loss, the largest peak of memory.
function summary(run) {
  let [sum, weight] = [0, 0];
  for (const loss of values(run, names.loss)) [sum, weight] = [0.95 * sum + loss, 0.95 * weight + 1];
  const parts = [];
  if (weight > 0) parts.push(text("endLoss", { value: (sum / weight).toFixed(4) }));
  const heldOut = values(run, names.heldOutLoss).at(-1);
  if (heldOut !== undefined) parts.push(text("endHeldOut", { value: heldOut.toFixed(4) }));
  const memory = values(run, names.memory).reduce((most, value) => Math.max(most, value), 0);
  if (memory > 0) parts.push(text("endMemory", { value: bytes(memory) }));
  return parts.join(text("separator"));
}

/// Bytes in powers of 1024, as the program's own texts have them.
function bytes(value) {
  let unit = 0;
  for (; value >= 1023.95 && unit + 1 < byteUnits.length; unit++) value /= 1024;
  return `${value.toFixed(unit === 0 ? 0 : value < 99.995 ? 2 : 1)} ${byteUnits[unit]}`;
}

/// The words of `minimind runs`.
function stateOf(run, step) {
  return text(run.isRunning ? "running" : step >= run.totalSteps ? "complete" : "stopped");
}

/// The mean of each point and its neighbours, and at the end a straight line's value, as in `LossPlot.smoothed`; up to an
/// eighth of the line to either side, as the slider says.
function smoothed(line) {
  const radius = Math.min(Math.round(line.length / 8 * (part("smoothing").value / 100) ** 2), (line.length - 1) >> 1);
  const [sums, moments] = [[0], [0]];
  line.forEach(([, y], index) => {
    sums.push(sums[index] + y);
    moments.push(moments[index] + index * y);
  });
  return line.map(([x], index) => {
    const reach = Math.min(radius, index);
    const size = 2 * reach + 1;
    const first = Math.min(index - reach, line.length - size);
    const centre = first + reach;
    const sum = sums[first + size] - sums[first];
    if (index === centre) return [x, sum / size];
    const slope = (moments[first + size] - moments[first] - centre * sum) * 12 / (size * (size * size - 1));
    return [x, sum / size + slope * (index - centre)];
  });
}

function draw() {
  drawList();
  const shown = runs.map((run, index) => [run, index]).filter(([run]) => run.isVisible);
  const figures = [];
  for (const chart of charts) {
    const title = text(chart.title);
    const lines = [];
    for (const [run, index] of shown) {
      for (const { name, label: kindName, kind } of chart.lines) {
        const raw = points(run, name, chart.scale);
        if (raw.length === 0) continue;
        const color = `run-${index % 6}`;
        const label = [shown.length > 1 ? run.name : "", kindName && text(kindName)].filter(Boolean).join(" ") || text("now");
        const isSmoothed = kind === "smoothed" && part("smoothing").value > 0;
        if (isSmoothed) lines.push({ name: label, points: raw, classes: color + " raw" });
        lines.push({ name: label, points: isSmoothed ? smoothed(raw) : raw, classes: `${color} ${kind}`, hasDots: kind === "held-out", isShown: true });
      }
    }
    if (lines.length === 0) continue;
    const figure = document.querySelector(`.chart[data-title="${title}"]`) ?? chartFigure(title);
    drawChart(figure, lines);
    figures.push(figure);
  }
  part("charts").replaceChildren(...figures);
  drawExperts(shown);
  drawSamples(shown);
}

function drawList() {
  part("runs").replaceChildren(...runs.map((run, index) => {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = run.isVisible;
    box.addEventListener("change", () => { run.isVisible = box.checked; draw(); });
    const swatch = svgElement("svg", { viewBox: "0 0 20 10", "aria-hidden": "true" });
    swatch.append(svgElement("line", { class: `run-${index % 6}`, x1: 0, x2: 20, y1: 5, y2: 5, "stroke-width": 3 }));
    const step = run.rows.at(-1)?.step ?? 0;
    const words = document.createElement("span");
    const about = text(run.stage ? "about" : "unknown", { ...run, step, total: run.totalSteps, state: stateOf(run, step) });
    words.textContent = [about, summary(run)].filter(Boolean).join(" · ");
    const label = document.createElement("label");
    label.append(box, swatch, words);
    const item = document.createElement("li");
    item.append(label);
    return item;
  }));
}

/// Whether it is rows of numbers, as it must be; the file may hold anything.
function isTable(value) {
  return Array.isArray(value) && value.length > 0 && value.every(row => Array.isArray(row) && row.length > 0 && row.every(Number.isFinite));
}

/// For each run, layers by experts, the darker the more a layer's tokens chose the expert.
function drawExperts(shown) {
  const maps = shown.flatMap(([run]) => {
    const shares = run.rows.map(row => row.line[names.experts]).findLast(isTable);
    if (!shares) return [];
    const most = Math.max(...shares.flat());
    const svg = svgElement("svg", { width: shares[0].length * 26, height: shares.length * 18, role: "img", "aria-label": text("layersByExperts", run) });
    shares.forEach((layer, row) => layer.forEach((share, column) => {
      const cell = svgElement("rect", { x: column * 26, y: row * 18, width: 25, height: 17, "fill-opacity": (0.05 + 0.95 * share / most).toFixed(3) });
      cell.append(svgElement("title", {}, text("expert", { layer: row + 1, expert: column + 1, share: (share * 100).toFixed(1) })));
      svg.append(cell);
    }));
    const figure = document.createElement("figure");
    figure.className = "map";
    figure.append(svg, text("rowsAndColumns", run));
    return [figure];
  });
  part("experts").hidden = maps.length === 0;
  part("experts").querySelector(".maps").replaceChildren(...maps);
}

function drawSamples(shown) {
  const texts = shown.filter(([run]) => run.samples).map(([run]) => {
    const block = document.createElement("article");
    block.className = "sample";
    const pre = document.createElement("pre");
    pre.tabIndex = 0;
    // The newest first.
    pre.textContent = run.samples.split(/^(?==== step )/m).reverse().join("").trim();
    block.append(run.name, pre);
    return block;
  });
  part("samples").hidden = texts.length === 0;
  part("samples").querySelector(".texts").replaceChildren(...texts);
}

async function keepUpdating() {
  for (;;) {
    try {
      if (!document.hidden) await update();
      part("problem").hidden = true;
    } catch (error) {
      part("problem").textContent = text("silent", { error: error.message });
      part("problem").hidden = false;
    }
    await new Promise(done => setTimeout(done, 2000));
  }
}

function show(language) {
  part("language").value = language;
  speak(language);
}

part("language").addEventListener("change", event => {
  store.save("language", event.target.value);
  show(event.target.value);
  draw();
});
part("axis").addEventListener("change", draw);
part("smoothing").addEventListener("input", draw);
show(store.load("language", browserLanguage()));
keepUpdating();
