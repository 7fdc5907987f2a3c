// What this tab remembers: the key, the last form, the messages that were submitted. Gone when the tab is closed.

const KEY = "sluice.key";
const FORM = "sluice.form";
const MESSAGES = "sluice.messages";
const MESSAGES_KEPT = 50;
const MESSAGE_CHARACTERS = 2000;

let onSignedOut = () => {};
let session = new AbortController();
const forgetters = [];

export const getKey = () => sessionStorage.getItem(KEY);
export const setKey = (key) => sessionStorage.setItem(KEY, key);

// Aborts when who is signed in now signs out: what they began ends there, and goes on as nobody else.
export const ofSession = () => session.signal;

export function whenSignedOut(listener) {
  onSignedOut = listener;
}

// Has what a module remembers by itself forgotten at sign-out: whoever signs in next may be another.
export const whenForgotten = (forget) => forgetters.push(forget);

export function signedOut(why = "") {
  session.abort();
  session = new AbortController();
  for (const forget of forgetters) forget(); // first: views keep what there is when they are left
  for (const name of Object.keys(sessionStorage)) {
    if (name.startsWith("sluice.")) sessionStorage.removeItem(name);
  }
  onSignedOut(why);
}

export function load(name, otherwise) {
  try {
    return JSON.parse(sessionStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function save(name, value) {
  try {
    sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // Full: what is kept here is a convenience only.
  }
}

export const drop = (name) => sessionStorage.removeItem(name);

export const lastForm = () => load(FORM, {});
export const keepForm = (form) => save(FORM, form);

export function keepMessage(id, message) {
  const kept = load(MESSAGES, []).filter(([known]) => known !== id);
  kept.unshift([id, message.slice(0, MESSAGE_CHARACTERS)]);
  save(MESSAGES, kept.slice(0, MESSAGES_KEPT));
}

export const messageOf = (id) => load(MESSAGES, []).find(([known]) => known === id)?.[1] ?? null;
