// Schedules: what is to run and when; made, paused and deleted here.

import * as api from "./api.js";
import { cardsIn } from "./cards.js";
import { alertLine, announce, busy, el, say, whileVisible } from "./dom.js";
import { atDate } from "./format.js";

const EVERY_MS = 15_000;

export function schedulesView(main, signal) {
  const cards = el("div", { class: "approvals" });
  const showCards = cardsIn(cards, ({ schedule_id: id }) => id, card);
  const empty = el("p", { class: "empty", hidden: true }, "There are no schedules yet.");
  const problem = alertLine();
  const refused = alertLine(); // what came of a click: it stays when they are read again
  const message = el("textarea", { rows: 2, required: true, maxLength: 10_000 });
  const cron = el("input", { required: true, autocomplete: "off", spellcheck: false, placeholder: "0 8 * * 1-5" });
  const zone = el("input", { autocomplete: "off", spellcheck: false });
  zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const field = (label, input, help) =>
    el("label", { class: "field" }, el("span", {}, label), input, help && el("span", { class: "help" }, help));
  const form = el(
    "form",
    { class: "schedule-form", on: { submit: make } },
    field("Message", message),
    field("Cron", cron, "minute hour day month weekday"),
    field("Time zone", zone),
    el("button", { type: "submit", class: "primary" }, "Make schedule"),
  );
  main.replaceChildren(
    el("section", { class: "panel wide" }, el("h1", { tabIndex: -1 }, "Schedules"), problem, refused, form, empty, cards),
  );

  const refresh = whileVisible(
    async () => {
      try {
        const found = await api.call("schedules?limit=100", { signal });
        say(problem, "");
        show(found.schedules);
      } catch (error) {
        if (!signal.aborted) say(problem, api.sentence(error));
      }
    },
    EVERY_MS,
    signal,
  );

  async function change(what, path, options, done) {
    say(refused, "");
    try {
      await api.call(path, options);
      announce(what);
      done?.();
    } catch (error) {
      say(refused, api.sentence(error));
    }
    refresh();
  }

  function make(event) {
    event.preventDefault();
    busy(form, made);
  }

  async function made() {
    const body = { cron: cron.value.trim(), timezone: zone.value.trim() || "UTC", run: { message: message.value } };
    await change("Schedule made", "schedules", { method: "POST", body }, () => (message.value = cron.value = ""));
  }

  function card(one) {
    const path = `schedules/${encodeURIComponent(one.schedule_id)}`;
    const pause = () =>
      change(one.paused ? "Schedule goes on" : "Schedule paused", path, { method: "PATCH", body: { paused: !one.paused } });
    const remove = () => change("Schedule deleted", path, { method: "DELETE" }, () => (node.hidden = true));
    const last = one.last?.outcome ? `Last time: ${one.last.outcome}, ${atDate(one.last.at)}` : "It was not fired yet";
    const next = one.next?.length ? `Next: ${atDate(one.next[0])}` : "Nothing follows";
    const node = el(
      "article",
      { class: "approval", data: { schedule: one.schedule_id } },
      el("h2", {}, one.name ?? one.run.message ?? "Schedule"),
      el("p", { class: "hint" }, [one.cron ?? one.at, one.timezone, one.status].filter(Boolean).join(", ")),
      el("p", { class: "hint" }, next),
      el("p", { class: "hint" }, last, one.last?.task_id && [" ", el("a", { href: `#/runs/${one.last.task_id}` }, "Open the run")]),
      one.last?.error && el("p", { class: "problem" }, one.last.error.message ?? one.last.error.code),
      el(
        "div",
        { class: "actions" },
        one.status !== "ended" && el("button", { type: "button", class: "quiet", on: { click: () => busy(node, pause) } }, one.paused ? "Go on" : "Pause"),
        el("button", { type: "button", class: "danger", on: { click: () => busy(node, remove) } }, "Delete"),
      ),
    );
    return node;
  }

  function show(schedules) {
    showCards(schedules);
    empty.hidden = schedules.length > 0;
  }

  return { show: (_, { focus }) => focus && main.querySelector("h1").focus() };
}
