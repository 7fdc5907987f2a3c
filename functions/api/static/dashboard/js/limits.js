// The caller's limits: used and left.

import { call } from "./api.js";
import { el, setText, whileVisible } from "./dom.js";
import { compact, duration, money } from "./format.js";
import { meter, panel } from "./parts.js";

const EVERY_MS = 15_000;
const ROWS = [
  ["requests", "Requests", compact],
  ["queued", "Open runs", compact],
  ["running", "Running at once", compact],
  ["tokens_per_day", "Tokens today", compact],
  ["usd_per_day", "Spend today", money],
];

// Returns the panel and a function that reads the limits again now.
export function limitsPanel(me, signal) {
  const rows = ROWS.map(([name, label, format]) => row(name, label, format));
  const node = panel("Limits", el("p", { class: "help tier" }, `${me.user}, tier ${me.tier}`), ...rows.map((r) => r.node));
  node.id = "limits";
  const show = ({ limits }) => {
    for (const one of rows) one.show(limits[one.name]);
  };
  show(me);
  let first = true;
  const refresh = whileVisible(
    async () => {
      if (first) {
        first = false;
        return; // they were read a moment ago, to sign in
      }
      const found = await call("limits", { signal }).catch(() => null);
      if (found) show(found); // else what was shown stays
    },
    EVERY_MS,
    signal,
  );
  return { node, refresh };
}

function row(name, label, format) {
  const bar = meter(label);
  const left = el("span", { class: "limit-left" });
  const note = el("span", { class: "limit-note" });
  const node = el(
    "div",
    { class: "limit", data: { limit: name } },
    el("div", { class: "limit-head" }, el("span", { class: "limit-name" }, label), left),
    bar.node,
    note,
  );
  return {
    name,
    node,
    show(found) {
      node.hidden = !found;
      if (!found) return;
      const { limit, used, left: rest, reserved, reset_s: reset, window_s: window } = found;
      bar.node.hidden = !limit || used === null;
      if (!limit) {
        setText(left, used ? `${format(used)} used, no limit` : "No limit");
        setText(note, "");
        return;
      }
      const text = used === null ? `of ${format(limit)}, use unknown` : `${format(rest)} left of ${format(limit)}`;
      setText(left, text);
      if (used !== null) bar.set(used, reserved ?? 0, limit, text);
      setText(note, notes(name, { used, reserved, reset, window }, format));
    },
  };
}

function notes(name, { used, reserved, reset, window }, format) {
  const said = [];
  if (reserved) said.push(`${format(reserved)} held by runs under way`);
  if (window) said.push(`in any ${window === 3600 ? "hour" : duration(window)}`);
  if (reset && used) said.push(window ? `next one back in ${duration(reset)}` : `resets in ${duration(reset)}`);
  return said.join(", ");
}
