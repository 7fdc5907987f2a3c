// Alerts of one's budget: where they go, at which parts of a day's ceiling, and what was told lately.

import * as api from "./api.js";
import { alertLine, announce, busy, el, say, setText, whileVisible } from "./dom.js";
import { ago, atDate, money, number, words } from "./format.js";
import { panel } from "./parts.js";

const EVERY_MS = 15_000;
const THRESHOLDS = [50, 80, 100];
const TONES = { delivered: "good", given_up: "bad", refused: "bad", waiting: "warn" };
const SAID = { pending: "On its way", waiting: "Tried, to be tried again", delivered: "Delivered", given_up: "Given up", refused: "Refused" };

export function alertsPanel(signal) {
  const url = el("input", { type: "url", required: true, maxLength: 2048, autocomplete: "off", spellcheck: false, placeholder: "https://example.com/budget" });
  const boxes = THRESHOLDS.map((value) => el("input", { type: "checkbox", value: String(value), checked: true }));
  const now = el("p", { class: "hint" });
  const problem = alertLine();
  const refused = alertLine(); // what came of a click: it stays when they are read again
  const remove = el("button", { type: "button", class: "danger", hidden: true, on: { click: () => change("Alerts are off", { method: "DELETE" }) } }, "Turn off");
  const list = el("ul", { class: "states told" });
  const form = el(
    "form",
    { class: "account-form", on: { submit: save, input: () => (filled = true) } },
    el("label", { class: "field" }, el("span", {}, "Webhook address"), url),
    el(
      "fieldset",
      { class: "boxes" },
      el("legend", {}, "Tell at, of a day's budget"),
      ...boxes.map((box, n) => el("label", {}, box, ` ${THRESHOLDS[n]} %`)),
    ),
    problem,
    refused,
    el("div", { class: "actions" }, el("button", { type: "submit", class: "primary" }, "Save"), remove),
  );
  let filled = false;

  const refresh = whileVisible(
    async () => {
      try {
        show(await api.call("me/alerts", { signal }));
        say(problem, "");
      } catch (error) {
        if (!signal.aborted) say(problem, api.sentence(error));
      }
    },
    EVERY_MS,
    signal,
  );

  function show({ alerts, recent }) {
    setText(now, alerts ? `On since ${atDate(alerts.created_at)}.` : "Nobody is told of your budget. Set an address that takes webhooks.");
    remove.hidden = !alerts;
    if (!filled && alerts) {
      url.value = alerts.webhook_url;
      for (const box of boxes) box.checked = alerts.thresholds.includes(Number(box.value));
    }
    filled = true; // what somebody types is left alone
    const rows = (recent ?? []).map(line);
    list.replaceChildren(...(rows.length ? rows : [el("li", { class: "help" }, "No threshold was reached in the last week.")]));
  }

  async function save(event) {
    event.preventDefault();
    const thresholds = boxes.filter((box) => box.checked).map((box) => Number(box.value));
    if (!thresholds.length) {
      say(refused, "Choose at least one part of the budget.");
      return;
    }
    await change("Alerts are on", { method: "PUT", body: { webhook_url: url.value.trim(), thresholds } });
  }

  const change = (what, options) => busy(form, () => changed(what, options));

  async function changed(what, options) {
    say(refused, "");
    try {
      await api.call("me/alerts", options);
      if (options.method === "DELETE") url.value = "";
      announce(what);
    } catch (error) {
      say(refused, api.sentence(error));
    }
    refresh();
  }

  return panel("Alerts of your budget", now, form, el("h3", {}, "Told lately"), list);
}

function line({ scope, day, unit, threshold, limit, used, at, delivery }) {
  const amount = unit === "usd" ? money : (n) => `${number(n)} tokens`;
  const said = delivery ? (SAID[delivery.status] ?? words(delivery.status)) : "No address";
  const why = delivery?.last_error ?? (delivery?.last_status && delivery.status !== "delivered" ? `status ${delivery.last_status}` : "");
  const tries = delivery?.attempts > 1 ? `${delivery.attempts} tries` : "";
  return el(
    "li",
    { data: { tone: TONES[delivery?.status] ?? "off" } },
    el("span", { class: "state-name" }, `${threshold} % on ${day}${scope === "service" ? ", all users" : ""}: ${amount(used)} of ${amount(limit)}`),
    el("span", { class: "state-note" }, [ago(at), tries, why].filter(Boolean).join(", ")),
    el("span", { class: "state-word" }, said),
  );
}
