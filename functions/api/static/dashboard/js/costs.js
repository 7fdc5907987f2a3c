// What runs cost: a curve of the days, and a table by whatever is asked. What is asked stands in the address.

import * as api from "./api.js";
import { alertLine, announce, el, say, setText } from "./dom.js";
import { compact, money, number } from "./format.js";
import { chart } from "./system/chart.js";

const PAGE = 50;
const FILE_PAGE = 1000;
const DAYS = [
  [1, "Today"],
  [7, "7 days"],
  [30, "30 days"],
  [90, "90 days"],
];
const KINDS = { day: "Day", user: "User", agent: "Agent", model: "Model", key: "Key" };
const DAY_MS = 86_400_000;
const NEARLY_NONE = 0.000_001;

const dayOf = (ms) => new Date(ms).toISOString().slice(0, 10);
const today = () => dayOf(Date.now());
const before = (days) => dayOf(Date.now() - (days - 1) * DAY_MS);

// `whose`: an operator sees everybody's, and may ask for one user's.
export function costsView(main, signal, { operator }) {
  const place = el("div", { class: "costs-view" });
  main.replaceChildren(place);
  let shown = null;
  return {
    show(_, { focus, asked }) {
      shown?.abort();
      shown = new AbortController();
      signal.addEventListener("abort", () => shown.abort(), { once: true });
      place.replaceChildren(...page(wantedOf(new URLSearchParams(asked), operator), operator, shown.signal));
      if (focus) place.querySelector("h1").focus();
    },
  };
}

function wantedOf(asked, operator) {
  const by = Object.hasOwn(KINDS, asked.get("by") ?? "") ? asked.get("by") : operator ? "user" : "day";
  return { by, from: asked.get("from") || before(30), to: asked.get("to") || today(), user: (operator && asked.get("user")) || "" };
}

function addressOf({ by, from, to, user }) {
  const query = new URLSearchParams({ by, from, to });
  if (user) query.set("user", user);
  return `#/costs?${query}`;
}

function page(wanted, operator, signal) {
  const problem = alertLine();
  const total = el("p", { class: "costs-total" }, "Loading");
  const days = chart({
    title: "By day",
    note: "what calls of that day cost, UTC",
    series: [{ label: "Cost", tint: "accent", bars: true }],
    format: money,
    least: NEARLY_NONE,
    days: true,
  });
  signal.addEventListener("abort", () => days.destroy(), { once: true });
  const list = groupTable(wanted, operator);
  let groups = [];
  const more = el("button", { type: "button", class: "quiet", hidden: true }, "Show more");
  const file = el("button", { type: "button", class: "quiet", on: { click: save } }, "Export CSV");

  const ask = (by, limit, cursor = 0) => {
    const { from, to, user } = wanted;
    const query = new URLSearchParams({ by, from, to, limit, cursor });
    if (user) query.set("user", user);
    return api.call(`costs?${query}`, { signal });
  };

  // Figures move meanwhile: a row of one page may come once more on the next.
  const merged = (before, more) => [...new Map([...before, ...more].map((one) => [one[wanted.by], one])).values()];

  async function load(cursor) {
    more.disabled = true;
    try {
      const found = await ask(wanted.by, PAGE, cursor);
      groups = merged(cursor ? groups : [], found.groups);
      list.show(groups, found.total);
      setText(total, totalText(found.total));
      say(problem, "");
      more.hidden = found.next_cursor === null;
      more.onclick = () => load(found.next_cursor);
      if (!cursor) drawDays(days, wanted, await ask("day", FILE_PAGE));
    } catch (error) {
      if (!signal.aborted) {
        say(problem, api.sentence(error));
        if (!groups.length) setText(total, "");
      }
    } finally {
      more.disabled = false;
    }
  }

  // All pages, not only what is shown.
  async function save() {
    file.disabled = true;
    say(problem, "");
    try {
      let rows = [];
      for (let cursor = 0; cursor !== null; ) {
        const found = await ask(wanted.by, FILE_PAGE, cursor);
        rows = merged(rows, found.groups);
        cursor = found.next_cursor;
      }
      handOver(csv(wanted.by, rows), `costs_${wanted.by}_${wanted.from}_${wanted.to}.csv`);
      announce("File downloaded");
    } catch (error) {
      if (!signal.aborted) say(problem, api.sentence(error));
    } finally {
      file.disabled = false;
    }
  }

  load(0);
  return [
    el(
      "section",
      { class: "panel costs-panel" },
      el("div", { class: "panel-head" }, el("h1", { tabIndex: -1 }, operator ? "Everyone's costs" : "Costs"), file),
      form(wanted, operator, () => load(0)),
      problem,
      total,
    ),
    days.node,
    el("section", { class: "panel" }, el("h2", {}, `By ${wanted.by}`), list.node, more),
  ];
}

