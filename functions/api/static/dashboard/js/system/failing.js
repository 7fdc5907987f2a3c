// Which failures the newest runs have in common, from the runs themselves.

import { call } from "../api.js";
import { whileVisible } from "../dom.js";

const EVERY_MS = 20_000;
const NEWEST = 20; // runs that ended, or all of the stretches that hold them
const LEAST = 5; // runs of one code
const SHARE = 0.3; // of those that ended

export function failing(signal, onFound) {
  whileVisible(
    async () => {
      const found = await call("stats/past?hours=1", { signal }).catch(() => null);
      if (found) onFound(common(found.stretches)); // else what was found stays
    },
    EVERY_MS,
    signal,
  );
}

export function common(stretches) {
  const late = [];
  let ended = 0;
  for (const one of stretches.toReversed()) {
    if (ended >= NEWEST) break;
    late.push(one);
    ended += one.ended;
  }
  const codes = new Map();
  for (const { failed } of late) for (const [code, times] of Object.entries(failed)) codes.set(code, (codes.get(code) ?? 0) + times);
  return [...codes]
    .filter(([, failed]) => failed >= LEAST && failed >= ended * SHARE)
    .map(([code, failed]) => ({ code, failed, ended, since: new Date(beginOf(code, stretches) * 1000).toISOString() }));
}

// When the newest unbroken row of stretches with this failure begins; stretches without any run break none.
function beginOf(code, stretches) {
  let since = null;
  for (const one of stretches.toReversed()) {
    if (one.failed[code]) since = one.at;
    else if (one.ended && since !== null) break;
  }
  return since;
}
