// Who has the most under way now, and who spends the most today: each one's part of the slots and of the money.

import { call } from "../api.js";
import { el, setText, whileVisible } from "../dom.js";
import { DASH, compact, money, number } from "../format.js";
import { panel } from "../parts.js";

const EVERY_MS = 30_000;
const MOST = 8;
const HEADS = ["User", "Running now", "Open", "Spend", "", "Tokens", "Runs ended"];

export function spenders(signal) {
  const body = el("tbody");
  const help = el("p", { class: "help" });
  const heads = HEADS.map((name) => (name ? el("th", { scope: "col" }, name) : el("td", {})));
  const table = el("table", { class: "spenders top-users", hidden: true, "aria-label": "Top users" }, el("thead", {}, el("tr", {}, ...heads)), body);
  const scrolls = el("div", { class: "scrolls", tabIndex: 0, role: "region", "aria-label": "Table of top users" }, table);
  const node = panel("Top users now and today", scrolls, help);
  let costs = null; // { groups, total }
  let away = false;
  let owners = [];
  let drawn = "";
  whileVisible(
    async () => {
      try {
        const day = new Date().toISOString().slice(0, 10);
        costs = await call(`costs?by=user&from=${day}&to=${day}&limit=${MOST}`, { signal });
        away = false;
      } catch {
        if (signal.aborted) return;
        away = true; // said until it is read again, whatever else is drawn
      }
      draw();
    },
    EVERY_MS,
    signal,
  );

  function draw() {
    const groups = costs?.groups ?? [];
    const all = costs?.total.cost_usd || 0;
    const active = owners.filter((one) => one.running || one.open).slice(0, MOST);
    const spent = new Map(groups.map((one) => [one.user, one]));
    // Those with runs under way first, then those who spent.
    const names = [...new Set([...active.map(({ owner }) => owner), ...groups.map(({ user }) => user)])];
    const text = JSON.stringify([active, groups, away, !costs]);
    if (text === drawn) return; // the focus stays where it is
    drawn = text;
    const focused = body.contains(document.activeElement) ? document.activeElement.textContent : null;
    table.hidden = names.length === 0;
    if (away) setText(help, "What was spent cannot be read now.");
    else if (costs) setText(help, `${groups.length ? `${money(all)} in all today, by runs that ended.` : "Nothing was spent today."} A service stands for its users under Running and Open.`);
    body.replaceChildren(...names.map((name) => row(name, owners.find(({ owner }) => owner === name), spent.get(name), all)));
    if (focused) [...body.querySelectorAll("a")].find((link) => link.textContent === focused)?.focus();
  }

  return {
    node,
    showOwners(found) {
      if (!found) return; // cannot be read now
      owners = found;
      draw();
    },
  };
}

function row(name, owner, cost, all) {
  const share = cost && all ? (cost.cost_usd / all) * 100 : 0;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("a", { href: `#/all?user=${encodeURIComponent(name)}` }, name)),
    el("td", {}, owner?.running ? shareOf(Math.max(...Object.values(owner.lanes).map((one) => one.share * 100))) : null, slots(owner)),
    el("td", {}, owner?.open ? number(owner.open) : DASH),
    el("td", {}, cost ? shareOf(share) : null, cost ? `${share.toFixed(0)} %` : DASH),
    el("td", {}, cost ? money(cost.cost_usd) : DASH),
    el("td", {}, cost ? compact(cost.tokens) : DASH),
    el("td", {}, cost ? number(cost.runs) : DASH),
  );
}

function shareOf(share) {
  const node = el("span", { class: "share-bar" });
  node.style.width = `${Math.min(100, share)}%`;
  return el("span", { class: "share" }, node);
}

// "12 of 40 (30 %)", of each lane where there are runs in both.
function slots(owner) {
  const lanes = Object.entries(owner?.lanes ?? {});
  if (!lanes.length) return DASH;
  const said = ({ running, slots: of, share }) => `${number(running)}${of ? ` of ${number(of)}` : ""} (${(share * 100).toFixed(0)} %)`;
  return lanes.length === 1 ? said(lanes[0][1]) : lanes.map(([lane, one]) => `${lane} ${said(one)}`).join(", ");
}
