// What ended runs cost. The list does not say, so each is looked up once, one at a time.

import { task } from "./api.js";

const known = new Map();
let queue = [];
let busy = false;

export const costOf = (id) => known.get(id);

export function noteCost(found) {
  if (found.usage && found.ended_at) known.set(found.task_id, found.usage.cost_usd);
}

// Replaces what is still to be looked up; `onFound` is called after each.
export function lookUp(ids, onFound, signal) {
  queue = ids.filter((id) => !known.has(id));
  if (!busy) work(onFound, signal);
}

async function work(onFound, signal) {
  busy = true;
  try {
    while (queue.length && !signal.aborted) {
      const id = queue.shift();
      const found = await task(id, { signal });
      known.set(id, found.usage?.cost_usd ?? null);
      onFound(id);
    }
  } catch {
    // The next refresh of the list asks again.
  } finally {
    busy = false;
  }
}
