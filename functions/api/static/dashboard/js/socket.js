// One WebSocket for the page. It is opened with a one-use ticket when somebody first subscribes, and shared.

import { call } from "./api.js";

const PING_MS = 4 * 60_000; // API Gateway closes a connection that is idle for ten minutes

const subscribers = new Map(); // task id -> { onEvent, onLost }
let opening = null; // the connection that there is, or is to be

// Resolves when the subscription was sent; `onLost` is called once if the connection goes afterwards.
export async function subscribe(taskId, after, handlers, signal) {
  const socket = await open();
  signal.throwIfAborted(); // another may watch the same run by now
  subscribers.set(taskId, handlers);
  send(socket, { action: "subscribe", task_id: taskId, after });
}

export async function unsubscribe(taskId) {
  if (!subscribers.delete(taskId) || opening === null) return;
  const socket = await opening.catch(() => null);
  if (socket?.readyState === WebSocket.OPEN) send(socket, { action: "unsubscribe", task_id: taskId });
}

// Ends the connection (sign-out): the next subscription opens another, as whoever is then signed in.
export function close() {
  opening?.then((socket) => socket.close()).catch(() => {});
  lost();
}

function open() {
  if (opening) return opening;
  // One that ends late, after sign-out, takes nothing from the next one.
  const mine = connect(() => opening === mine && lost());
  mine.catch(() => opening === mine && lost());
  opening = mine;
  return mine;
}

async function connect(onLost) {
  const { ticket, url } = await call("stream-ticket", { method: "POST" });
  const socket = new WebSocket(`${url}?ticket=${encodeURIComponent(ticket)}`);
  await new Promise((done, failed) => {
    socket.onopen = done;
    socket.onclose = () => failed(new Error("the live connection was refused"));
  });
  const ping = setInterval(() => send(socket, { action: "ping" }), PING_MS);
  socket.onmessage = ({ data }) => receive(data);
  socket.onclose = () => {
    clearInterval(ping);
    onLost();
  };
  return socket;
}

function send(socket, message) {
  socket.send(JSON.stringify(message));
}

function receive(data) {
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    return; // no message of ours
  }
  if (message.type === "error" && !message.task_id) close(); // which subscription is not said: all start over
  else if (message.seq) subscribers.get(message.task_id)?.onEvent(message);
}

function lost() {
  opening = null;
  const left = [...subscribers.values()];
  subscribers.clear();
  for (const { onLost } of left) onLost();
}
