// The charts of the system view, and what of /stats each of them draws.

import { compact } from "../format.js";
import { chart } from "./chart.js";
import { column } from "./history.js";

// In the order they are drawn: the last one is on top.
const LANES = [
  { lane: "quarantine", label: "Quarantine", tint: "lane-quarantine" },
  { lane: "high", label: "High", tint: "lane-high" },
  { lane: "normal", label: "Normal", tint: "lane-normal" },
];
const SCALED = [
  { lane: "normal", label: "Normal", tint: "lane-normal" },
  { lane: "high", label: "High", tint: "lane-high", dash: true },
];

const REFUSALS = [
  { label: "Quota", tint: "lane-normal", limits: ["requests"] },
  { label: "Ingress rate", tint: "lane-high", limits: ["ingress"] },
  { label: "Queue full", tint: "lane-quarantine", limits: ["queued", "queued_global"] },
  { label: "Budget", tint: "bad", limits: null }, // every other: tokens and money, per user and of all
];
const NAMED = new Set(REFUSALS.flatMap(({ limits }) => limits ?? []));

const recent = (made, names) => ({ node: made.node, destroy: made.destroy, draw: () => made.set(column("at"), names.map(column)) });
const lines = (lanes, more) => lanes.map((one) => ({ ...one, ...more }));
const whole = (n) => compact(Math.round(n));
const names = (what, lanes) => lanes.map(({ lane }) => `${what}.${lane}`);

export function charts() {
  const backlog = chart({ title: "Backlog", note: "messages that wait", series: lines(LANES), format: whole, least: 5 });
  const running = chart({
    title: "Concurrency",
    note: "runs under way",
    series: [
      { label: "Running", tint: "lane-normal", fill: true },
      { label: "Capacity", tint: "ink-3", dash: true, step: true },
    ],
    format: whole,
    least: 5,
  });
  const replicas = chart({ title: "Worker replicas", note: "the scaler's target", series: lines(SCALED, { step: true }), format: whole, least: 4 });
  const calls = chart({
    title: "Throughput",
    note: "model calls a minute",
    series: [
      { label: "Served", tint: "lane-high", bars: true },
      { label: "Throttled", tint: "bad", bars: true },
    ],
    stack: true,
    format: whole,
    least: 5,
  });
  const refused = chart({
    title: "Refusals",
    note: "submits a minute",
    series: REFUSALS.map(({ label, tint }) => ({ label, tint, bars: true })),
    stack: true,
    format: whole,
    least: 5,
  });
  return [
    recent(backlog, names("backlog", LANES)),
    recent(running, ["running", "capacity"]),
    { ...calls, draw: (stats) => minutes(calls, stats.provider.minutes, byCall) },
    { ...refused, draw: (stats) => minutes(refused, stats.refusals, byLimit) },
    recent(replicas, names("replicas", SCALED)),
  ];
}

function minutes(made, found, split) {
  if (!found) return; // cannot be read now: what was drawn stays
  const rows = found.map(split);
  made.set(
    found.map(({ minute }) => minute),
    rows[0].map((_, k) => rows.map((row) => row[k])),
  );
}

const byCall = ({ calls, throttled }) => [Math.max(0, calls - throttled), throttled];

function byLimit({ refused }) {
  return REFUSALS.map(({ limits }) =>
    Object.entries(refused)
      .filter(([name]) => (limits ? limits.includes(name) : !NAMED.has(name)))
      .reduce((sum, [, times]) => sum + times, 0),
  );
}

export const refusedIn = ({ refused }) => Object.values(refused).reduce((sum, times) => sum + times, 0);
