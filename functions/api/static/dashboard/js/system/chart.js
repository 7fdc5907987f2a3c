// One chart: a figure with its title, present values and lines or bars, drawn by uPlot in the theme's colours.

import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { el, setText } from "../dom.js";
import { DASH } from "../format.js";
import { colour } from "../theme.js";

const HEIGHT = 168;
const LEAST_SPAN_S = 180; // so that the first minute is not stretched over the whole width
const HALF_MINUTE_S = 30;
const HALF_DAY_S = 43_200;
const FONT = '11px -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, system-ui, sans-serif';
const together = uPlot.sync("sluice");
const two = (n) => String(n).padStart(2, "0");

// `series`: [{ label, tint, lane?, fill?, dash?, step?, bars? }]; `format` writes a value; `least`: lowest top of the scale.
// `stack` draws bars on top of each other; `days` has one for each UTC day. `dots` shows values that
// have no neighbour to be joined to. `set(x, ys)` takes one array of values for each series.
export function chart({ title, note = "", series, format, least = 1, stack = false, days = false, dots = false }) {
  const values = series.map(() => el("dd", {}, DASH));
  const legend = el(
    "dl",
    { class: "legend" },
    ...series.map(({ label, tint, dash, lane = "" }, n) =>
      el("div", { data: { tint, lane, dash: dash ? "yes" : "no" } }, el("dt", {}, label), values[n]),
    ),
  );
  const bars = series.some((one) => one.bars);
  const half = days ? HALF_DAY_S : HALF_MINUTE_S;
  const span = (from, to) => (bars ? [from - half, to + half] : [Math.min(from, to - LEAST_SPAN_S), to]);
  const when = days ? onDay : clock;
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
      axis({ values: (_, ticks) => ticks.map(when), space: days ? 48 : 70, grid: { show: false }, ...(days && { incrs: DAYS_APART }) }),
      axis({ size: days ? 72 : 44, space: 34, values: (_, ticks) => ticks.map(format) }),
    ],
    series: [{}, ...series.map((one) => line({ ...one, dots }))],
    ...(days && { tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC") }),
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

function line({ tint, fill, dash, step, bars, dots }) {
  const stroke = () => colour(tint);
  const drawn = { stroke, width: 2, points: dots ? { show: true, size: 5, fill: stroke } : { show: false }, dash: dash ? [5, 5] : undefined };
  if (fill) drawn.fill = () => colour(`${tint}-soft`);
  if (step) drawn.paths = uPlot.paths.stepped({ align: 1 });
  if (bars) Object.assign(drawn, { width: 0, fill: stroke, paths: uPlot.paths.bars({ size: [0.72, 18], radius: 0.15 }) });
  return drawn;
}

const DAYS_APART = [1, 2, 7, 14, 28, 56, 112].map((days) => days * 2 * HALF_DAY_S);
const onDay = (s) => new Date(s * 1000).toISOString().slice(5, 10);

function clock(s) {
  const at = new Date(s * 1000);
  return `${two(at.getHours())}:${two(at.getMinutes())}${at.getSeconds() ? `:${two(at.getSeconds())}` : ""}`;
}
