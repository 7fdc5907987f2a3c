// The dot in the bar: whether Sluice and what it depends on are well.

import { call } from "./api.js";
import { setText, whileVisible } from "./dom.js";

const EVERY_MS = 20_000;

export function showHealth(node) {
  whileVisible(
    async () => {
      const found = await call("health", { key: null }).catch((error) => error.body ?? { status: "away" });
      node.dataset.status = found.status ?? "away";
      setText(node, sentence(found));
    },
    EVERY_MS,
    new AbortController().signal,
  );
}

function sentence({ status, dependencies = {} }) {
  if (status === "ok") return "Healthy";
  const down = Object.keys(dependencies).filter((name) => dependencies[name].status === "down");
  if (status === "degraded") return `Degraded: ${down.join(", ")} down`;
  return status === "down" ? `Down: ${down.join(", ")}` : "Unreachable";
}
