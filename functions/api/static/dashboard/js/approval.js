// What a run waits to be allowed, a call or more budget, as its owner answers it.

import * as api from "./api.js";
import { alertLine, announce, busy, el, say } from "./dom.js";
import { ago, atDate, money } from "./format.js";

// `answer(one, body)` is called with what is decided; `more` stands beside the buttons.
export const approvalCard = (one, answer, more = null) => (one.budget ? budgetCard : toolCard)(one, answer, more);

export async function decide({ task_id: id, fingerprint }, body) {
  await api.call(`agent/${encodeURIComponent(id)}/approvals/${encodeURIComponent(fingerprint)}`, { method: "POST", body });
  announce(body.decision === "allow" ? "Allowed" : "Denied");
}

function toolCard(one, answer, more) {
  const asked = JSON.stringify(one.arguments ?? {}, null, 2);
  const edited = el("textarea", { rows: Math.min(12, asked.split("\n").length), spellcheck: false });
  edited.value = asked;
  const reason = el("input", { maxLength: 1000, autocomplete: "off" });
  const problem = alertLine();
  const button = (label, kind, body) =>
    el("button", { type: "button", class: kind, on: { click: () => send(body) } }, label);

  function send(make) {
    let body;
    try {
      body = make();
    } catch {
      say(problem, "The arguments are no JSON object.");
      return;
    }
    busy(card, () => answer(one, body));
  }

  const allow = () => {
    if (edited.value.trim() === asked) return { decision: "allow" };
    const changed = JSON.parse(edited.value);
    if (changed === null || typeof changed !== "object" || Array.isArray(changed)) throw new TypeError("no object");
    return { decision: "allow", arguments: changed };
  };
  const deny = () => ({ decision: "deny", ...(reason.value.trim() && { reason: reason.value.trim() }) });
  const card = el(
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
      more,
    ),
  );
  return card;
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
function budgetCard(one, answer, more) {
  const { limit, unit, ceiling, next, raised_by: who } = one.budget;
  const amount = (value) => (unit === "usd" ? money(value) : `${value} tokens`);
  const by = el("input", { type: "number", min: 0, step: "any", autocomplete: "off" });
  by.value = next ?? "";
  const problem = alertLine();
  const facts = [ceiling !== null && `The ceiling is ${amount(ceiling)}`, next !== null && `the next call may use ${amount(next)}`];
  const button = (label, kind, act) => el("button", { type: "button", class: kind, on: { click: act } }, label);
  const send = (body) => busy(card, () => answer(one, body));
  const raise = () => {
    const value = Number(by.value);
    if (!(value > 0)) return say(problem, "Say by how much.");
    return send({ decision: "allow", [unit === "usd" ? "raise_usd" : "raise_tokens"]: value });
  };
  const owns = who === "owner";
  const card = el(
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
      owns ? button("Raise", "primary", raise) : button("Try again", "primary", () => send({ decision: "allow" })),
      button("Let it fail", "danger", () => send({ decision: "deny" })),
      more,
    ),
  );
  return card;
}
