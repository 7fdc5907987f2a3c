// Everybody's runs, for operators. What is searched for stands in the address, so that a search can be shared.

import * as api from "./api.js";
import { alertLine, announce, el, say, setText, whileVisible } from "./dom.js";
import { LIVE } from "./parts.js";
import { runCard } from "./run-card.js";
import { Rows } from "./rows.js";
import { COLUMNS, STATUSES, makeRow, statusName } from "./runs.js";
import { ofSession } from "./session.js";

const EVERY_MS = 10_000;
const STOPPING_MS = 3000; // whoever cancels waits to see it end, within a heartbeat mostly
const STOPS_MS = 30_000;
const PAGE = 25;
const SURE_MS = 5000;
const AT_ONCE = 5; // requests
const EMPTY_PAGES = 20; // a page of a search may be empty and still lead on
const BASE = "#/all/";
const WORDS = [
  ["user", "User"],
  ["text", "Message contains"],
  ["error", "Error code"],
  ["agent", "Agent"],
  ["model", "Model"],
  ["session_id", "Session"],
  ["tree", "Tree of run"],
];
const TIMES = new Set(["since", "until"]);
const KNOWN = new Set(["status", "lane", ...TIMES, ...WORDS.map(([name]) => name)]);

export function everyoneView(main, signal) {
  const place = el("div", { class: "place" });
  main.replaceChildren(el("div", { class: "everyone" }, place));
  let shown = null;
  return {
    show(id, { focus, asked }) {
      shown?.abort();
      shown = new AbortController();
      signal.addEventListener("abort", () => shown.abort(), { once: true });
      const made = id ? runCard(id, shown.signal) : search(new URLSearchParams(asked), shown.signal);
      place.replaceChildren(made.node);
      if (focus) made.node.querySelector("h1").focus();
    },
  };
}

