// One run of anybody's, as an operator sees it: what was asked, what happened, what may be done about it.

import * as api from "./api.js";
import { budgetAsk } from "./budget-ask.js";
import { copyButton } from "./copy.js";
import { alertLine, announce, busy, el, say, setText, whileVisible } from "./dom.js";
import { facts } from "./facts.js";
import { ago, duration } from "./format.js";
import { kin } from "./kin.js";
import { LIVE, badge, setBadge } from "./parts.js";
import { problemText } from "./remedy.js";
import { timeline } from "./timeline.js";
import { told } from "./told.js";
import { Transcript } from "./transcript.js";
import { waitText } from "./waiting.js";
import { waterfall } from "./waterfall.js";

const LIVE_MS = 2000;
const TOLD_AGAIN_MS = 10_000; // its webhook failed, and is tried again
const ENDED_MS = 60_000;
const SILENT_S = 5;

export function runCard(id, signal) {
  const transcript = new Transcript();
  const about = facts(id);
  const relatives = kin("#/all/");
  const events = timeline();
  const chart = waterfall();
  const status = badge("queued");
  const whose = el("p", { class: "hint" });
  const asked = el("p", { class: "message" });
  const output = el("div", { class: "output", tabIndex: 0, role: "region", "aria-label": "Answer" });
  const state = el("p", { class: "hint run-state" });
  const asks = budgetAsk(id, () => refresh());
  const webhook = told(id, () => refresh());
  const problem = alertLine();
  const raw = el("pre", { class: "raw", tabIndex: 0 });
  const act = (what, label, said) =>
    el("button", { type: "button", class: what === "cancel" ? "danger" : "quiet", on: { click: () => busy(acts, () => does(what, said)) } }, label);
  const cancel = act("cancel", "Cancel run", "Run is being stopped");
  const requeue = act("requeue", "Send its message again", "Message sent again");
  const retry = act("retry", "Run again", "Run again, as its owner");
  const acts = el("div", { class: "panel-head" }, el("h1", { tabIndex: -1 }, "Run"), status, retry, requeue, cancel);
  const refused = alertLine(); // what came of one of them: it stays when the run is read again
  let last = 0;
  let found = null;
  const node = el(
    "section",
    { class: "panel wide run" },
    el("a", { class: "back", href: "#/all" }, "Everyone's runs"),
    acts,
    whose,
    relatives.parent,
    state,
    problem,
    refused,
    asks.node,
    el(
      "div",
      { class: "run-grid" },
      el(
        "div",
        { class: "run-main" },
        el("h2", {}, "Asked"),
        asked,
        el("div", { class: "panel-head" }, el("h2", {}, "Answer"), copyButton("Copy answer", () => transcript.text)),
        output,
        relatives.node,
        chart.node,
      ),
      el("div", { class: "run-side" }, about.node, webhook.node, el("h2", {}, "Events"), events.node),
    ),
    el("p", {}, copyButton("Copy task id", () => id), " ", copyButton("Copy address", () => location.href)),
    el("details", {}, el("summary", {}, "Raw"), copyButton("Copy JSON", () => raw.textContent), raw),
  );

  const refresh = whileVisible(
    async () => {
      try {
        found = await api.call(`operator/tasks/${encodeURIComponent(id)}?tree=1`, { signal });
        for (let more = true; more; ) {
          const page = await api.call(`operator/tasks/${encodeURIComponent(id)}/events?after=${last}`, { signal });
          for (const event of page.events) {
            transcript.add(event);
            chart.add(event);
            last = event.seq;
          }
          more = page.events.length > 0 && last < page.last_seq;
        }
        show();
      } catch (error) {
        if (!signal.aborted) say(problem, error.status === 404 ? "There is no such run." : api.sentence(error));
      }
    },
    () => pause(found),
    signal,
  );

  function show() {
    setBadge(status, found.status);
    setText(whose, `Of ${found.user}, tier ${found.tier}`);
    setText(asked, found.message);
    setText(output, transcript.text);
    say(problem, problemText(found.error));
    setText(state, stateText(found, transcript));
    asks.show(found);
    webhook.show(found);
    setText(raw, JSON.stringify(found, null, 2));
    about.show(found);
    events.show(transcript.lines);
    chart.show(found);
    relatives.show(found);
    retry.hidden = LIVE.has(found.status);
    cancel.hidden = !LIVE.has(found.status);
    requeue.hidden = !["queued", "processing"].includes(found.status);
  }

  async function does(what, said) {
    say(refused, "");
    try {
      const made = await (what === "retry" ? api.submit({}, api.ofOperator(id, what)) : api.operator(id, what));
      announce(said);
      if (what === "retry" && !signal.aborted) location.hash = `#/all/${made.task_id}`;
    } catch (error) {
      say(refused, api.sentence(error));
    }
    refresh();
  }

  return { node };
}

// Until it is looked at again.
function pause(found) {
  if (!found || LIVE.has(found.status) || found.webhook?.status === "pending") return LIVE_MS;
  return found.webhook?.status === "waiting" ? TOLD_AGAIN_MS : ENDED_MS;
}

// What a run that has not ended is at, or waits for.
function stateText({ status, model, reason, next_try_at: next, waiting_for: waits, last_error: error }, transcript) {
  const said = [];
  if (status === "waiting") {
    const since = waits?.[0]?.since;
    said.push(`${waitText(waits)}${since ? `, asked ${ago(since)}` : ""}.`);
  }
  if (status === "queued" && reason) said.push(`It waits: ${reason.replaceAll("_", " ")}.`);
  if (status === "queued" && next && new Date(next) > Date.now()) said.push(`It is tried again in ${duration((new Date(next) - Date.now()) / 1000)}.`);
  if (error) said.push(`The last try failed: ${error.code}, ${error.message ?? ""}`);
  const last = transcript.lines.at(-1);
  const silent = last ? (Date.now() - new Date(last.at)) / 1000 : 0;
  if (status === "processing" && silent > SILENT_S) {
    const tool = last.title === "Tool called" ? `its tool (${last.detail.slice(0, 80)})` : `its model ${model}, or the agent's own code`;
    said.push(`Nothing has come for ${duration(silent)}: it waits for ${tool}.`);
  }
  return said.join(" ");
}
