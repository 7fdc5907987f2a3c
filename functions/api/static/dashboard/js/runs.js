// The list of the caller's runs, newest first.

import { call, cancel, sentence } from "./api.js";
import { alertLine, announce, el, say, setText, whileVisible } from "./dom.js";
import { DASH, ago, atDate, capital, duration, money, seconds, words } from "./format.js";
import { LIVE, badge, setBadge } from "./parts.js";
import { Rows } from "./rows.js";
import { waitText } from "./waiting.js";

const BUSY_MS = 3000;
const IDLE_MS = 12_000;
const PAGE = 20;
export const STATUSES = ["queued", "processing", "waiting", "complete", "failed", "cancelled"];
export const COLUMNS = ["Status", "Run", "Submitted", "Waited", "Ran", "Cost", ""];

export function runsList(signal) {
  const stopping = new Set();
  const body = el("tbody");
  const empty = el("p", { class: "empty", hidden: true }, "No runs yet. Write a message and press Run.");
  const problem = alertLine();
  const list = new Rows(body, {
    make: (id) => makeRow(id, stop),
    show: (row, task) => row.show(task, stopping.has(task.task_id)),
    read: (cursor, asked) => call(address(cursor), { signal: asked }),
    signal,
    problem,
    onRead: show,
  });
  const refused = alertLine(); // what came of a click: it stays when the list is read again
  const more = el("button", { type: "button", class: "quiet", hidden: true, on: { click: () => list.loadOlder(more) } }, "Show older");
  const filter = el(
    "select",
    { id: "filter", on: { change: restart } },
    el("option", { value: "" }, "All"),
    ...STATUSES.map((name) => el("option", { value: name }, statusName(name))),
  );
  const table = el(
    "table",
    { class: "runs", hidden: true, "aria-labelledby": "runs-title" },
    el("thead", {}, el("tr", {}, ...COLUMNS.map((name) => el("th", { scope: "col" }, name || el("span", { class: "sr" }, "Action"))))),
    body,
  );
  const node = el(
    "section",
    { class: "panel wide" },
    el(
      "div",
      { class: "panel-head" },
      el("h1", { id: "runs-title", tabIndex: -1 }, "Runs"),
      el("div", { class: "filter" }, el("label", { for: "filter" }, "Status"), filter),
    ),
    problem,
    refused,
    empty,
    table,
    more,
  );

  const address = (cursor) => {
    const asked = new URLSearchParams({ limit: PAGE });
    if (filter.value) asked.set("status", filter.value);
    if (cursor) asked.set("cursor", cursor);
    return `agent?${asked}`;
  };

  const refresh = whileVisible(() => list.load(), () => (list.anyLive ? BUSY_MS : IDLE_MS), signal);

  function restart() {
    list.clear();
    refresh();
  }

  function show() {
    list.reveal(table, empty, more);
    setText(empty, filter.value ? "No runs of this status." : "No runs yet. Write a message and press Run.");
  }

  async function stop(id) {
    say(refused, "");
    stopping.add(id);
    list.redraw(id);
    try {
      const { status } = await cancel(id);
      announce(status === "cancelled" ? "Run cancelled" : "Run is being stopped");
    } catch (error) {
      stopping.delete(id);
      list.redraw(id);
      say(refused, sentence(error));
    }
    refresh();
  }

  return { node, refresh };
}

export function makeRow(id, stop, { base = "#/runs/", whose = false } = {}) {
  const status = badge("queued");
  const link = el("a", { href: `${base}${id}`, class: "run-link" });
  const about = el("span", { class: "run-about" });
  const why = el("span", { class: "run-why", hidden: true });
  const submitted = el("time");
  const cells = Object.fromEntries(["waited", "ran", "cost"].map((name) => [name, el("span")]));
  const button = el("button", { type: "button", class: "quiet", on: { click: () => stop(id) } }, "Cancel");
  const cell = (name, ...children) => el("td", { class: `c-${name.toLowerCase()}`, data: { name } }, ...children);
  const node = el(
    "tr",
    { data: { task: id } },
    cell("Status", status),
    cell("Run", link, about, why),
    cell("Submitted", submitted),
    cell("Waited", cells.waited),
    cell("Ran", cells.ran),
    cell("Cost", cells.cost),
    cell("Action", button),
  );
  const row = {
    node,
    task: null,
    show(task, stopping) {
      row.task = task;
      const live = LIVE.has(task.status);
      setBadge(status, live && stopping ? "cancelling" : task.status);
      const message = task.message?.trim().split("\n", 1)[0];
      const title = message || id;
      setText(link, title);
      link.classList.toggle("code", !message);
      setText(about, [whose && task.user, task.agent, task.model, task.session_id && task.session_id !== id && `session ${task.session_id}`].filter(Boolean).join(", "));
      const reason = reasonOf(task);
      setText(why, reason);
      why.hidden = !reason;
      setText(submitted, ago(task.created_at));
      submitted.dateTime = task.created_at;
      submitted.title = atDate(task.created_at);
      const now = new Date().toISOString();
      const began = task.started_at ?? (live ? now : null);
      setText(cells.waited, began ? duration(seconds(task.created_at, began)) : DASH);
      setText(cells.ran, task.started_at ? duration(seconds(task.started_at, task.ended_at ?? now)) : DASH);
      button.hidden = !live;
      button.disabled = stopping;
      button.setAttribute("aria-label", `Cancel ${title.slice(0, 60)}`);
      setText(cells.cost, money(live && !task.cost_usd ? null : task.cost_usd));
    },
  };
  return row;
}

// Why a run failed, is tried again, or does not go on.
function reasonOf(task) {
  const error = task.error ?? (LIVE.has(task.status) ? task.last_error : null);
  if (error) return `${error.code}: ${error.message ?? ""}`;
  if (task.status === "waiting") return waitText(task.waiting_for);
  return task.status === "queued" && task.reason ? capital(words(task.reason)) : "";
}

export const statusName = (name) => (name === "processing" ? "Running" : capital(name));
