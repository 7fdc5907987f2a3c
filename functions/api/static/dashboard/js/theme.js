// Light, dark, or as the system says; charts are told when it changes.

const KEY = "sluice.theme";
const ORDER = ["system", "light", "dark"];
const SHOWN = { system: "Auto theme", light: "Light theme", dark: "Dark theme" };
const SAID = { system: "as the system", light: "light", dark: "dark" };
const root = document.documentElement;

const chosen = () => root.dataset.theme ?? "system";

function choose(name) {
  if (name === "system") delete root.dataset.theme;
  else root.dataset.theme = name;
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // Not remembered then; the choice still holds for this page.
  }
  changed();
}

function changed() {
  document.dispatchEvent(new Event("themechange"));
}

export function bindTheme(button) {
  const show = () => {
    button.textContent = SHOWN[chosen()];
    button.setAttribute("aria-label", `Colours: ${SAID[chosen()]}`);
  };
  button.addEventListener("click", () => {
    choose(ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length]);
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  show();
  button.hidden = false;
}

const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);
const resolved = new Map();
document.addEventListener("themechange", () => resolved.clear());

// A colour of the present theme, for what CSS cannot reach (canvases).
export function colour(name) {
  if (!resolved.has(name)) {
    probe.style.color = `var(--${name})`;
    resolved.set(name, getComputedStyle(probe).color);
  }
  return resolved.get(name);
}
