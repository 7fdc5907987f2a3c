// Starts the page: who is signed in, which view is shown.

import { accountView } from "./account.js";
import { call, sentence } from "./api.js";
import { batchesView } from "./batches.js";
import { alertLine, busy, el } from "./dom.js";
import { everyoneView } from "./everyone.js";
import { showHealth } from "./health.js";
import { inboxView } from "./inbox.js";
import { runsView } from "./runs-view.js";
import { schedulesView } from "./schedules.js";
import { getKey, signedOut, whenSignedOut } from "./session.js";
import { showSignIn } from "./sign-in.js";
import { close as closeSocket } from "./socket.js";
import { bindTheme } from "./theme.js";

const main = document.getElementById("main");
const tabs = document.getElementById("tabs");
const who = document.getElementById("who");
const signOut = document.getElementById("sign-out");
const TASK = /^#\/(?:runs|all)\/([A-Za-z0-9_-]{1,64})$/;
const TITLES = { runs: "Runs", all: "Everyone's runs", system: "System", approvals: "Approvals", schedules: "Schedules", batches: "Batches", costs: "Costs", account: "Account" };
const VIEWS = {
  runs: (main, signal) => runsView(main, me, signal),
  all: everyoneView,
  schedules: schedulesView,
  batches: batchesView,
  approvals: inboxView,
  account: accountView,
};
const WITH_CHARTS = {
  costs: (modules, signal) => modules["js/costs.js"].costsView(main, signal, { operator: isOperator() }),
  system: (modules, signal) => modules["js/system/view.js"].systemView(main, signal),
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
  const enters = view?.name !== name;
  if (enters) enter(name);
  for (const tab of tabs.children) {
    if (tab.dataset.view === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.title = `${id ? "Run" : TITLES[name]}, Sluice`;
  view.controls?.show(id, { focus: focus && (!enters || name === "runs"), asked });
}

function enter(name) {
  view?.stop.abort();
  const stop = new AbortController();
  view = { name, stop, controls: null };
  if (Object.hasOwn(VIEWS, name)) view.controls = VIEWS[name](main, stop.signal);
  else showCharts(name, stop.signal);
}

// Charts are loaded when they are first looked at: half of all that there is, and few readers do.
async function showCharts(name, signal) {
  main.replaceChildren(el("p", { class: "empty" }, "Loading charts"));
  const { modules } = await import("./charts.js").catch(() => ({}));
  if (signal.aborted) return;
  if (!modules) {
    showAway("The charts cannot be loaded.", () => showCharts(name, signal));
    return;
  }
  view.controls = WITH_CHARTS[name](modules, signal);
  route({ focus: false });
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
    showAway(sentence(error), boot);
    signOut.hidden = false;
  }
}

// Says why there is nothing to show.
function showAway(why, again) {
  const button = el("button", { type: "button", class: "primary", on: { click: () => busy(button, again) } }, "Try again");
  main.replaceChildren(el("div", { class: "panel sign-in" }, alertLine({}, why), button));
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
