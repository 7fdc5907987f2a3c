// Batches: how far each of the caller's is, its files, and a button to cancel it.

import * as api from "./api.js";
import { cardsIn } from "./cards.js";
import { alertLine, announce, busy, el, say, whileVisible } from "./dom.js";
import { atDate, number, words } from "./format.js";
import { meter } from "./parts.js";

const EVERY_MS = 5000;
const PAGE = 20;
const ENDED = new Set(["failed", "completed", "expired", "cancelled"]);
const ERRORS = 5;
const HANDED_OVER = 4_000_000; // bytes; what is larger comes from S3, by an address that needs no key

const date = (seconds) => atDate(new Date(seconds * 1000).toISOString());

export function batchesView(main, signal) {
  const cards = el("div", { class: "approvals" });
  const empty = el("p", { class: "empty", hidden: true }, "There are no batches yet.");
  const problem = alertLine();
  const refused = alertLine(); // what came of a click: it stays when they are read again
  const more = el("button", { type: "button", class: "quiet", hidden: true, on: { click: showMore } }, "Show more");
  const showCards = cardsIn(cards, ({ id }) => id, card);
  let wanted = PAGE;
  main.replaceChildren(
    el("section", { class: "panel wide" }, el("h1", { tabIndex: -1 }, "Batches"), problem, refused, empty, cards, more),
  );

  const refresh = whileVisible(
    async () => {
      try {
        const found = await read();
        say(problem, "");
        if (!signal.aborted) show(found);
      } catch (error) {
        if (!signal.aborted) say(problem, api.sentence(error));
      }
    },
    EVERY_MS,
    signal,
  );

  // As many as are wanted, page after page: the newest may have come meanwhile.
  async function read() {
    const data = [];
    for (let last = ""; ; last = data.at(-1).id) {
      const limit = Math.min(100, wanted - data.length);
      const page = await api.call(`v1/batches?limit=${limit}${last && `&after=${last}`}`, { signal });
      data.push(...page.data);
      if (!page.has_more || !page.data.length || data.length >= wanted) return { data, more: page.has_more };
    }
  }

  function showMore() {
    wanted += PAGE;
    refresh();
  }

  async function cancel(one) {
    say(refused, "");
    try {
      await api.call(`v1/batches/${encodeURIComponent(one.id)}/cancel`, { method: "POST" });
      announce("Batch is being cancelled");
    } catch (error) {
      say(refused, api.sentence(error));
    }
    refresh();
  }

  // A link cannot carry the key, so the file is fetched here and handed over; a large one by a link that needs none.
  async function download(id, what, batch) {
    say(refused, "");
    try {
      const { bytes } = await api.call(`v1/files/${encodeURIComponent(id)}`, { signal });
      if (bytes > HANDED_OVER) {
        const { url } = await api.call(`v1/files/${encodeURIComponent(id)}/content?link=true`, { signal });
        el("a", { href: url, rel: "noreferrer" }).click(); // S3 says that it is an attachment: this page stays
        announce("Download begun");
        return;
      }
      const found = await api.blob(`v1/files/${encodeURIComponent(id)}/content`, { signal });
      const address = URL.createObjectURL(found);
      el("a", { href: address, download: `${batch}_${what}.jsonl` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      announce("File downloaded");
    } catch (error) {
      if (!signal.aborted) say(refused, api.sentence(error));
    }
  }

  function card(one) {
    const { total, completed, failed } = one.request_counts;
    const none = ENDED.has(one.status) ? "no request was run" : "requests not counted yet";
    const counts = total ? `${number(completed)} of ${number(total)} complete, ${number(failed)} failed` : none;
    const progress = meter(`Requests of ${one.id} that have ended`);
    progress.set(completed + failed, 0, total, counts);
    progress.node.dataset.level = ""; // here much is good
    const file = (id, what) =>
      id && el("button", { type: "button", class: "quiet", on: { click: ({ target }) => busy(target, () => download(id, what, one.id)) } }, `Download ${what} file`);
    const end = one[`${one.status}_at`];
    const errors = one.errors?.data ?? [];
    return el(
      "article",
      { class: "approval", data: { batch: one.id } },
      el("h2", { class: "code" }, one.id),
      el("p", { class: "hint" }, [words(one.status), one.endpoint, counts].join(", ")),
      total > 0 && progress.node,
      el("p", { class: "hint" }, `Created ${date(one.created_at)}`, ENDED.has(one.status) && end && `, ended ${date(end)}`),
      errors.length > 0 && el("p", { class: "problem" }, faults(errors)),
      el(
        "div",
        { class: "actions" },
        file(one.output_file_id, "output"),
        file(one.error_file_id, "error"),
        !ENDED.has(one.status) &&
          el(
            "button",
            { type: "button", class: "danger", disabled: one.status === "cancelling", on: { click: ({ target }) => busy(target, () => cancel(one)) } },
            one.status === "cancelling" ? "Cancelling" : "Cancel",
          ),
      ),
    );
  }

  function faults(errors) {
    const said = errors.slice(0, ERRORS).map((one) => (one.line ? `Line ${one.line}: ${one.message}` : one.message));
    if (errors.length > ERRORS) said.push(`and ${number(errors.length - ERRORS)} more`);
    return said.join("\n");
  }

  function show({ data, more: others }) {
    showCards(data);
    empty.hidden = data.length > 0;
    more.hidden = !others;
  }

  return { show: (_, { focus }) => focus && main.querySelector("h1").focus() };
}
