// A run's steps as bars over its time: model calls, tools, other steps and waits, with how long each took and its cost.

import { el, setText } from "./dom.js";
import { duration, money, seconds } from "./format.js";

const MOST = 200; // bars; a longer run shows its last ones

export function waterfall() {
  const list = el("ol", { class: "waterfall" });
  const node = el("div", { class: "waterfall-panel", hidden: true }, el("h2", {}, "Steps over time"), list);
  const bars = []; // { kind, name, from, to, note }, times in ISO
  const tools = new Map(); // tool calls under way, by tool and number
  let drawn = "";

  return {
    node,
    add({ type, at, data }) {
      if (type === "tool_call") tools.set(`${data.tool} ${data.n}`, at);
      else if (type === "waiting") bars.push({ kind: "wait", name: "Waiting", from: at, to: null, note: "" });
      else if (type === "woken" || type === "resumed") {
        const open = bars.findLast((bar) => bar.kind === "wait" && bar.to === null);
        if (open) open.to = at;
      } else if (type === "step") bars.push(stepBar(at, data, tools));
    },
    show({ created_at: created, ended_at: ended }) {
      node.hidden = !bars.length;
      const end = ended ?? new Date().toISOString();
      const whole = Math.max(0.001, seconds(created, end));
      const mark = `${bars.length} ${end}`;
      if (mark === drawn) return;
      drawn = mark;
      list.replaceChildren(...bars.slice(-MOST).map((bar) => line(bar, created, end, whole)));
    },
  };
}

function stepBar(at, data, tools) {
  const from = new Date(new Date(at) - (data.ms ?? 0)).toISOString();
  if (data.call) return { kind: "model", name: data.step, from, to: at, note: `${data.model}, ${money(data.cost_usd)}` };
  const known = tools.get(`${data.step} ${data.n}`);
  return { kind: known ? "tool" : "step", name: data.step, from: known ?? from, to: at, note: data.error?.code ?? "" };
}

function line({ kind, name, from, to, note }, created, end, whole) {
  const until = to ?? end;
  const left = Math.min(99, Math.max(0, (seconds(created, from) / whole) * 100));
  const width = Math.max(0.6, Math.min(100 - left, (seconds(from, until) / whole) * 100));
  const bar = el("span", { class: "stretch", data: { kind } });
  bar.style.marginInlineStart = `${left}%`;
  bar.style.width = `${width}%`;
  const told = el("span", { class: "bar-note" });
  setText(told, [duration(seconds(from, until)), note].filter(Boolean).join(", "));
  return el("li", {}, el("span", { class: "bar-name" }, name), told, el("span", { class: "track" }, bar));
}