function search(asked, signal) {
  const wanted = [...asked].filter(([name, value]) => KNOWN.has(name) && value); // what is misspelt is no search
  const stopping = new Set();
  let stopped = 0;
  const body = el("tbody");
  const empty = el("p", { class: "empty", hidden: true }, "No runs fit.");
  const problem = alertLine();
  const list = new Rows(body, {
    make: (id) => makeRow(id, cancel, { base: BASE, whose: true }),
    show: (row, task) => row.show(task, stopping.has(task.task_id)),
    read: page,
    signal,
    problem,
    onRead: show,
  });
  const refused = alertLine(); // what came of a click: it stays when the list is read again
  const more = el("button", { type: "button", class: "quiet", hidden: true, on: { click: () => list.loadOlder(more) } }, "Show older");
  const columns = COLUMNS.map((name) => el("th", { scope: "col" }, name || el("span", { class: "sr" }, "Action")));
  const table = el(
    "table",
    { class: "runs", hidden: true, "aria-labelledby": "all-title" },
    el("thead", {}, el("tr", {}, ...columns)),
    body,
  );
  const all = el("button", { type: "button", class: "danger", hidden: true, on: { click: cancelAll, keydown: (event) => event.repeat && event.preventDefault() } }, "Cancel all that fit");
  const node = el(
    "section",
    { class: "panel wide" },
    el("div", { class: "panel-head" }, el("h1", { id: "all-title", tabIndex: -1 }, "Everyone's runs"), all),
    searchForm(asked),
    problem,
    refused,
    empty,
    table,
    more,
  );

  async function page(cursor, still) {
    const query = new URLSearchParams(wanted);
    query.set("limit", PAGE);
    const found = { tasks: [], next_cursor: cursor };
    for (let n = 0; n < EMPTY_PAGES && !found.tasks.length; n++) {
      if (found.next_cursor) query.set("cursor", found.next_cursor);
      Object.assign(found, await api.call(`operator/tasks?${query}`, { signal: still }));
      if (!found.next_cursor) break;
    }
    return found;
  }

  function show() {
    list.reveal(table, empty, more);
    // Of one search only: nobody means to cancel everybody's runs.
    all.hidden = !wanted.length || !list.anyLive;
  }

  // Every run of this search that has not ended, those of other pages too; the second click means it, no double one.
  async function cancelAll({ detail: clicks }) {
    if (clicks > 1) return;
    if (!all.dataset.sure) {
      sure(true);
      setTimeout(() => all.disabled || sure(false), SURE_MS);
      return;
    }
    sure(false);
    all.disabled = true;
    say(refused, "");
    const session = ofSession();
    let cancelled = 0;
    const failed = [];
    const stop = ({ task_id: id }) => api.operator(id, "cancel").then(() => cancelled++, (error) => failed.push(error));
    try {
      const found = { next_cursor: null };
      do {
        Object.assign(found, await page(found.next_cursor, signal));
        const live = found.tasks.filter(({ status }) => LIVE.has(status));
        for (let n = 0; n < live.length; n += AT_ONCE) {
          const [before, missed] = [cancelled, failed.length];
          await Promise.all(live.slice(n, n + AT_ONCE).map(stop));
          setText(all, `${cancelled} cancelled`);
          if (cancelled === before && failed.slice(missed).every(ofAll)) throw failed.pop();
        }
      } while (found.next_cursor && !signal.aborted);
    } catch (error) {
      failed.push(error);
    }
    const said = `${cancelled} ${cancelled === 1 ? "run is" : "runs are"} cancelled`;
    if (signal.aborted) {
      if (!session.aborted) announce(`${said}, but perhaps not all: you went elsewhere`);
      return;
    }
    if (failed.length) say(refused, `${said}, but not all: ${api.sentence(failed.at(-1))}`);
    else announce(said);
    sure(false);
    all.disabled = false;
    acted();
  }

  function sure(yes) {
    if (yes) all.dataset.sure = "yes";
    else delete all.dataset.sure;
    setText(all, yes ? "Really cancel them all?" : "Cancel all that fit");
  }

  async function cancel(id) {
    say(refused, "");
    stopping.add(id);
    list.redraw(id);
    try {
      const { status } = await api.operator(id, "cancel");
      announce(status === "cancelled" ? "Run cancelled" : "Run is being stopped");
    } catch (error) {
      stopping.delete(id);
      list.redraw(id);
      say(refused, api.sentence(error));
    }
    acted();
  }

  function acted() {
    stopped = Date.now();
    refresh();
  }

  const refresh = whileVisible(() => list.load(), () => (Date.now() - stopped < STOPS_MS ? STOPPING_MS : EVERY_MS), signal);
  return { node };
}

// Whether an error is no matter of one run, which may be gone.
const ofAll = ({ status }) => status !== 404 && status !== 409;

function searchForm(asked) {
  const field = ([name, label]) =>
    el(
      "label",
      { class: "field" },
      el("span", {}, label),
      el("input", { name, value: asked.get(name) ?? "", autocomplete: "off", spellcheck: false, maxLength: 200 }),
    );
  const status = el(
    "select",
    { name: "status" },
    el("option", { value: "" }, "All"),
    ...STATUSES.map((name) => el("option", { value: name, selected: asked.get("status") === name }, statusName(name))),
  );
  const time = (name, label) =>
    el("label", { class: "field" }, el("span", {}, label), el("input", { name, type: "datetime-local", value: local(asked.get(name)) }));
  return el(
    "form",
    { class: "search", role: "search", on: { submit: go } },
    el("label", { class: "field" }, el("span", {}, "Status"), status),
    ...WORDS.map(field),
    time("since", "Since"),
    time("until", "Until"),
    el("button", { type: "submit", class: "primary" }, "Search"),
    el("a", { class: "quiet", href: "#/all" }, "Clear"),
  );
}

function go(event) {
  event.preventDefault();
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(event.target)) {
    const text = value.trim();
    if (text) query.set(name, TIMES.has(name) ? new Date(text).toISOString() : text);
  }
  const text = query.toString();
  location.hash = text ? `#/all?${text}` : "#/all";
}

// An instant as the field shows it, in the reader's own time.
function local(iso) {
  if (!iso || Number.isNaN(Date.parse(iso))) return "";
  const at = new Date(iso);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

