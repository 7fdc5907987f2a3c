// The large figures at the top of the system view.

import { el, setText } from "../dom.js";
import { DASH, compact, duration, money, number } from "../format.js";
import { refusedIn } from "./charts.js";

export function tiles() {
  const shown = {};
  const node = el("dl", { class: "tiles" });
  for (const [name, label] of [
    ["open", "Open runs"],
    ["running", "Running"],
    ["wait", "Median wait"],
    ["calls", "Model calls, last minute"],
    ["refused", "Refused, last hour"],
    ["spend", "Spend today"],
  ]) {
    const figure = el("dd", { class: "figure-large" }, DASH);
    const note = el("dd", { class: "help" });
    shown[name] = { figure, note };
    node.append(el("div", { class: "tile", data: { tile: name } }, el("dt", {}, label), figure, note));
  }
  const set = (name, figure, note = "") => {
    setText(shown[name].figure, figure);
    setText(shown[name].note, note);
  };
  return {
    node,
    show(stats) {
      const { lanes, replicas, runs_per_environment: runs, spend } = stats;
      const every = Object.values(lanes);
      const sum = (name) => (every.some((one) => one[name] === null) ? null : every.reduce((total, one) => total + one[name], 0));
      set("open", compact(stats.open_tasks), `${compact(sum("visible"))} waiting, ${compact(sum("delayed"))} delayed`);
      const targets = every.map((one) => one.target_replicas).filter((n) => n !== null);
      const target = targets.length ? targets.reduce((a, b) => a + b, 0) : null;
      const held = target === null ? "scaler has not run yet" : `room for ${number(target * runs)}, ${number(replicas.max * runs)} at most`;
      set("running", compact(sum("in_flight")), held);
      const waits = every.map((one) => one.recent_wait_s).filter((s) => s !== null);
      set("wait", waits.length ? duration(Math.max(...waits)) : DASH, waits.length ? "of the slowest lane" : "nothing started lately");
      const calls = stats.provider.minutes?.at(-2);
      set("calls", compact(calls?.calls), calls?.throttled ? `${number(calls.throttled)} throttled` : "none throttled");
      const refused = stats.refusals?.reduce((total, minute) => total + refusedIn(minute), 0);
      set("refused", compact(refused), "submits over a limit");
      set("spend", money(spend?.usd), spendNote(spend));
    },
  };
}

function spendNote(spend) {
  if (!spend) return "cannot be read";
  if (spend.usd === null) return "added up only under a ceiling";
  return spend.usd_per_day ? `of ${money(spend.usd_per_day)}` : "no ceiling in USD";
}
