// Approvals: the calls, and the budget, that the caller's runs wait to be allowed.

import * as api from "./api.js";
import { alertLine, announce, el, say, whileVisible } from "./dom.js";
import { ago, atDate, money } from "./format.js";

const EVERY_MS = 5000;

export function inboxView(main, signal) {
  const cards = el("div", { class: "approvals" });
  const empty = el("p", { class: "empty", hidden: true }, "Nothing waits for you.");
  const problem = alertLine();
  const shown = new Map(); // fingerprint and task -> card
  main.replaceChildren(
    el("section", { class: "panel wide" }, el("h1", { tabIndex: -1 }, "Approvals"), problem, empty, cards),
  );

  const refresh = whileVisible(
    async () => {
      try {
        const { approvals } = await api.call("approvals?limit=100", { signal });
        say(problem, "");
        show(approvals);
      } catch (error) {
        if (!signal.aborted) say(problem, api.sentence(error));
      }
    },
    EVERY_MS,
    signal,
  );

  function show(approvals) {
    const keys = new Set();
    for (const one of approvals) {
      const key = `${one.task_id} ${one.fingerprint}`;
      keys.add(key);
      if (shown.has(key)) continue;
      const node = one.budget ? budgetCard(one, answer) : card(one, answer);
      shown.set(key, node);
      cards.append(node);
    }
    for (const [key, node] of shown) {
      if (keys.has(key)) continue;
      node.remove();
      shown.delete(key);
    }
    empty.hidden = shown.size > 0;
  }

  async function answer({ task_id: id, fingerprint }, body) {
    try {
      await api.call(`agent/${encodeURIComponent(id)}/approvals/${encodeURIComponent(fingerprint)}`, { method: "POST", body });
      announce(body.decision === "allow" ? "Allowed" : "Denied");
      shown.get(`${id} ${fingerprint}`)?.remove();
      shown.delete(`${id} ${fingerprint}`);
      empty.hidden = shown.size > 0;
    } catch (error) {
      say(problem, api.sentence(error));
    }
    refresh();
  }

  return { show: (_, { focus }) => focus && main.querySelector("h1").focus() };
}

function card(one, answer) {
  const asked = JSON.stringify(one.arguments ?? {}, null, 2);
  const edited = el("textarea", { rows: Math.min(12, asked.split("\n").length), spellcheck: false });
  edited.value = asked;
  const reason = el("input", { maxLength: 1000, autocomplete: "off" });
  const problem = alertLine();
  const button = (label, kind, body) =>
    el("button", { type: "button", class: kind, on: { click: () => send(body) } }, label);

  function send(make) {
    try {
      answer(one, make());
    } catch {
      say(problem, "The arguments are no JSON object.");
    }
  }

  const allow = () => {
    if (edited.value.trim() === asked) return { decision: "allow" };
    const changed = JSON.parse(edited.value);
    if (changed === null || typeof changed !== "object" || Array.isArray(changed)) throw new TypeError("no object");
    return { decision: "allow", arguments: changed };
  };
  const deny = () => ({ decision: "deny", ...(reason.value.trim() && { reason: reason.value.trim() }) });
  return el(
    "article",
    { class: "approval" },
    el("h2", {}, one.tool ?? one.name),
    ...hints(one),
    el("label", { class: "field" }, el("span", {}, "Arguments"), edited),
    el("label", { class: "field" }, el("span", {}, "Reason, if you deny"), reason),
    problem,
    el(
      "div",
      { class: "actions" },
      button("Allow", "primary", allow),
      button("Deny", "danger", deny),
      el("a", { class: "quiet", href: `#/runs/${one.task_id}` }, "Open the run"),
    ),
  );
}

function hints(one) {
  const cost = one.cost_usd ?? one.cost_so_far_usd;
  const about = [one.agent, one.since && `asked ${ago(one.since)}`, cost !== undefined && `${money(cost)} so far`];
  return [
    el("p", { class: "hint" }, about.filter(Boolean).join(", ")),
    one.until && el("p", { class: "hint" }, `Waits until ${atDate(one.until)}`),
  ];
}

// A ceiling that stands in a run's way: its owner raises that of the run, an operator those of a day.
function budgetCard(one, answer) {
  const { limit, unit, ceiling, next, raised_by: who } = one.budget;
  const amount = (value) => (unit === "usd" ? money(value) : `${value} tokens`);
  const by = el("input", { type: "number", min: 0, step: "any", autocomplete: "off" });
  by.value = next ?? "";
  const problem = alertLine();
  const facts = [ceiling !== null && `The ceiling is ${amount(ceiling)}`, next !== null && `the next call may use ${amount(next)}`];
  const button = (label, kind, act) => el("button", { type: "button", class: kind, on: { click: act } }, label);
  const raise = () => {
    const value = Number(by.value);
    if (!(value > 0)) return say(problem, "Say by how much.");
    return answer(one, { decision: "allow", [unit === "usd" ? "raise_usd" : "raise_tokens"]: value });
  };
  const owns = who === "owner";
  return el(
    "article",
    { class: "approval" },
    el("h2", {}, `More budget: ${limit}`),
    ...hints(one),
    el("p", { class: "hint" }, facts.filter(Boolean).join(", ")),
    owns
      ? el("label", { class: "field" }, el("span", {}, "Raise it by (USD)"), by)
      : el("p", { class: "hint" }, "An operator can raise it. The run tries again when the day is over."),
    problem,
    el(
      "div",
      { class: "actions" },
      owns ? button("Raise", "primary", raise) : button("Try again", "primary", () => answer(one, { decision: "allow" })),
      button("Let it fail", "danger", () => answer(one, { decision: "deny" })),
      el("a", { class: "quiet", href: `#/runs/${one.task_id}` }, "Open the run"),
    ),
  );
}
