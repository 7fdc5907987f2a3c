// What was seen of the system lately: a sample a minute from before this tab, and what it has seen itself since.

import { load, save, whenForgotten } from "../session.js";

const KEY = "sluice.history";
const KEEP_S = 60 * 60;
const GAP_S = 15; // polls come every 2 s; a longer silence is drawn as a gap

const LANES = ["high", "normal", "quarantine"];
const COLUMNS = [
  "at",
  ...LANES.flatMap((lane) => [`backlog.${lane}`, `replicas.${lane}`]),
  "running",
  "capacity",
];

let rows = load(KEY, []);
whenForgotten(() => {
  rows = [];
});

// Adds one answer of /stats; returns its row.
export function add(stats) {
  const at = new Date(stats.at) / 1000;
  const last = rows.at(-1)?.[0];
  if (last !== undefined && at <= last) return;
  if (last !== undefined && at - last > GAP_S) rows.push([last + 1, ...COLUMNS.slice(1).map(() => null)]);
  const row = values(stats);
  rows.push(COLUMNS.map((name) => (name === "at" ? at : (row[name] ?? null))));
  rows = rows.filter(([when]) => when > at - KEEP_S);
}

// Puts samples of before in front of what this tab has seen.
export function seed(samples, runs) {
  const first = rows[0]?.[0] ?? Infinity;
  const since = Date.now() / 1000 - KEEP_S;
  const before = (samples ?? []).filter(({ at }) => at > since && at < first);
  const made = before.map((sample) => {
    const row = values({ lanes: sample.lanes, replicas: {}, runs_per_environment: runs });
    return COLUMNS.map((name) => (name === "at" ? sample.at : (row[name] ?? null)));
  });
  rows = [...made, ...rows];
}

export const keep = () => rows.length && save(KEY, rows);

export const column = (name) => {
  const n = COLUMNS.indexOf(name);
  return rows.map((row) => row[n]);
};

function values({ lanes, replicas, runs_per_environment: runs }) {
  const found = {};
  let running = null;
  let target = null;
  for (const [lane, one] of Object.entries(lanes)) {
    found[`backlog.${lane}`] = one.visible === null ? null : one.visible + (one.delayed ?? 0);
    found[`replicas.${lane}`] = one.target_replicas;
    if (one.in_flight !== null) running = (running ?? 0) + one.in_flight;
    if (one.target_replicas !== null) target = (target ?? 0) + one.target_replicas;
  }
  const size = target ?? replicas.min;
  return { ...found, running, capacity: size === undefined ? null : size * runs };
}
