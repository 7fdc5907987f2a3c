// What a run's events amount to: the text that stands, and a line for everything that happened. Knows no page.

import { capital, duration, money, number, words } from "./format.js";
import { waitText } from "./waiting.js";

const TITLES = {
  queued: "Queued",
  started: "Started",
  step: "Step recorded",
  tool_call: "Tool called",
  tool_result: "Tool answered",
  retry: "To be tried again",
  deferred: "Deferred",
  resumed: "Resumed",
  waiting: "Waiting",
  woken: "Woken",
  complete: "Complete",
  failed: "Failed",
  cancelled: "Cancelled",
};
const TONES = { retry: "warn", deferred: "warn", resumed: "warn", complete: "good", failed: "bad", cancelled: "off" };

export class Transcript {
  constructor() {
    this.calls = new Map(); // id of a model call -> its text so far, in the order that they began
    this.lines = [];
    this.streams = new Map(); // id of a model call -> its line
    this.calling = new Map(); // id of a tool call that is the client's -> its line
    this.response = null;
    this.status = "queued";
    this.error = null;
  }

  add(event) {
    const { type, data } = event;
    for (const call of data.void ?? []) this.void(call);
    if (type === "token") {
      this.token(event);
      return;
    }
    if (type === "tool_arguments") {
      this.arguments(event);
      return;
    }
    if (type === "queued" || type in { retry: 1, deferred: 1 }) this.status = "queued";
    else if (type === "woken") this.status = "queued";
    else if (type === "waiting") this.status = "waiting";
    else if (type === "started" || type === "resumed") this.status = "processing";
    else if (type in { complete: 1, failed: 1, cancelled: 1 }) {
      this.status = type;
      this.response = data.response ?? null;
      this.error = data.error ?? null;
    }
    this.lines.push({
      seq: event.seq,
      at: event.at,
      title: type === "step" && data.error ? "Step failed" : (TITLES[type] ?? capital(words(type))),
      detail: detail(type, data),
      tone: type === "step" && data.error ? "warn" : (TONES[type] ?? ""),
    });
  }

  token({ seq, at, data }) {
    const text = (this.calls.get(data.call) ?? "") + data.text;
    this.calls.set(data.call, text);
    let line = this.streams.get(data.call);
    if (!line) {
      line = { seq, at, title: "Reply streamed", detail: "", tone: "live" };
      this.streams.set(data.call, line);
      this.lines.push(line);
    }
    line.detail = `${data.call}, ${number(text.length)} characters`;
  }

  // A call that the client is to make, while the model writes it.
  arguments({ seq, at, data }) {
    let line = this.calling.get(data.id);
    if (!line) {
      line = { seq, at, title: "Call streamed", detail: "", tone: "live", call: data.call, text: "" };
      this.calling.set(data.id, line);
      this.lines.push(line);
    }
    if (line.call !== data.call) Object.assign(line, { call: data.call, text: "", tone: "live" });
    line.text += data.text;
    line.detail = `${data.tool} ${line.text}`;
  }

  // A worker died in the middle of this reply; it is asked for again, and may read differently.
  void(call) {
    this.calls.delete(call);
    for (const line of this.calling.values()) {
      if (line.call === call) line.tone = "warn";
    }
    const line = this.streams.get(call);
    if (!line) return;
    this.streams.delete(call);
    line.detail = `${call}, interrupted and discarded`;
    line.tone = "warn";
  }

  // The text of the last call that stands, or the response itself once there is one.
  get text() {
    if (this.response !== null) return this.response;
    return [...this.calls.values()].at(-1) ?? "";
  }
}

function detail(type, data) {
  switch (type) {
    case "queued":
      return data.lane ? `Lane ${data.lane}` : "";
    case "started":
      return data.agent ? `Agent ${data.agent}` : "";
    case "step":
      if (data.error) return `${data.step}: ${data.error.message ?? data.error.code}`;
      if (data.call) return `${data.call}, ${data.model}, ${number(data.tokens)} tokens`;
      return data.ms === undefined ? String(data.step ?? "") : `${data.step} in ${duration(data.ms / 1000)}`;
    case "tool_call":
      return `${data.tool} ${JSON.stringify(data.arguments ?? {})}`;
    case "tool_result":
      return `${data.tool}: ${data.result}`;
    case "retry":
      return `Attempt ${data.attempt} in ${duration(data.delay_s)}: ${data.error?.message ?? data.error?.code ?? ""}`;
    case "deferred":
      return `${capital(words(data.reason ?? ""))}, again in ${duration(data.delay_s)}`;
    case "resumed":
      return `${number(data.steps ?? 0)} recorded steps are kept`;
    case "failed":
      return data.error ? `${data.error.code}: ${data.error.message ?? ""}` : "";
    case "waiting":
      return waitText(data.for);
    case "woken":
      return data.waited_s === undefined ? "" : `After ${duration(data.waited_s)}`;
    case "budget_raised":
      return `${data.limit} by ${String(data.limit).startsWith("tokens") ? `${number(data.by)} tokens` : money(data.by)}`;
    case "complete":
    case "cancelled":
      return "";
    default:
      return Object.keys(data).length ? JSON.stringify(data) : "";
  }
}
