// Starts the page: who is signed in, which view is shown.

import { call, sentence } from "./api.js";
import { alertLine, el } from "./dom.js";
import { showHealth } from "./health.js";
import { inTurn } from "./in-turn.js";
import { runsView } from "./runs-view.js";
import { getKey, signedOut, whenSignedOut } from "./session.js";
import { showSignIn } from "./sign-in.js";
import { close as closeSocket } from "./socket.js";
import { bindTheme } from "./theme.js";

const main = document.getElementById("main");
const tabs = document.getElementById("tabs");
const who = document.getElementById("who");
const signOut = document.getElementById("sign-out");
const CHARTS = ["history", "../../vendor/uplot/uPlot.esm", "chart", "charts", "tiles", "waits", "states", "banner", "failing", "spenders", "view"];
const TASK = /^#\/(?:runs|all)\/([A-Za-z0-9_-]{1,64})$/;
const TITLES = { runs: "Runs", all: "Everyone's runs", system: "System", approvals: "Approvals", schedules: "Schedules", batches: "Batches", costs: "Costs", account: "Account" };
const LATER = {
  all: async () => (await inTurn(["budget-ask", "told", "run-card", "everyone"])).everyoneView,
  schedules: async () => (await inTurn(["schedules"])).schedulesView,
  batches: async () => (await inTurn(["batches"])).batchesView,
  approvals: async () => (await inTurn(["inbox"])).inboxView,
  costs: async () => {
    const { costsView } = await inTurn(["../vendor/uplot/uPlot.esm", "system/chart", "costs"]);
    return (main, signal) => costsView(main, signal, { operator: isOperator() });
  },
  account: async () => (await inTurn(["alerts", "own-key", "account"])).accountView,
};
const OPERATORS = new Set(["all", "system"]);

let me = null;
let view = null; // { name, controls, stop }

const isOperator = () => me.operator ?? me.tier === "operator";

function route({ focus = true } = {}) {
  if (!me) return;
  const id = TASK.exec(location.hash)?.[1] ?? null;
  const [, asks = "runs", asked = ""] = /^#\/([a-z]+)(?:\/[^?]*)?(?:\?(.*))?$/.exec(location.hash) ?? [];
  const name = Object.hasOwn(TITLES, asks) && (isOperator() || !OPERATORS.has(asks)) ? asks : "runs";
  if (view?.name !== name) enter(name);
  for (const tab of tabs.children) {
    if (tab.dataset.view === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.title = `${id ? "Run" : TITLES[name]}, Sluice`;
  view.controls?.show(id, { focus, asked });
}

function enter(name) {
  view?.stop.abort();
  const stop = new AbortController();
  view = { name, stop, controls: null };
  if (name === "runs") view.controls = runsView(main, me, stop.signal);
  else if (Object.hasOwn(LATER, name)) showLater(name, stop.signal);
  else showSystem(stop.signal);
}

// Views that few readers open are loaded when they are.
async function showLater(name, signal) {
  main.replaceChildren(el("p", { class: "empty" }, "Loading"));
  const made = await LATER[name]();
  if (signal.aborted) return;
  view.controls = made(main, signal);
  route({ focus: false });
}

// Only operators ever load these.
async function showSystem(signal) {
  main.replaceChildren(el("p", { class: "empty" }, "Loading charts"));
  const { systemView } = await inTurn(CHARTS.map((name) => `system/${name}`));
  if (!signal.aborted) systemView(main, signal);
}

function start(found) {
  me = found;
  who.textContent = me.user;
  const tab = (name, text) => el("a", { href: `#/${name}`, data: { view: name } }, text);
  const more = isOperator() ? [tab("all", "Everyone"), tab("system", "System")] : [];
  tabs.replaceChildren(tab("runs", "Runs"), tab("approvals", "Approvals"), tab("schedules", "Schedules"), tab("batches", "Batches"), tab("costs", "Costs"), tab("account", "Account"), ...more);
  tabs.hidden = false;
  who.hidden = signOut.hidden = false;
  route({ focus: false });
}

function signInAgain(why) {
  view?.stop.abort();
  view = me = null;
  closeSocket();
  tabs.hidden = who.hidden = signOut.hidden = true;
  document.title = "Sluice";
  showSignIn(main, why, start);
}

async function boot() {
  if (!getKey()) {
    showSignIn(main, "", start);
    return;
  }
  try {
    start(await call("limits"));
  } catch (error) {
    if (!getKey()) return; // refused: the form is shown already
    main.replaceChildren(
      el(
        "div",
        { class: "panel sign-in" },
        alertLine({}, sentence(error)),
        el("button", { type: "button", class: "primary", on: { click: boot } }, "Try again"),
      ),
    );
    signOut.hidden = false;
  }
}

bindTheme(document.getElementById("theme"));
showHealth(document.getElementById("health"));
whenSignedOut(signInAgain);
signOut.addEventListener("click", () => signedOut());
addEventListener("hashchange", () => route());
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address's hash names the view
  main.focus();
});
boot();
