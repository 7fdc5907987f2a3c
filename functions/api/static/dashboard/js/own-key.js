// A provider's key of one's own: the address it is good for, what its provider charges, how often it may be asked.

import * as api from "./api.js";
import { alertLine, announce, busy, el, say, setText, whileVisible } from "./dom.js";
import { atDate } from "./format.js";
import { panel } from "./parts.js";

const EVERY_MS = 60_000;
const PRICES = [
  ["input", "Input"],
  ["output", "Output"],
  ["cached", "Cached input"],
];

export function ownKeyPanel(signal) {
  const text = (more) => el("input", { autocomplete: "off", spellcheck: false, ...more });
  const key = text({ type: "password", required: true, minLength: 8, maxLength: 512 });
  const base = text({ type: "url", maxLength: 2048, placeholder: "the deployment's provider" });
  const model = text({ placeholder: "* (every model)", maxLength: 128 });
  const prices = Object.fromEntries(PRICES.map(([name]) => [name, text({ type: "number", min: "0", step: "any" })]));
  const rate = text({ type: "number", min: "1", step: "1" });
  const now = el("p", { class: "hint" });
  const priced = el("p", { class: "hint" });
  const problem = alertLine();
  const refused = alertLine(); // what came of a click: it stays when they are read again
  const field = (label, input, help) =>
    el("label", { class: "field" }, el("span", {}, label), input, help && el("span", { class: "help" }, help));
  const remove = el("button", { type: "button", class: "danger", hidden: true, on: { click: () => change("Your key is forgotten", { method: "DELETE" }) } }, "Forget the key");
  const form = el(
    "form",
    { class: "account-form", on: { submit: save } },
    field("Key", key, "Stored encrypted, and never shown."),
    field("Address", base),
    field("Requests a minute", rate, "Empty: as many as there are runs."),
    field("Model", model),
    ...PRICES.map(([name, label]) => field(`${label}, USD per million tokens`, prices[name])),
    problem,
    refused,
    el("div", { class: "actions" }, el("button", { type: "submit", class: "primary" }, "Save"), remove),
  );

  const refresh = whileVisible(
    async () => {
      try {
        show((await api.call("me/credentials", { signal })).credentials);
        say(problem, "");
      } catch (error) {
        if (!signal.aborted) say(problem, api.sentence(error));
      }
    },
    EVERY_MS,
    signal,
  );

  function show(found) {
    remove.hidden = !found;
    setText(now, found ? `Your runs use the key that ends in ${found.last4}, since ${atDate(found.created_at)}, at ${found.base_url || "the deployment's provider"}.` : "Your runs use the deployment's key.");
    const said = Object.entries(found?.prices ?? {}).map(([name, one]) => `${name === "*" ? "every model" : name}: $${one.input} in, $${one.output} out`);
    if (found?.requests_per_minute) said.push(`at most ${found.requests_per_minute} requests a minute`);
    setText(priced, said.join("; "));
  }

  async function save(event) {
    event.preventDefault();
    const body = { api_key: key.value.trim() };
    if (base.value.trim()) body.base_url = base.value.trim();
    if (rate.value) body.requests_per_minute = Number(rate.value);
    const given = PRICES.filter(([name]) => prices[name].value !== "");
    if (given.length) body.prices = { [model.value.trim() || "*"]: Object.fromEntries(given.map(([name]) => [name, Number(prices[name].value)])) };
    await change("Your key is used from now on", { method: "PUT", body });
  }

  const change = (what, options) => busy(form, () => changed(what, options));

  async function changed(what, options) {
    say(refused, "");
    try {
      await api.call("me/credentials", options);
      form.reset();
      announce(what);
    } catch (error) {
      say(refused, api.sentence(error));
    }
    refresh();
  }

  return panel("A provider's key of your own", now, priced, form);
}
