// One run's events over the streaming address, where there is one: an `EventSource` for each run that is followed.

import { call } from "./api.js";

const sources = new Map(); // task id -> its EventSource

export const parts = true;

// Whether this deployment has a streaming address.
export const streams = () => document.body.dataset.stream === "true";

// Resolves when the stream is open. `onEvent(event)` gets each message, parts of an event's text too (`partial`); `onLost`
// is called once if the stream goes; `signal` aborts when nobody watches any more. The browser itself comes again after a break, from where it was.
export async function subscribe(taskId, after, { onEvent, onLost }, signal) {
  const { url } = await call(`stream-ticket?task_id=${encodeURIComponent(taskId)}`, { method: "POST", signal });
  unsubscribe(taskId);
  const source = new EventSource(`${url}&after=${after}`);
  sources.set(taskId, source);
  let opened = false;
  await new Promise((done, failed) => {
    const lost = () => {
      if (sources.get(taskId) === source) sources.delete(taskId);
      source.close();
      if (opened) onLost();
      else failed(new Error("the stream was refused"));
    };
    source.onopen = () => {
      opened = true;
      done();
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED || !opened) lost();
    };
    source.onmessage = ({ data }) => onEvent(JSON.parse(data));
    source.addEventListener("end", () => source.close());
    source.addEventListener("busy", lost);
  });
}

export function unsubscribe(taskId) {
  sources.get(taskId)?.close();
  sources.delete(taskId);
}
