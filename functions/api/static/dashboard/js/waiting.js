// What a waiting run waits for, in words.

import { atDate } from "./format.js";

export function waitText(waits) {
  return (waits ?? []).map(one).join("; ");
}

function one({ kind, name, until, tool, budget }) {
  const end = until ? ` until ${atDate(until)}` : "";
  if (kind === "sleep" || kind === "time") return `Sleeps${end}`;
  if (budget) return `Waits for more budget (${budget.limit})${end}`;
  if (kind === "approval") return `Waits for approval of ${tool ?? name}${end}`;
  if (kind === "children" || kind === "child") return `Waits for its children${end}`;
  return `Waits for ${name}${end}`;
}
