// The dot in the bar: whether Sluice and what it depends on are well.

import { call } from "./api.js";
import { setText, whileVisible } from "./dom.js";

const EVERY_MS = 20_000;

export function showHealth(node) {
  whileVisible(
    async () => {
      const found = await call("health", { key: null }).catch((error) => error.body ?? { status: "away" });
      const stopped = Object.values(found.breakers ?? {}).some(({ state }) => state !== "closed");
      node.dataset.status = found.status === "ok" && stopped ? "degraded" : (found.status ?? "away");
      setText(node, sentence(found));
    },
    EVERY_MS,
    new AbortController().signal,
  );
}

function sentence({ status, dependencies = {}, breakers = {} }) {
  const stopped = Object.values(breakers).filter(({ state }) => state !== "closed").length;
  if (status === "ok" && stopped) return stopped === 1 ? "A model is stopped" : `${stopped} models are stopped`;
  if (status === "ok") return "Healthy";
  const down = Object.keys(dependencies).filter((name) => dependencies[name].status === "down");
  if (status === "degraded") return `Degraded: ${down.join(", ")} down`;
  return status === "down" ? `Down: ${down.join(", ")}` : "Unreachable";
}
