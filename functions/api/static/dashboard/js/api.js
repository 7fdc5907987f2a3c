// Calls to the API. Addresses are relative: the page may live under any prefix.

import { getKey, signedOut } from "./session.js";

export class ApiError extends Error {
  constructor(status, error, retryAfter) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.limit = error.limit;
    this.retryAfter = retryAfter;
  }
}

// No answer came at all.
export class Offline extends Error {}

const json = (answer) => answer.json().catch(() => null);

export async function call(path, options) {
  return answered(path, options, json);
}

// A file's bytes.
export async function blob(path, options) {
  return answered(path, options, (answer) => (answer.ok ? answer.blob() : json(answer)));
}

async function answered(path, { method = "GET", body, headers = {}, signal, key = getKey() } = {}, read) {
  const sent = { ...headers };
  if (key) sent.Authorization = `Bearer ${key}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Offline("Sluice cannot be reached");
  }
  const found = await read(answer);
  if (answer.ok && found !== null) return found;
  const problem = found?.error ?? { code: "unreadable", message: `unexpected answer (${answer.status})` };
  if (answer.status === 401 && key && key === getKey()) signedOut("This key is no longer accepted.");
  const failed = new ApiError(answer.status, problem, Number(answer.headers.get("Retry-After")) || null);
  failed.body = found;
  throw failed;
}

export const task = (id, options) => call(`result/${encodeURIComponent(id)}`, options);
export const operator = (id, what) => call(`operator/tasks/${encodeURIComponent(id)}/${what}`, { method: "POST" });
export const cancel = (id) => call(`agent/${encodeURIComponent(id)}/cancel`, { method: "POST" });
export const events = (id, after, wait, signal) =>
  call(`result/${encodeURIComponent(id)}/events?after=${after}&wait=${wait}`, { signal });

// The idempotency key makes trying again after a lost answer safe.
export async function submit(body) {
  const headers = { "Idempotency-Key": randomId() };
  for (let n = 0; ; n++) {
    try {
      return await call("agent", { method: "POST", body, headers });
    } catch (error) {
      if (!(error instanceof Offline) || n === 2) throw error;
      await new Promise((done) => setTimeout(done, 500 * (n + 1)));
    }
  }
}

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

// Says what went wrong in a sentence.
export function sentence(error) {
  const text = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  const full = /[.!?]$/.test(text) ? text : `${text}.`;
  return error.retryAfter ? `${full} Try again in ${error.retryAfter} s.` : full;
}
