// Small things that several views show.

import { el, setText } from "./dom.js";

const STATUS = {
  queued: "Queued",
  processing: "Running",
  waiting: "Waiting",
  complete: "Complete",
  failed: "Failed",
  cancelled: "Cancelled",
  cancelling: "Stopping",
};

export const LIVE = new Set(["queued", "processing", "waiting"]);

export function badge(status) {
  const node = el("span", { class: "badge" });
  setBadge(node, status);
  return node;
}

export function setBadge(node, status) {
  if (node.dataset.status === status) return;
  node.dataset.status = status;
  setText(node, STATUS[status] ?? status);
}

// A bar of what is used (and held) of a limit.
export function meter(label) {
  const used = el("span", { class: "meter-used" });
  const held = el("span", { class: "meter-held" });
  const node = el("div", { class: "meter", role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuenow": "0" }, used, held);
  return {
    node,
    set(value, reserved, limit, text) {
      const share = (n) => Math.min(1, limit ? n / limit : 0);
      const usedShare = share(value);
      used.style.width = `${usedShare * 100}%`;
      held.style.width = `${Math.min(1 - usedShare, share(reserved)) * 100}%`;
      node.dataset.level = share(value + reserved) >= 0.9 ? "high" : "";
      node.setAttribute("aria-valuemax", String(limit));
      node.setAttribute("aria-valuenow", String(Math.min(value, limit)));
      node.setAttribute("aria-valuetext", text);
    },
  };
}

export function panel(title, ...children) {
  return el("section", { class: "panel" }, el("h2", {}, title), ...children);
}
