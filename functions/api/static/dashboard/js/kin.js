// The runs that a run started, as a tree with what each cost; and the way back to the run that started it.

import { el } from "./dom.js";
import { money } from "./format.js";
import { badge } from "./parts.js";

export function kin(base) {
  const parent = el("p", { class: "hint", hidden: true });
  const list = el("ul", { class: "kin" });
  const total = el("p", { class: "hint" });
  const node = el("div", { class: "kin-panel", hidden: true }, el("h2", {}, "Children"), list, total);
  let drawn = "";

  function branch(one) {
    const why = one.error ? ` ${one.error.code}` : "";
    return el(
      "li",
      {},
      el(
        "span",
        { class: "kin-row" },
        badge(one.status),
        el("a", { href: `${base}${one.task_id}` }, one.step ? `${one.step}: ${one.agent}` : one.agent),
        el("span", { class: "bar-note" }, `${money(one.cost_usd)}${why}`),
      ),
      one.children?.length ? el("ul", {}, ...one.children.map(branch)) : null,
    );
  }

  return {
    parent,
    node,
    show({ tree, parent: above }) {
      parent.hidden = !above;
      if (above && !parent.firstChild) parent.append("Started by ", el("a", { href: `${base}${above}` }, "another run"));
      const children = tree?.root?.children ?? [];
      node.hidden = !children.length;
      const text = JSON.stringify(children);
      if (text === drawn) return;
      drawn = text;
      list.replaceChildren(...children.map(branch));
      const more = tree?.more ? ", and more that are not shown" : "";
      total.replaceChildren(tree ? `${tree.runs} runs in all, ${money(tree.cost_usd)}${more}` : "");
      if (tree && base === "#/all/") total.append(". ", el("a", { href: `#/all?tree=${tree.root.task_id}` }, "Show them as a list"));
    },
  };
}
