// Breakers, dependencies and spending: what is a state rather than a curve.

import { el, setText } from "../dom.js";
import { compact, duration, money, number } from "../format.js";
import { meter, panel } from "../parts.js";

const BREAKER = { closed: "good", half_open: "warn", open: "bad" };
const DEPENDENCY = { ok: "good", down: "bad", none: "off" };
const SPOKEN = { closed: "Closed", half_open: "Probing", open: "Open", ok: "Up", down: "Down", none: "Not set up" };
const DEPENDENCIES = { dynamodb: "DynamoDB", redis: "Redis", sqs: "SQS" };

export function states() {
  const breakers = el("ul", { class: "states", "aria-live": "polite" });
  const dependencies = el("ul", { class: "states" });
  const spending = ceilings();
  const node = el(
    "div",
    { class: "states-grid" },
    panel("Circuit breakers", breakers),
    panel("Dependencies", dependencies),
    panel("Spend against ceilings", spending.node),
  );
  return {
    node,
    show(stats) {
      fill(breakers, Object.entries(stats.breakers).map(breaker), "All closed; no model failed within a day.");
      fill(dependencies, Object.entries(stats.dependencies).map(dependency), "");
      spending.show(stats.spend);
    },
  };
}

const breaker = ([name, { state, failures, retry_after_s: again }]) => ({
  name,
  tone: BREAKER[state] ?? "warn",
  word: SPOKEN[state] ?? state,
  note: state === "open" ? `probes in ${duration(again)}` : failures ? `${number(failures)} failed in a row` : "",
});

const dependency = ([name, { status, latency_ms: ms }]) => ({
  name: DEPENDENCIES[name] ?? name,
  tone: DEPENDENCY[status] ?? "warn",
  word: SPOKEN[status] ?? status,
  note: ms === undefined || ms === null ? "" : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`,
});

function fill(list, rows, otherwise) {
  const text = JSON.stringify(rows);
  if (list.dataset.shown === text) return; // a live region speaks when it is touched
  list.dataset.shown = text;
  const items = rows.map(({ name, tone, word, note }) =>
    el(
      "li",
      { data: { tone } },
      el("span", { class: "state-name" }, name),
      el("span", { class: "state-note" }, note),
      el("span", { class: "state-word" }, word),
    ),
  );
  list.replaceChildren(...(items.length ? items : [el("li", { class: "help" }, otherwise)]));
}

function ceilings() {
  const rows = [
    { label: "USD", used: "usd", held: "reserved_usd", limit: "usd_per_day", format: money },
    { label: "Tokens", used: "tokens", held: "reserved_tokens", limit: "tokens_per_day", format: compact },
  ].map((row) => ({ ...row, bar: meter(`${row.label} today, of all users`), text: el("span", { class: "limit-left" }) }));
  const help = el("p", { class: "help" });
  const node = el(
    "div",
    {},
    ...rows.map(({ label, bar, text }) =>
      el("div", { class: "limit" }, el("div", { class: "limit-head" }, el("span", { class: "limit-name" }, label), text), bar.node),
    ),
    help,
  );
  return {
    node,
    show(spend) {
      for (const { used, held, limit, format, bar, text } of rows) {
        const top = spend?.[limit] ?? null;
        const spent = spend?.[used] ?? null;
        bar.node.hidden = top === null;
        const said = top === null ? `${format(spend?.[held])} held, no ceiling` : `${format(spent)} of ${format(top)}, ${format(spend[held])} held`;
        setText(text, said);
        if (top !== null) bar.set(spent ?? 0, spend[held], top, said);
      }
      setText(help, spend ? `All users, ${spend.day}, to midnight UTC.` : "Cannot be read now.");
    },
  };
}
