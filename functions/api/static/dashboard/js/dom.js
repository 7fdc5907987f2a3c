// Makes elements. Text only ever becomes text: nothing on this page is made from HTML strings.

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    else if (name === "class") node.className = value;
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Sets text only when it differs, so that screen readers and selections are left in peace.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A line for what went wrong: it is a problem only while it says one (`say`).
export function alertLine(props = {}, text = "") {
  const line = el("p", { role: "alert", ...props });
  say(line, text);
  return line;
}

export function say(line, text) {
  setText(line, text);
  line.classList.toggle("problem", text !== "");
}

export function announce(text) {
  setText(document.getElementById("announce"), text);
}

// Does what a button is for, once: those of `node`, or itself, do nothing more before it is done. They keep the focus.
// It is done when its own answer has come: a press after that must not be lost, however long the next look takes.
export async function busy(node, work) {
  if (node.ariaBusy) return;
  node.ariaBusy = "true";
  try {
    await work();
  } finally {
    node.ariaBusy = null;
  }
}

// Runs `work` now and every so many milliseconds while the page can be seen, until `signal` aborts.
// One run at a time; a delay may be a function, asked after each run.
export function whileVisible(work, delay, signal) {
  let timer = 0;
  let running = false;
  let again = false;
  const next = () => (typeof delay === "function" ? delay() : delay);
  const run = async () => {
    clearTimeout(timer);
    if (running) {
      again = true;
      return;
    }
    if (signal.aborted || document.hidden) return;
    running = true;
    try {
      await work();
    } finally {
      running = false;
      if (!signal.aborted && !document.hidden) timer = setTimeout(run, again ? 0 : next());
      again = false;
    }
  };
  document.addEventListener("visibilitychange", run, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  run();
  return run;
}
