// A button that copies a text, and says that it did.

import { announce, el, setText } from "./dom.js";

const SAID_MS = 1500;

export function copyButton(label, text) {
  const node = el("button", { type: "button", class: "quiet copy" }, label);
  node.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      setText(node, "Copied");
      announce("Copied");
    } catch {
      setText(node, "Not copied: the browser forbids it");
    }
    setTimeout(() => setText(node, label), SAID_MS);
  });
  return node;
}
