// How long runs waited over the last day, by lane: from the runs themselves, so it does not begin when the page is opened.

import { call } from "../api.js";
import { whileVisible } from "../dom.js";
import { duration } from "../format.js";
import { chart } from "./chart.js";

const EVERY_MS = 60_000;
const HOURS = 24;
const LANES = [
  { lane: "quarantine", label: "Quarantine", tint: "lane-quarantine" },
  { lane: "high", label: "High", tint: "lane-high" },
  { lane: "normal", label: "Normal", tint: "lane-normal" },
];

export function waits(signal) {
  const made = chart({ title: "Wait", note: `median from submit to start, last ${HOURS} hours`, series: LANES, format: duration, dots: true });
  whileVisible(
    async () => {
      const found = await call(`stats/past?hours=${HOURS}`, { signal }).catch(() => null);
      if (!found) return; // what was drawn stays
      const { stretches } = found;
      made.set(
        stretches.map(({ at }) => at),
        LANES.map(({ lane }) => stretches.map(({ lanes }) => lanes[lane]?.median_s ?? null)),
      );
    },
    EVERY_MS,
    signal,
  );
  return { node: made.node, destroy: made.destroy, draw: () => {} };
}
