// The view of runs: the form and the limits at the side, the list or one run beside them.

import { composer } from "./composer.js";
import { announce, el } from "./dom.js";
import { limitsPanel } from "./limits.js";
import { runView } from "./run.js";
import { runsList } from "./runs.js";

const SETTLED_MS = 2000;

export function runsView(main, me, signal) {
  const limits = limitsPanel(me, signal);
  const form = composer(me, { signal, onSubmitted: open });
  const place = el("div", { class: "place" });
  const node = el("div", { class: "runs-view" }, el("div", { class: "rail" }, form, limits.node), place);
  let shown = null; // stops what is shown in `place`
  main.replaceChildren(node);

  // What a run held is given back a moment after its last event.
  function ended() {
    limits.refresh();
    setTimeout(() => signal.aborted || limits.refresh(), SETTLED_MS);
  }

  // Who has gone elsewhere meanwhile stays there.
  function open(id, from) {
    limits.refresh();
    if (location.hash === from) location.hash = `#/runs/${id}`;
    else announce("Run submitted");
  }

  return {
    show(id, { focus }) {
      shown?.abort();
      shown = new AbortController();
      signal.addEventListener("abort", () => shown.abort(), { once: true });
      node.dataset.showing = id ? "run" : "list";
      const made = id
        ? runView(id, { signal: shown.signal, onEnded: ended })
        : runsList(shown.signal);
      place.replaceChildren(made.node);
      if (focus) (made.heading ?? made.node.querySelector("h1")).focus();
    },
  };
}
