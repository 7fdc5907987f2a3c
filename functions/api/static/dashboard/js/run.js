// One run: its message, its tokens as they arrive, what happened, what it cost.

import { againPanel } from "./again.js";
import * as api from "./api.js";
import { approvalCard, decide } from "./approval.js";
import { copyButton } from "./copy.js";
import { alertLine, announce, el, say, setText, whileVisible } from "./dom.js";
import { facts } from "./facts.js";
import { follow } from "./follow.js";
import { duration, number } from "./format.js";
import { kin } from "./kin.js";
import { LIVE, badge, setBadge } from "./parts.js";
import { problemText } from "./remedy.js";
import { keepMessage, messageOf } from "./session.js";
import { timeline } from "./timeline.js";
import { Transcript } from "./transcript.js";
import { waitText } from "./waiting.js";
import { waterfall } from "./waterfall.js";

const QUEUED_MS = 3000;
const RUNNING_MS = 10_000;
const MODES = { live: "Live", polling: "Polling", offline: "Reconnecting", ended: "" };

export function runView(id, { signal, onEnded }) {
  const transcript = new Transcript();
  const events = timeline();
  const chart = waterfall();
  const raw = el("pre", { class: "raw", tabIndex: 0 });
  const about = facts(id);
  const relatives = kin("#/runs/");
  const status = badge("queued");
  const mode = el("span", { class: "mode", id: "mode" });
  const heading = el("h1", { tabIndex: -1, id: "run-title" }, "Run");
  const message = el("p", { class: "message", id: "run-message", hidden: true });
  const output = el("div", { class: "output", id: "output", tabIndex: 0, role: "region", "aria-label": "Answer" });
  const copy = copyButton("Copy answer", () => transcript.text);
  const asks = el("div", { class: "approvals", hidden: true });
  const hint = el("p", { class: "hint", id: "hint" });
  const problem = alertLine();
  const refused = alertLine(); // what came of a click: it stays when the run is read again
  const once = againPanel(id, { problem: refused, onMade: (made) => signal.aborted || (location.hash = `#/runs/${made}`) });
  const button = el("button", { type: "button", class: "danger", hidden: true, on: { click: stop } }, "Cancel run");
  const text = document.createTextNode("");
  output.append(text);
  const node = el(
    "section",
    { class: "panel wide run", "aria-labelledby": "run-title" },
    el("a", { class: "back", href: "#/runs" }, "All runs"),
    el("div", { class: "panel-head" }, heading, status, mode, button),
    relatives.parent,
    message,
    problem,
    refused,
    el(
      "div",
      { class: "run-grid" },
      el("div", { class: "run-main" }, hint, asks, output, copy, relatives.node, chart.node, once.node),
      el("div", { class: "run-side" }, about.node, el("h2", {}, "Events"), events.node),
    ),
    el("p", {}, copyButton("Copy task id", () => id), " ", copyButton("Copy address", () => location.href)),
    el("details", {}, el("summary", {}, "Raw"), copyButton("Copy JSON", () => raw.textContent), raw),
  );
  let stopping = false;
  let hasChildren = false;
  let drawing = 0;
  let asked = "";

  async function look() {
    const found = await api.call(`result/${encodeURIComponent(id)}${hasChildren ? "?tree=1" : ""}`, { signal }).catch(() => null);
    if (!found) return;
    if (found.children && !hasChildren) {
      hasChildren = true; // from now on its tree is asked for, too
      Object.assign(found, await api.call(`result/${encodeURIComponent(id)}?tree=1`, { signal }).catch(() => null));
    }
    relatives.show(found);
    about.show(found);
    chart.show(found);
    setText(raw, JSON.stringify(found, null, 2));
    stopping ||= Boolean(found.cancel_requested);
    setText(hint, hintOf(found));
    ask(found);
    if (messageOf(id) === null && found.message) keepMessage(id, found.message);
    schedule();
  }

  // A card stays as it is for as long as the same is asked: its arguments may be edited meanwhile.
  function ask({ status, agent, waiting_for: waits }) {
    const open = status === "waiting" ? (waits ?? []).filter(({ fingerprint }) => fingerprint) : [];
    const mark = open.map(({ fingerprint }) => fingerprint).join(" ");
    asks.hidden = !mark;
    if (mark === asked) return;
    asked = mark;
    asks.replaceChildren(...open.map((one) => approvalCard({ ...one, task_id: id, agent }, answer)));
  }

  async function answer(one, body) {
    say(refused, "");
    try {
      await decide(one, body);
    } catch (error) {
      say(refused, api.sentence(error));
    }
    refresh();
  }

  function schedule() {
    drawing ||= requestAnimationFrame(draw);
  }

  function draw() {
    drawing = 0;
    const live = LIVE.has(transcript.status);
    const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 24;
    const wanted = transcript.text;
    if (wanted.startsWith(text.data)) text.appendData(wanted.slice(text.data.length));
    else text.data = wanted;
    if (live && atEnd) output.scrollTop = output.scrollHeight;
    output.dataset.state = wanted ? (live ? "live" : "done") : "empty";
    copy.hidden = !wanted;
    output.hidden = !wanted && transcript.status === "waiting";
    output.setAttribute("aria-busy", String(live));
    setBadge(status, live && stopping ? "cancelling" : transcript.status);
    button.hidden = !live;
    button.disabled = stopping;
    if (!live) hint.hidden = true;
    once.show(!live);
    if (transcript.error) say(problem, problemText(transcript.error));
    const said = messageOf(id);
    message.hidden = !said; // a turn that only answers tool calls has no text
    setText(message, said ?? "");
    events.show(transcript.lines);
  }

  async function stop() {
    say(refused, "");
    stopping = true;
    schedule();
    try {
      await api.cancel(id);
    } catch (error) {
      stopping = false;
      say(refused, api.sentence(error));
    }
    schedule();
  }

  const refresh = whileVisible(look, () => (transcript.status === "queued" ? QUEUED_MS : RUNNING_MS), signal);

  follow(id, {
    signal,
    onEvents(batch) {
      const before = transcript.status;
      for (const event of batch) {
        transcript.add(event);
        chart.add(event);
        once.add(event);
      }
      schedule();
      if (transcript.status === before) return;
      announce(`Run ${transcript.status === "processing" ? "started" : transcript.status}`);
      refresh();
      if (!LIVE.has(transcript.status)) onEnded();
    },
    onMode(now) {
      mode.dataset.mode = now;
      setText(mode, MODES[now]);
    },
    onGone(error) {
      say(problem, error.status === 404 ? "There is no such run." : api.sentence(error));
      status.hidden = true;
    },
  });
  schedule();
  return { node, heading };
}

function hintOf({ status, queue, next_try_at: next, reason, waiting_for: waits }) {
  if (status === "waiting") return `${waitText(waits)}.`;
  if (status !== "queued") return "";
  if (reason === "session_busy") return "Waits until the run before it in its session ends.";
  if (reason === "running_cap") return "Waits until another of your runs ends.";
  if (next && new Date(next) > Date.now()) return `Tried again in ${duration((new Date(next) - Date.now()) / 1000)}.`;
  if (!queue) return "";
  const ahead = queue.ahead ? `About ${number(queue.ahead)} ahead` : "Next in its lane";
  return queue.starts_in_s ? `${ahead}, starts in about ${duration(queue.starts_in_s)}.` : `${ahead}.`;
}
