// Approvals: the calls, and the budget, that the caller's runs wait to be allowed.

import * as api from "./api.js";
import { approvalCard, decide } from "./approval.js";
import { alertLine, el, say, whileVisible } from "./dom.js";

const EVERY_MS = 5000;

export function inboxView(main, signal) {
  const cards = el("div", { class: "approvals" });
  const empty = el("p", { class: "empty", hidden: true }, "Nothing waits for you.");
  const problem = alertLine();
  const refused = alertLine(); // what came of an answer: it stays when they are read again
  const shown = new Map(); // fingerprint and task -> card
  let answers = 0;
  main.replaceChildren(
    el("section", { class: "panel wide" }, el("h1", { tabIndex: -1 }, "Approvals"), problem, refused, empty, cards),
  );

  const refresh = whileVisible(
    async () => {
      const before = answers;
      try {
        const { approvals } = await api.call("approvals?limit=100", { signal });
        say(problem, "");
        if (before === answers) show(approvals); // else it may still hold what was answered meanwhile
      } catch (error) {
        if (!signal.aborted) say(problem, api.sentence(error));
      }
    },
    EVERY_MS,
    signal,
  );

  function show(approvals) {
    const keys = new Set();
    for (const one of approvals) {
      const key = `${one.task_id} ${one.fingerprint}`;
      keys.add(key);
      if (shown.has(key)) continue;
      const node = approvalCard(one, answer, el("a", { class: "quiet", href: `#/runs/${one.task_id}` }, "Open the run"));
      shown.set(key, node);
      cards.append(node);
    }
    for (const [key, node] of shown) {
      if (keys.has(key)) continue;
      node.remove();
      shown.delete(key);
    }
    empty.hidden = shown.size > 0;
  }

  async function answer(one, body) {
    say(refused, "");
    try {
      await decide(one, body);
      answers += 1;
      const key = `${one.task_id} ${one.fingerprint}`;
      shown.get(key)?.remove();
      shown.delete(key);
      empty.hidden = shown.size > 0;
    } catch (error) {
      say(refused, api.sentence(error));
    }
    refresh();
  }

  return { show: (_, { focus }) => focus && main.querySelector("h1").focus() };
}
