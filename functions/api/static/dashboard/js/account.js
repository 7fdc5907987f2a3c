// What a user sets for themselves: where they are told of their budget, and a provider's key of their own.

import { alertsPanel } from "./alerts.js";
import { el } from "./dom.js";
import { ownKeyPanel } from "./own-key.js";

export function accountView(main, signal) {
  main.replaceChildren(
    el(
      "div",
      { class: "account-view" },
      el("div", { class: "panel-head" }, el("h1", { tabIndex: -1 }, "Account")),
      alertsPanel(signal),
      ownKeyPanel(signal),
    ),
  );
  return { show: (_, { focus }) => focus && main.querySelector("h1").focus() };
}
