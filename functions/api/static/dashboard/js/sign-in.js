// Asks for the key, once a tab.

import { call, sentence } from "./api.js";
import { alertLine, el, say } from "./dom.js";
import { setKey } from "./session.js";

export function showSignIn(main, why, onSignedIn) {
  const key = el("input", {
    id: "key",
    name: "key",
    type: "password",
    autocomplete: "off",
    spellcheck: false,
    required: true,
    "aria-describedby": "key-help key-problem",
  });
  const problem = alertLine({ id: "key-problem" }, why);
  const button = el("button", { type: "submit", class: "primary" }, "Sign in");
  const form = el(
    "form",
    { class: "panel sign-in", on: { submit: enter } },
    el("h1", {}, "Sign in"),
    el("div", { class: "field" }, el("label", { for: "key" }, "API key"), key),
    el("p", { class: "help", id: "key-help" }, "Kept in this tab only, until you sign out or close it."),
    problem,
    button,
  );

  async function enter(event) {
    event.preventDefault();
    const given = key.value.trim();
    if (!given) return;
    button.disabled = true;
    say(problem, "");
    try {
      const me = await call("limits", { key: given });
      setKey(given);
      onSignedIn(me);
    } catch (error) {
      say(problem, error.status === 401 ? "This key is not known." : sentence(error));
      key.setAttribute("aria-invalid", "true");
      key.select();
      key.focus();
    } finally {
      button.disabled = false;
    }
  }

  main.replaceChildren(form);
  key.focus();
}
