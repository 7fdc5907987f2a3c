"""A custom agent: reads the pages that a message names, sums each up, and answers from the summaries.

It shows each thing that a run can do: ask the model, alone and several times at once, call a tool, record a step of its
own, tell watchers how far it is, return data beside its text.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from functions.worker.tools.page import PageError, fetch_page
from sluice import AgentResult

if TYPE_CHECKING:
    from sluice import Context

MAX_PAGES = 5
PAGE_CHARACTERS = 8_000
"""How much of a page the model is shown."""


async def run(ctx: Context) -> AgentResult:
    """Read, sum up, answer."""
    # Repeatable from the message, so it needs no step. What is not (a time, a random number, a file) belongs in one.
    urls = list(dict.fromkeys(re.findall(r"https?://[^\s\])>]+", ctx.message)))[:MAX_PAGES]
    if not urls:
        return AgentResult("Name at least one page (https://…).")
    await ctx.emit("progress", {"done": 0, "of": len(urls)})
    # Beside each other: each branch's steps have names of their own.
    summaries = await asyncio.gather(*(_summary(ctx, url, n) for n, url in enumerate(urls, 1)))
    await ctx.emit("progress", {"done": len(urls), "of": len(urls)})
    notes = "\n\n".join(f"{url}\n{summary}" for url, summary in zip(urls, summaries, strict=True))
    answer = await ctx.model(
        [
            {"role": "system", "content": ctx.instructions or "Answer from the notes. Name the page you rely on."},
            *await ctx.history(),
            {"role": "user", "content": f"Notes:\n{notes}\n\n{ctx.message}"},
        ]
    )
    return AgentResult(answer.content, {"pages": urls})


async def _summary(ctx: Context, url: str, n: int) -> str:
    async def read() -> str:
        try:
            return (await fetch_page(ctx.http, url))[:PAGE_CHARACTERS]
        except PageError as error:
            return f"(not read: {error})"  # a result like any other: the model is told of it

    text = await ctx.tool(f"read.{n}", read, {"url": url})
    asked = [
        {"role": "system", "content": f"Sum the page up in three sentences, as far as it bears on: {ctx.message}"},
        {"role": "user", "content": text},
    ]
    reply = await ctx.model(asked, max_output_tokens=300, name=f"summary.{n}")
    return reply.content
