// What is known of a run, as a list of names and values.

import { el, setText } from "./dom.js";
import { DASH, atDate, duration, money, number, seconds } from "./format.js";

export function facts(id) {
  const values = {};
  const node = el("dl", { class: "facts" });
  const row = (name, label) => {
    values[name] = el("dd", {}, DASH);
    node.append(el("div", {}, el("dt", {}, label), values[name]));
  };
  row("agent", "Agent");
  row("model", "Model");
  row("session", "Session");
  row("lane", "Lane");
  row("submitted", "Submitted");
  row("waited", "Waited");
  row("ran", "Ran");
  row("tokens", "Tokens in, out");
  row("cost", "Cost");
  row("attempts", "Failed attempts");
  row("id", "Task");
  values.id.className = "code";
  setText(values.id, id);
  return {
    node,
    show(task) {
      const { usage } = task;
      const shown = {
        agent: task.agent,
        model: task.model,
        session: task.session_id ?? DASH,
        lane: task.lane,
        submitted: atDate(task.created_at),
        waited: task.started_at ? duration(seconds(task.created_at, task.started_at)) : DASH,
        ran: task.started_at && task.ended_at ? duration(seconds(task.started_at, task.ended_at)) : DASH,
        tokens: usage ? `${number(usage.input_tokens)}, ${number(usage.output_tokens)}` : DASH,
        cost: money(usage?.cost_usd),
        attempts: number(task.attempts),
      };
      for (const [name, text] of Object.entries(shown)) setText(values[name], text);
    },
  };
}
