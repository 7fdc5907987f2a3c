// Who spends the most today, and each one's part of it; and who has the most open tasks.

import { call } from "../api.js";
import { el, setText, whileVisible } from "../dom.js";
import { compact, money, number } from "../format.js";
import { panel } from "../parts.js";

const EVERY_MS = 30_000;
const MOST = 8;

export function spenders(signal) {
  const body = el("tbody");
  const help = el("p", { class: "help" });
  const heads = ["User", "Share", "Spent", "Tokens", "Runs"].map((name) => el("th", { scope: "col" }, name));
  const table = el("table", { class: "spenders", hidden: true, "aria-label": "Top users today" }, el("thead", {}, el("tr", {}, ...heads)), body);
  const node = panel("Top users today", table, help);
  whileVisible(
    async () => {
      try {
        const day = new Date().toISOString().slice(0, 10);
        const found = await call(`costs?by=user&from=${day}&to=${day}&limit=${MOST}`, { signal });
        show(found);
      } catch (error) {
        if (!signal.aborted) setText(help, "Cannot be read now.");
      }
    },
    EVERY_MS,
    signal,
  );

  function show({ groups, total }) {
    const all = total.cost_usd || 0;
    table.hidden = groups.length === 0;
    setText(help, groups.length ? `${money(all)} in all, by runs that ended.` : "Nothing was spent today.");
    body.replaceChildren(
      ...groups.map((one) => {
        const share = all ? (one.cost_usd / all) * 100 : 0;
        const bar = el("span", { class: "share-bar" });
        bar.style.width = `${share}%`;
        return el(
          "tr",
          {},
          el("th", { scope: "row" }, el("a", { href: `#/all?user=${encodeURIComponent(one.user)}` }, one.user)),
          el("td", {}, el("span", { class: "share" }, bar), el("span", {}, `${share.toFixed(0)} %`)),
          el("td", {}, money(one.cost_usd)),
          el("td", {}, compact(one.tokens)),
          el("td", {}, number(one.runs)),
        );
      }),
    );
  }

  return { node };
}
