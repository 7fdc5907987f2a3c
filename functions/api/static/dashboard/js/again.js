// What may be done with a run that has ended: run it again, or go on from one of its steps.

import * as api from "./api.js";
import { el, say } from "./dom.js";

export function againPanel(id, { problem, onMade }) {
  const steps = el("select", { "aria-label": "Step to go on from" });
  const message = el("input", { maxLength: 10_000, autocomplete: "off", placeholder: "as before" });
  const retry = el("button", { type: "button", class: "quiet", on: { click: () => make("retry") } }, "Run again");
  const fork = el("button", { type: "button", class: "quiet", on: { click: () => make("fork") } }, "Fork after this step");
  const known = new Set();
  const forking = el(
    "div",
    { class: "fork" },
    el("label", { class: "field" }, el("span", {}, "Step"), steps),
    el("label", { class: "field" }, el("span", {}, "Another message"), message),
    fork,
  );
  const node = el("details", { class: "again", hidden: true }, el("summary", {}, "Run again or fork"), retry, forking);

  async function make(what) {
    retry.disabled = fork.disabled = true;
    say(problem, "");
    try {
      const body = {};
      if (what === "fork") {
        const [name, n] = JSON.parse(steps.value);
        body.after = { name, n };
        if (message.value.trim()) body.message = message.value.trim();
      }
      const made = await api.submit(body, `agent/${encodeURIComponent(id)}/${what}`);
      onMade(made.task_id);
    } catch (error) {
      say(problem, api.sentence(error));
    } finally {
      retry.disabled = fork.disabled = false;
    }
  }

  return {
    node,
    add({ type, data }) {
      if (type !== "step" || typeof data.step !== "string") return;
      const value = JSON.stringify([data.step, data.n ?? 1]);
      if (known.has(value)) return;
      known.add(value);
      steps.append(el("option", { value }, (data.n ?? 1) > 1 ? `${data.step}, use ${data.n}` : data.step));
    },
    show(ended) {
      node.hidden = !ended;
      forking.hidden = known.size === 0;
    },
  };
}
