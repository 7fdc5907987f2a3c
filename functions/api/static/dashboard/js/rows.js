// The rows of a list of runs, newest first. Its first page is read again and again, those after it when they are wanted.

import { sentence } from "./api.js";
import { say } from "./dom.js";
import { LIVE } from "./parts.js";

export class Rows {
  // `make(id)` makes a row, `show(row, task)` fills it. `read(cursor, signal)` gets a page, the first one without a
  // cursor, until `signal` aborts; `problem` says why it could not. `onRead()` is called after each.
  constructor(body, { make, show, read, signal, problem, onRead }) {
    Object.assign(this, { body, make, show, read, signal, problem, onRead, rows: new Map(), older: null, begun: new AbortController() });
  }

  get empty() {
    return this.rows.size === 0;
  }

  get anyLive() {
    return [...this.rows.values()].some(({ task }) => LIVE.has(task.status));
  }

  async load(cursor = null) {
    // When the list begins anew, what was asked for the former one is of no use.
    const asked = AbortSignal.any([this.signal, this.begun.signal]);
    try {
      const page = await this.read(cursor, asked);
      say(this.problem, "");
      if (cursor) this.more(page);
      else this.first(page);
      this.onRead();
    } catch (error) {
      if (!asked.aborted) say(this.problem, sentence(error));
    }
  }

  // What `button` is for: the page after the last one that is shown.
  async loadOlder(button) {
    button.disabled = true;
    await this.load(this.older);
    button.disabled = false;
  }

  // Shows the table or that it is empty, and the button if there is more.
  reveal(table, empty, more) {
    table.hidden = this.empty;
    empty.hidden = !this.empty;
    more.hidden = !this.older;
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

  // Shows a row as what is known of it now asks for, if it is there still.
  redraw(id) {
    const row = this.rows.get(id);
    if (row) this.show(row, row.task);
  }

  row(task) {
    const row = this.rows.get(task.task_id) ?? this.make(task.task_id);
    this.rows.set(task.task_id, row);
    this.show(row, task);
    return row;
  }
}