function totalText({ cost_usd: usd, tokens, runs }) {
  return `${money(usd)} in all, by ${number(runs)} ${runs === 1 ? "run" : "runs"} that ended, ${compact(tokens)} tokens`;
}

// Days without a cost have no group: they are drawn as nothing spent.
function drawDays(days, { from, to }, { groups }) {
  const spent = new Map(groups.map((one) => [one.day, one.cost_usd]));
  const x = [];
  for (let at = Date.parse(from); at <= Date.parse(to); at += DAY_MS) x.push(at / 1000);
  days.set(x, [x.map((at) => spent.get(dayOf(at * 1000)) ?? 0)]);
}

function groupTable({ by, from, to, user }, operator) {
  const body = el("tbody");
  const empty = el("p", { class: "empty", hidden: true }, "Nothing was spent in these days.");
  const heads = [KINDS[by], "Share", "Cost", "Tokens", "Runs"].map((name) => el("th", { scope: "col" }, name));
  const table = el("table", { class: "spenders costs", hidden: true, "aria-label": `Costs by ${by}` }, el("thead", {}, el("tr", {}, ...heads)), body);

  // Leads to the runs behind a figure, where there is a list of them.
  function linked(name) {
    if (by === "day") return el("a", { href: addressOf({ by: operator ? "user" : "model", from: name, to: name, user }) }, name);
    if (!operator || by === "key" || name.startsWith("(")) return name;
    const query = new URLSearchParams({ [by]: name, since: `${from}T00:00:00.000Z`, until: `${dayOf(Date.parse(to) + DAY_MS)}T00:00:00.000Z` });
    if (user && by !== "user") query.set("user", user);
    return el("a", { href: `#/all?${query}` }, name);
  }

  function row(one, all) {
    const share = all ? (one.cost_usd / all) * 100 : 0;
    const bar = el("span", { class: "share-bar" });
    bar.style.width = `${share}%`;
    return el(
      "tr",
      {},
      el("th", { scope: "row", class: by === "key" ? "code" : "" }, linked(one[by])),
      el("td", {}, el("span", { class: "share" }, bar), el("span", {}, `${share.toFixed(share && share < 1 ? 1 : 0)} %`)),
      el("td", {}, money(one.cost_usd)),
      el("td", {}, compact(one.tokens)),
      el("td", {}, number(one.runs)),
    );
  }

  return {
    node: el("div", { class: "scrolls", tabIndex: 0, role: "region", "aria-label": `Table of costs by ${by}` }, table, empty),
    show(groups, { cost_usd: all }) {
      const ordered = by === "day" ? groups.toReversed() : groups; // the newest day first
      body.replaceChildren(...ordered.map((one) => row(one, all)));
      table.hidden = groups.length === 0;
      empty.hidden = groups.length > 0;
    },
  };
}

// `again` is called when what is asked for is what is shown.
function form(wanted, operator, again) {
  const field = (label, input) => el("label", { class: "field" }, el("span", {}, label), input);
  const day = (name) => {
    const input = el("input", { name, type: "date", required: true });
    input.max = today();
    input.value = wanted[name];
    return input;
  };
  const names = Object.keys(KINDS).filter((name) => operator || name !== "user");
  const by = el("select", { name: "by" }, ...names.map((name) => el("option", { value: name, selected: name === wanted.by }, KINDS[name])));
  const user = el("input", { name: "user", autocomplete: "off", spellcheck: false, maxLength: 200 });
  user.value = wanted.user;
  const go = (event) => {
    event.preventDefault();
    const asked = Object.fromEntries(new FormData(event.target));
    const before = location.hash;
    location.hash = addressOf({ ...asked, user: (asked.user ?? "").trim() });
    if (location.hash === before) again();
  };
  return el(
    "form",
    { class: "search", on: { submit: go } },
    field("By", by),
    field("From", day("from")),
    field("To", day("to")),
    operator && field("User", user),
    el("button", { type: "submit", class: "primary" }, "Show"),
    el(
      "nav",
      { class: "ranges", "aria-label": "Days" },
      ...DAYS.map(([days, label]) => {
        const range = { ...wanted, from: before(days), to: today() };
        return el("a", { href: addressOf(range), "aria-current": wanted.from === range.from && wanted.to === range.to && "true" }, label);
      }),
    ),
  );
}

// RFC 4180. A name that a spreadsheet would take for a formula is written as text.
function csv(by, rows) {
  const cell = (value) => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [[by, "cost_usd", "tokens", "runs"], ...rows.map((one) => [one[by], one.cost_usd.toFixed(6), one.tokens, one.runs])];
  return lines.map((line) => `${line.map(cell).join(",")}\r\n`).join("");
}

function handOver(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
