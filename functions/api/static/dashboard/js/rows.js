// The rows of a list of runs, newest first. Its first page is read again and again, those after it when they are wanted.

import { LIVE } from "./parts.js";

export class Rows {
  // `make(id)` makes a row, `show(row, task)` fills it.
  constructor(body, make, show) {
    Object.assign(this, { body, make, show, rows: new Map(), older: null, begun: new AbortController() });
  }

  get empty() {
    return this.rows.size === 0;
  }

  get anyLive() {
    return [...this.rows.values()].some(({ task }) => LIVE.has(task.status));
  }

  // Aborts with `signal`, and when the list begins anew: what was asked for the former one is of no use then.
  asked(signal) {
    return AbortSignal.any([signal, this.begun.signal]);
  }

  clear() {
    this.begun.abort();
    this.begun = new AbortController();
    this.older = null;
    this.rows.clear();
    this.body.replaceChildren();
  }

  // Takes the first page as it is now. A row among its own that it does not have fits no more; those below stay.
  first({ tasks, next_cursor: cursor }) {
    const ids = new Set(tasks.map(({ task_id: id }) => id));
    const fits = ({ dataset }) => ids.has(dataset.task);
    if (tasks.length && ![...this.body.children].some(fits)) this.clear(); // more came than a page holds
    const shown = [...this.body.children];
    const below = cursor ? shown.findLastIndex(fits) + 1 : shown.length;
    for (const node of shown.slice(0, below)) {
      if (fits(node)) continue;
      node.remove();
      this.rows.delete(node.dataset.task);
    }
    if (below === shown.length) this.older = cursor;
    let place = this.body.firstChild;
    for (const task of tasks) {
      const { node } = this.row(task);
      if (node === place) place = place.nextSibling;
      else this.body.insertBefore(node, place);
    }
  }

  // Takes the page after the last one that is shown.
  more({ tasks, next_cursor: cursor }) {
    this.older = cursor;
    for (const task of tasks) {
      const { node } = this.row(task);
      if (!node.parentNode) this.body.append(node);
    }
  }

  row(task) {
    const row = this.rows.get(task.task_id) ?? this.make(task.task_id);
    this.rows.set(task.task_id, row);
    this.show(row, task);
    return row;
  }
}
