// Loads the page's modules; the last one starts it.

import { inTurn } from "./in-turn.js";

const BASE = ["session", "format", "dom", "theme", "parts", "api", "health", "sign-in"];
const LIVE = ["socket", "follow", "transcript", "timeline", "facts"];
const RUNS = ["approval", "waiting", "copy", "waterfall", "limits", "composer", "runs", "run", "runs-view"];

inTurn([...BASE, ...LIVE, ...RUNS, "app"]);
