// The form that submits a run.

import { call, sentence, submit } from "./api.js";
import { alertLine, el, say } from "./dom.js";
import { capital } from "./format.js";
import { panel } from "./parts.js";
import { keepForm, keepMessage, lastForm } from "./session.js";

const { agents: KNOWN_AGENTS, model: DEFAULT_MODEL } = document.body.dataset;

export function composer(me, { onSubmitted, signal }) {
  const last = lastForm();
  const message = el("textarea", { id: "message", name: "message", rows: 4, required: true, on: { keydown: shortcut } });
  const agent = select("agent", agentsOf(me).map((name) => [name, capital(name)]), last.agent);
  const models = el("datalist", { id: "models" });
  const model = el("input", {
    id: "model",
    name: "model",
    list: "models",
    value: last.model ?? "",
    placeholder: DEFAULT_MODEL,
    autocomplete: "off",
    spellcheck: false,
  });
  const session = el("input", {
    id: "session",
    name: "session",
    value: last.session ?? "",
    placeholder: "none",
    autocomplete: "off",
    spellcheck: false,
    maxLength: 128,
  });
  const lanes = me.lanes.map((name) => [name, capital(name)]);
  const priority = select("priority", lanes, last.priority ?? me.lanes[0]);
  const problem = alertLine({ id: "submit-problem" });
  const button = el("button", { type: "submit", class: "primary" }, "Run");
  const form = el(
    "form",
    { class: "composer", "aria-label": "New run", on: { submit: send } },
    field("Message", message),
    el(
      "div",
      { class: "fields" },
      field("Agent", agent),
      field("Priority", priority),
      field("Model", model, models),
      field("Session", session),
    ),
    problem,
    el("div", { class: "actions" }, button, el("span", { class: "help keys" }, "Ctrl + Enter")),
  );
  call("v1/models", { signal })
    .then(({ data }) => models.append(...data.map(({ id }) => el("option", { value: id }))))
    .catch(() => {}); // suggestions only

  function shortcut(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  }

  async function send(event) {
    event.preventDefault();
    if (!message.value.trim() || button.disabled) return;
    const text = message.value;
    const from = location.hash;
    const body = { message: text, agent: agent.value, priority: priority.value };
    if (model.value.trim()) body.model = model.value.trim();
    if (session.value.trim()) body.session_id = session.value.trim();
    keepForm({ agent: agent.value, priority: priority.value, model: model.value, session: session.value });
    button.disabled = true;
    say(problem, "");
    try {
      const { task_id: id } = await submit(body);
      keepMessage(id, text);
      if (message.value === text) message.value = ""; // else the next one is being written
      onSubmitted(id, from);
    } catch (error) {
      say(problem, sentence(error));
      message.focus();
    } finally {
      button.disabled = false;
    }
  }

  return panel("New run", form);
}

function agentsOf(me) {
  const known = KNOWN_AGENTS.split(" ").filter(Boolean);
  return me.agents.includes("*") ? known : known.filter((name) => me.agents.includes(name));
}

function field(label, control, ...more) {
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control, ...more);
}

function select(name, options, chosen) {
  const node = el("select", { id: name, name }, ...options.map(([value, text]) => el("option", { value }, text)));
  if (options.some(([value]) => value === chosen)) node.value = chosen;
  return node;
}
