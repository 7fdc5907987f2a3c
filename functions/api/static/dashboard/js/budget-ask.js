// A run that asks for more budget, as an operator answers it: raise the ceiling that stands in its way, or let it fail.

import { call, sentence } from "./api.js";
import { alertLine, announce, busy, el, say } from "./dom.js";
import { money, number } from "./format.js";

export function budgetAsk(id, onAnswered) {
  const node = el("div", { class: "approval", hidden: true });
  let shown = "";

  function draw({ fingerprint, budget }) {
    const usd = budget.unit === "usd";
    const amount = (value) => (usd ? money(value) : `${number(value)} tokens`);
    const by = el("input", { type: "number", min: "0", step: "any", autocomplete: "off" });
    by.value = budget.next ?? "";
    const problem = alertLine();
    const facts = [budget.ceiling !== null && `The ceiling is ${amount(budget.ceiling)}`, budget.next !== null && `the next call may use ${amount(budget.next)}`];
    const fixed = budget.limit.endsWith("_global");
    const answer = (body) => busy(node, () => answered(body));
    const answered = async (body) => {
      try {
        await call(`operator/tasks/${encodeURIComponent(id)}/approvals/${encodeURIComponent(fingerprint)}`, { method: "POST", body });
        announce(body.decision === "allow" ? "Raised" : "It fails");
        node.hidden = true;
        onAnswered();
      } catch (error) {
        say(problem, sentence(error));
      }
    };
    const raise = () => {
      const value = Number(by.value);
      if (!(value > 0)) return say(problem, "Say by how much.");
      return answer({ decision: "allow", [usd ? "raise_usd" : "raise_tokens"]: value });
    };
    const button = (label, kind, act) => el("button", { type: "button", class: kind, on: { click: act } }, label);
    node.replaceChildren(
      el("h2", {}, `It asks for more budget: ${budget.limit}`),
      el("p", { class: "hint" }, `${facts.filter(Boolean).join(", ")}.`),
      fixed
        ? el("p", { class: "hint" }, "This ceiling is everybody's: set another one with a deployment.")
        : el("label", { class: "field" }, el("span", {}, `Raise it for this run by (${usd ? "USD" : "tokens"})`), by),
      problem,
      el(
        "div",
        { class: "actions" },
        fixed ? button("Try again", "primary", () => answer({ decision: "allow" })) : button("Raise", "primary", raise),
        button("Let it fail", "danger", () => answer({ decision: "deny" })),
      ),
    );
  }

  return {
    node,
    show({ status, waiting_for: waits }) {
      const asked = status === "waiting" ? (waits ?? []).find((one) => one.budget) : null;
      node.hidden = !asked;
      const text = JSON.stringify(asked ?? null);
      if (text === shown) return; // what is typed stays
      shown = text;
      if (asked) draw(asked);
    },
  };
}
