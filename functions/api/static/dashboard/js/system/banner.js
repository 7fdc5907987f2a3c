// What needs somebody now, above everything else: open breakers, paused lanes, dead letters, what is down, a
// day's budget that is nearly spent.

import { el } from "../dom.js";
import { atClock, duration, money, number } from "../format.js";

export function banner() {
  const list = el("ul", { class: "alarms", "aria-live": "polite" });
  let shown = "";
  return {
    node: list,
    show(stats, failing) {
      const found = [...(failing ?? []).map(failureOf), ...alarms(stats)];
      const text = JSON.stringify(found);
      if (text === shown) return; // a live region speaks when it is touched
      shown = text;
      list.hidden = found.length === 0;
      list.replaceChildren(
        ...found.map(({ tone, what, todo, href }) =>
          el("li", { data: { tone } }, el("strong", {}, what), ` ${todo}`, href ? [" ", el("a", { href }, "Show them")] : null),
        ),
      );
    },
  };
}

// Many of the newest runs fail alike, as after a bad deployment.
function failureOf({ code, failed, ended, since }) {
  return {
    tone: "bad",
    what: `${number(failed)} of the last ${number(ended)} runs failed with ${code}, the first at ${atClock(since).slice(0, 5)}.`,
    todo: "Was something deployed then? The version before is a remedy; then run them again.",
    href: `#/all?error=${encodeURIComponent(code)}&since=${encodeURIComponent(since)}`,
  };
}

const NEARLY = 0.8;

function alarms(stats) {
  const found = [];
  for (const [name, { state, retry_after_s: again }] of Object.entries(stats.breakers ?? {}))
    if (state !== "closed")
      found.push({
        tone: "bad",
        what: `The model ${name} is stopped.`,
        todo: `Its provider failed; it is probed ${again ? `in ${duration(again)}` : "now"}. Runs wait, and lose nothing.`,
        href: "#/all?status=queued",
      });
  const owners = (stats.owner_breakers ?? []).length;
  if (owners) found.push({ tone: "warn", what: `A model is stopped for ${number(owners)} of the users.`, todo: "Their own calls make it fail." });
  for (const [name, { status }] of Object.entries(stats.dependencies ?? {}))
    if (status === "down") found.push({ tone: "bad", what: `${name} is down.`, todo: "See docs/runbook.md." });
  for (const [lane, one] of Object.entries(stats.lanes ?? {}))
    if (one.paused) found.push({ tone: "warn", what: `The lane ${lane} is paused.`, todo: `Its tasks wait. make resume LANE=${lane} starts it.` });
  for (const [used, limit, format] of [["usd", "usd_per_day", money], ["tokens", "tokens_per_day", number]]) {
    const [spent, top] = [stats.spend?.[used] ?? 0, stats.spend?.[limit] ?? 0];
    if (top && spent >= top * NEARLY)
      found.push({
        tone: spent >= top ? "bad" : "warn",
        what: `${format(spent)} of everybody's ${format(top)}${used === "usd" ? "" : " tokens"} for today are spent.`,
        todo: "At the ceiling new runs are refused until midnight UTC.",
      });
  }
  if (stats.dead_letters?.count)
    found.push({
      tone: "warn",
      what: `${number(stats.dead_letters.count)}${stats.dead_letters.more ? " or more" : ""} dead ${stats.dead_letters.count === 1 ? "letter" : "letters"}.`,
      todo: "make redrive runs them again.",
      href: "#/all?error=dead_letter",
    });
  return found;
}
