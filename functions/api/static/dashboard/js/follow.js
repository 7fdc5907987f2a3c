// Follows a run's numbered events to its end: over the streaming address where there is one, else over the WebSocket, and
// by long polls for as long as both are away. Whatever way an event comes, it is handed on once, in order, after the last
// one that was seen. Text may come in parts, before its event is stored; the event then brings the rest.

import * as api from "./api.js";
import * as socket from "./socket.js";
import * as stream from "./stream.js";

const ENDS = new Set(["complete", "failed", "cancelled"]);
const WAIT_S = 20;
const CONNECTING_WAIT_S = 2;
const QUIET_MS = 8000; // after so long without news the log itself is asked
const FIRST_POLL_MS = 5000; // how long to poll before a lost socket is tried again; doubles
const LONGEST_POLL_MS = 60_000;
const PAUSE_MS = 2000;

// `onEvents(events)`, `onMode("live" | "polling" | "offline" | "ended")`, `onGone()` when there is no such run.
export function follow(taskId, { onEvents, onMode, onGone, signal }) {
  return new Follower(taskId, { onEvents, onMode, onGone }, signal).run();
}

class Follower {
  constructor(taskId, on, signal) {
    Object.assign(this, { taskId, on, signal, last: 0, part: "", ended: false, linked: false, finish: null });
  }

  get done() {
    return this.ended || this.signal.aborted;
  }

  async run() {
    await this.attempt(() => this.read(0));
    for (let polls = FIRST_POLL_MS; !this.done; polls = Math.min(polls * 2, LONGEST_POLL_MS)) {
      const before = Date.now();
      let over = false;
      const live = this.byStream()
        .catch(() => {})
        .then(() => (this.done ? null : this.live(socket)))
        .catch(() => {})
        .finally(() => {
          over = true;
          this.linked = false;
        });
      await this.poll(() => !over && !this.linked, () => CONNECTING_WAIT_S);
      if (!this.done) await live;
      if (Date.now() - before > LONGEST_POLL_MS) polls = FIRST_POLL_MS; // it had worked well
      const until = Date.now() + polls;
      await this.poll(() => Date.now() < until, () => Math.min(WAIT_S, Math.max(1, (until - Date.now()) / 1000)));
    }
    if (this.ended && !this.signal.aborted) this.on.onMode("ended");
  }

  // Takes what follows on what was seen; false when something between is missing.
  take(events) {
    const fresh = [];
    for (const event of events) {
      if (event.seq <= this.last) continue;
      if (event.seq !== this.last + 1) break;
      fresh.push(this.part ? this.rest(event) : event);
      this.last = event.seq;
      this.part = "";
      if (ENDS.has(event.type)) this.ended = true;
    }
    if (fresh.length && !this.signal.aborted) this.on.onEvents(fresh);
    if (this.ended) this.finish?.done();
    return !events.length || events.at(-1).seq <= this.last;
  }

  // Takes a part of the next event's text.
  takePart(event) {
    if (event.seq !== this.last + 1 || this.signal.aborted) return;
    this.part += event.data.text;
    this.on.onEvents([event]);
  }

  // Takes the event that a stream had told parts of: it brings only the rest.
  takeRest(event) {
    this.part = "";
    this.take([event]);
  }

  // Where a stream is to go on: it counts characters, not halves of them.
  get place() {
    return this.part ? `${this.last}.${[...this.part].length}` : this.last;
  }

  // An event without the text that was had of it in parts.
  rest(event) {
    if (!event.data.call || event.data.text === undefined) return event; // another one: it voids that text
    return { ...event, data: { ...event.data, text: event.data.text.slice(this.part.length) } };
  }

  async byStream() {
    if (stream.streams()) await this.live(stream);
  }

  async read(wait) {
    const page = await api.events(this.taskId, this.last, wait, this.signal);
    this.take(page.events);
    if (ENDS.has(page.status) && this.last >= page.last_seq) this.ended = true;
    return page.events.length;
  }

  // Runs a call to the API; tells who watches when it fails, and pauses.
  async attempt(work) {
    try {
      await work();
    } catch (error) {
      if (this.done) return;
      if (error.status === 401 || error.status === 404) {
        this.ended = true;
        this.on.onGone(error);
        return;
      }
      this.on.onMode("offline");
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
  }

  async poll(goesOn, wait) {
    while (!this.done && goesOn()) {
      await this.attempt(async () => {
        await this.read(wait());
        if (!this.done && !this.linked) this.on.onMode("polling");
      });
    }
  }

  // Resolves when the run ended or nobody watches any more, rejects when the connection does not come or is lost.
  // A way that `parts` brings text before its event is stored.
  async live({ subscribe, unsubscribe, parts = false }) {
    let heard = Date.now();
    let filling = false;
    let finish;
    const over = new Promise((done, failed) => (finish = { done, failed }));
    over.catch(() => {});
    this.finish = finish;
    const fill = async () => {
      if (filling || this.done) return 0;
      filling = true;
      try {
        return await this.read(0);
      } catch {
        finish.failed(new Error("the log cannot be read"));
        return 0;
      } finally {
        filling = false;
      }
    };
    const handlers = {
      onEvent: (event) => {
        heard = Date.now();
        if (event.partial) this.takePart(event);
        else if (parts && event.seq === this.last + 1) this.takeRest(event);
        else if (!this.take([event])) fill();
      },
      onLost: () => finish.failed(new Error("the live connection was lost")),
    };
    await subscribe(this.taskId, parts ? this.place : this.last, handlers, this.signal);
    if (this.done) finish.done();
    else {
      this.linked = true;
      this.on.onMode("live");
    }
    const quiet = setInterval(async () => {
      if (Date.now() - heard < QUIET_MS) return;
      heard = Date.now();
      // News that the socket did not bring: the worker gave this watcher up, or was replaced. Subscribe afresh.
      if ((await fill()) && !this.done) subscribe(this.taskId, parts ? this.place : this.last, handlers, this.signal).catch(finish.failed);
    }, 1000);
    this.signal.addEventListener("abort", finish.done, { once: true });
    try {
      await over;
    } finally {
      clearInterval(quiet);
      unsubscribe(this.taskId);
    }
  }
}
