// The operator's view: how the whole system is, every two seconds while it can be seen.

import { call, sentence } from "../api.js";
import { alertLine, el, say, setText, whileVisible } from "../dom.js";
import { atClock } from "../format.js";
import { banner } from "./banner.js";
import { charts } from "./charts.js";
import { failing } from "./failing.js";
import { add, keep, seed } from "./history.js";
import { spenders } from "./spenders.js";
import { states } from "./states.js";
import { tiles } from "./tiles.js";
import { waits } from "./waits.js";

const EVERY_MS = 2000;

export function systemView(main, signal) {
  const figures = tiles();
  const made = charts();
  made.splice(2, 0, waits(signal));
  const below = states();
  const alarms = banner();
  const top = spenders(signal);
  const when = el("span", { class: "help", id: "as-of" });
  let seeded = false;
  let last = null;
  let common = [];
  failing(signal, (found) => {
    common = found;
    if (last) alarms.show(last, common);
  });
  const problem = alertLine();
  main.replaceChildren(
    el(
      "div",
      { class: "system-view" },
      el("div", { class: "panel-head" }, el("h1", { tabIndex: -1 }, "System"), when),
      problem,
      alarms.node,
      figures.node,
      el("div", { class: "charts" }, ...made.map((one) => one.node)),
      el("div", { class: "states-grid one" }, top.node),
      below.node,
    ),
  );
  whileVisible(
    async () => {
      try {
        const stats = await call(seeded ? "stats" : "stats?history=1", { signal });
        if (!seeded) seed(stats.history, stats.runs_per_environment);
        seeded = true;
        add(stats);
        figures.show(stats);
        below.show(stats);
        last = stats;
        alarms.show(stats, common);
        top.showOwners(stats.owners);
        for (const one of made) one.draw(stats);
        setText(when, `As of ${atClock(stats.at)}`);
        say(problem, "");
      } catch (error) {
        if (!signal.aborted) say(problem, sentence(error));
      }
    },
    EVERY_MS,
    signal,
  );
  addEventListener("pagehide", keep, { signal });
  signal.addEventListener("abort", () => {
    keep();
    for (const one of made) one.destroy();
  });
}
