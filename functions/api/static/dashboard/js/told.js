// What came of a run's webhook, and sending it once more.

import { operator, sentence } from "./api.js";
import { alertLine, announce, el, say, setText } from "./dom.js";
import { ago } from "./format.js";

const SAID = {
  pending: "is on its way",
  waiting: "failed, and is tried again",
  delivered: "was delivered",
  given_up: "was given up",
  refused: "was refused: its address may not be reached",
};

export function told(id, onSent) {
  const text = el("p", { class: "hint" });
  const problem = alertLine();
  const button = el("button", { type: "button", class: "quiet", on: { click: again } }, "Deliver again");
  const node = el("div", { class: "told-of", hidden: true }, el("h2", {}, "Webhook"), text, problem, button);

  async function again() {
    button.disabled = true;
    say(problem, "");
    try {
      await operator(id, "webhook");
      announce("Webhook is sent again");
    } catch (error) {
      say(problem, sentence(error));
    } finally {
      button.disabled = false;
    }
    onSent();
  }

  return {
    node,
    show({ webhook, ended_at: ended }) {
      node.hidden = !webhook;
      if (!webhook) return;
      const { url, status, attempts, last_status: code, last_error: error, at } = webhook;
      const why = error ?? (code && status !== "delivered" ? `the receiver answered ${code}` : "");
      const tries = attempts ? `${attempts} ${attempts === 1 ? "try" : "tries"}${at ? `, the last ${ago(at)}` : ""}` : "";
      setText(text, ended ? `The webhook to ${url} ${SAID[status] ?? status}${[tries, why].filter(Boolean).map((one) => `; ${one}`).join("")}.` : `${url} is told when the run ends.`);
      node.dataset.tone = ["given_up", "refused"].includes(status) ? "bad" : status === "waiting" ? "warn" : "";
      button.hidden = !ended;
    },
  };
}
