// A run's events as a list, each with the time since it was submitted.

import { el, setText } from "./dom.js";
import { atDate, seconds } from "./format.js";

export function timeline() {
  const node = el("ol", { class: "timeline", "aria-label": "Events" });
  const shown = []; // [line, its detail]
  let began = null;

  function make(line) {
    began ??= line.at;
    const detail = el("span", { class: "line-detail" });
    const time = el("time", { dateTime: line.at, title: atDate(line.at) }, offset(seconds(began, line.at)));
    const item = el("li", {}, time, el("span", { class: "line-title" }, line.title), detail);
    return { line, item, detail };
  }

  return {
    node,
    show(lines) {
      for (const line of lines.slice(shown.length)) {
        const made = make(line);
        shown.push(made);
        node.append(made.item);
      }
      for (const { line, item, detail } of shown) {
        setText(detail, line.detail);
        if (item.dataset.tone !== line.tone) item.dataset.tone = line.tone;
      }
    },
  };
}

function offset(s) {
  if (s < 60) return `+${s.toFixed(1)} s`;
  if (s < 3600) return `+${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
  return `+${(s / 3600).toFixed(1)} h`;
}
