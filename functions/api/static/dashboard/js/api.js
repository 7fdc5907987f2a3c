// Calls to the API. Addresses are relative: the page may live under any prefix.

import { drop, getKey, load, ofSession, save, signedOut } from "./session.js";

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

const UNREADABLE = "unreadable";

const json = (answer) => answer.json().catch(() => null);

export async function call(path, options) {
  return answered(path, options, json);
}

// A file's bytes.
export async function blob(path, options) {
  return answered(path, options, (answer) => (answer.ok ? answer.blob() : json(answer)));
}

// Without a `key` of its own (null: none) a call is made as who is signed in, and ends when they sign out.
async function answered(path, { key, signal, ...request } = {}, read) {
  if (key !== undefined) return asked(path, { ...request, key, signal }, read);
  const mine = getKey();
  if (!mine) throw new ApiError(401, { code: "signed_out", message: "you are signed out" });
  return asked(path, { ...request, key: mine, signal: AbortSignal.any([ofSession(), ...(signal ? [signal] : [])]) }, read);
}

async function asked(path, { method = "GET", body, headers = {}, signal, key }, read) {
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
  const problem = found?.error ?? { code: UNREADABLE, message: `unexpected answer (${answer.status})` };
  if (answer.status === 401 && key && key === getKey()) signedOut("This key is no longer accepted.");
  const failed = new ApiError(answer.status, problem, Number(answer.headers.get("Retry-After")) || null);
  failed.body = found;
  throw failed;
}

export const task = (id, options) => call(`result/${encodeURIComponent(id)}`, options);
export const ofOperator = (id, what) => `operator/tasks/${encodeURIComponent(id)}/${what}`;
export const operator = (id, what) => call(ofOperator(id, what), { method: "POST" });
export const cancel = (id) => call(`agent/${encodeURIComponent(id)}/cancel`, { method: "POST" });
export const events = (id, after, wait, signal) =>
  call(`result/${encodeURIComponent(id)}/events?after=${after}&wait=${wait}`, { signal });

const UNSURE = "sluice.unsure"; // what may have made a run, though no answer said so: { asked, id }

// Begins a run. The idempotency key makes trying again after a lost answer safe, here and by who asks the same next,
// also on the page loaded anew.
// Who signs in meanwhile does not go on with it.
export async function submit(body, path = "agent") {
  const asked = JSON.stringify([path, body]);
  const before = load(UNSURE, null);
  const id = before?.asked === asked ? before.id : randomId();
  save(UNSURE, { asked, id });
  const headers = { "Idempotency-Key": id };
  const signal = ofSession();
  for (let n = 0; ; n++) {
    try {
      const made = await call(path, { method: "POST", body, headers, signal });
      drop(UNSURE);
      return made;
    } catch (error) {
      if (!(error instanceof Offline || error.status >= 500 || error.code === UNREADABLE)) drop(UNSURE);
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
