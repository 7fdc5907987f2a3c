// One chart: a figure with its title, present values and lines or bars, drawn by uPlot in the theme's colours.

import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { el, setText } from "../dom.js";
import { DASH } from "../format.js";
import { colour } from "../theme.js";

const HEIGHT = 168;
const LEAST_SPAN_S = 180; // so that the first minute is not stretched over the whole width
const HALF_MINUTE_S = 30;
const FONT = '11px -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, system-ui, sans-serif';
const together = uPlot.sync("sluice");
const two = (n) => String(n).padStart(2, "0");

// `series`: [{ label, tint, lane?, fill?, dash?, step?, bars? }]; `format` writes a value; `least`: lowest top of the scale.
// `stack` draws bars on top of each other. `set(x, ys)` takes one array of values for each series.
export function chart({ title, note = "", series, format, least = 1, stack = false }) {
  const values = series.map(() => el("dd", {}, DASH));
  const legend = el(
    "dl",
    { class: "legend" },
    ...series.map(({ label, tint, dash, lane = "" }, n) =>
      el("div", { data: { tint, lane, dash: dash ? "yes" : "no" } }, el("dt", {}, label), values[n]),
    ),
  );
  const bars = series.some((one) => one.bars);
  const span = (from, to) =>
    bars ? [from - HALF_MINUTE_S, to + HALF_MINUTE_S] : [Math.min(from, to - LEAST_SPAN_S), to];
  const canvas = el("div", { class: "chart", "aria-hidden": "true" });
  const node = el(
    "figure",
    { class: "panel figure" },
    el("figcaption", {}, el("h2", {}, title), note && el("span", { class: "help" }, note)),
    legend,
    canvas,
  );
  let raw = series.map(() => []);
  let plot = null;

  function showValues(at) {
    const n = at ?? raw[0].length - 1;
    raw.forEach((ys, k) => setText(values[k], ys[n] === null || ys[n] === undefined ? DASH : format(ys[n])));
  }

  const options = (width) => ({
    width,
    height: HEIGHT,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: bars ? null : together.key }, points: { size: 6 } },
    scales: {
      x: { range: (_, from, to) => (to === null ? [null, null] : span(from, to)) },
      y: { range: (_, __, top) => [0, Math.max(least, (top ?? 0) * 1.12)] },
    },
    axes: [
      axis({ values: (_, ticks) => ticks.map(clock), space: 70, grid: { show: false } }),
      axis({ size: 44, space: 34, values: (_, ticks) => ticks.map(format) }),
    ],
    series: [{}, ...series.map(line)],
    hooks: { setCursor: [(u) => showValues(u.cursor.idx)] },
  });

  const sizes = new ResizeObserver(([{ contentRect }]) => {
    const width = Math.floor(contentRect.width);
    if (!width) return;
    if (plot) plot.setSize({ width, height: HEIGHT });
    else plot = new uPlot(options(width), drawn, canvas);
  });
  sizes.observe(canvas);
  const recolour = () => plot?.redraw();
  document.addEventListener("themechange", recolour);

  let drawn = [[], ...series.map(() => [])];

  return {
    node,
    set(x, ys) {
      raw = ys;
      drawn = [x, ...(stack ? stacked(ys) : ys)];
      plot?.setData(drawn);
      showValues(plot?.cursor.idx);
    },
    destroy() {
      sizes.disconnect();
      document.removeEventListener("themechange", recolour);
      plot?.destroy();
    },
  };
}

// Bars are drawn over each other, the highest first: each holds what is below it too.
function stacked(ys) {
  return ys.map((_, k) => ys[0].map((__, n) => ys.slice(k).reduce((sum, one) => sum + (one[n] ?? 0), 0)));
}

function axis(more) {
  return {
    stroke: () => colour("ink-3"),
    font: FONT,
    size: 26,
    gap: 6,
    ticks: { show: false },
    ...more,
    grid: { stroke: () => colour("line"), width: 1, ...more.grid },
  };
}

function line({ tint, fill, dash, step, bars }) {
  const stroke = () => colour(tint);
  const drawn = { stroke, width: 2, points: { show: false }, dash: dash ? [5, 5] : undefined };
  if (fill) drawn.fill = () => colour(`${tint}-soft`);
  if (step) drawn.paths = uPlot.paths.stepped({ align: 1 });
  if (bars) Object.assign(drawn, { width: 0, fill: stroke, paths: uPlot.paths.bars({ size: [0.72, 18], radius: 0.15 }) });
  return drawn;
}

function clock(s) {
  const at = new Date(s * 1000);
  return `${two(at.getHours())}:${two(at.getMinutes())}${at.getSeconds() ? `:${two(at.getSeconds())}` : ""}`;
}
