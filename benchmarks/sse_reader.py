"""Clients of a run's stream that can be cut anywhere, and go on where they were: our events, and OpenAI's Responses."""

from __future__ import annotations

import asyncio
import json
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

from shared.clock import epoch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AGAIN_S = 0.2
"""Rest of a client whose stream was ended by the server."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """How soon a stream went on after a cut, s."""

    first_byte: float
    """From the request to the first byte of the answer's body."""
    message: float
    """From the request to the first message; longer than nothing happened in the run, too."""
    late: float | None
    """From the request, or when its event happened if that was later, to the first message; None: not known."""
    asked: float
    """When the request was sent, epoch seconds."""
    seq: int | None
    """Number of the event that the first message brings whole; None: it brings only a part, or nothing of the log."""


@dataclass
class Client(ABC):
    """What both have in common: one connection after the other, cut after so many messages."""

    http: httpx2.AsyncClient
    task_id: str
    log: list[dict[str, Any]] = field(default_factory=list)
    cuts: int = 0
    ended_by_server: int = 0
    """Connections that the server ended before the run had: each has its longest life."""
    broken: int = 0
    """Connections that broke off by themselves: the server could not say in time that they were over."""
    parts: int = 0
    end: str | None = None
    """What the run's end was."""
    resumed: list[Resumed] = field(default_factory=list)
    had: dict[int, float] = field(default_factory=dict)
    """When each event of the log was had whole, epoch seconds, by its number."""
    _rest_s: float = 0.0
    _partial: bool = False
    """Whether the newest message was a part of an event."""

    async def read(self, at_most: float = float("inf"), *, torn: int = 0) -> bool:
        """Read until the end, or cut the connection after so many messages and ``torn`` lines of the next one.

        Returns True at the end. What breaks off by itself is taken up again, too.
        """
        try:
            return await self._read(at_most, torn)
        except httpx2.TransportError:
            self.broken += 1
            await asyncio.sleep(AGAIN_S)
            return False

    async def _read(self, at_most: float, torn: int) -> bool:
        again = self.begun
        asked, wall, first_byte = time.monotonic(), time.time(), 0.0
        ended_by_server = True
        async with self._ask() as answer:
            if answer.status_code in (429, 503) and "Retry-After" in answer.headers:
                self._rest_s = float(answer.headers["Retry-After"])
            else:
                answer.raise_for_status()
                async for fields in _blocks(answer):
                    first_byte = first_byte or time.monotonic() - asked
                    if fields is None:
                        if at_most <= 0:
                            torn -= 1
                    else:
                        at = self.take(fields)
                        if again and self.end is None and not self._rest_s:
                            took = time.monotonic() - asked
                            late = None if at is None else time.time() - max(wall, at)
                            seq = self.log[-1].get("seq") if self.log and not self._partial else None
                            self.resumed.append(Resumed(first_byte, took, late, wall, seq))
                        again, at_most = False, at_most - 1
                    if self.end is not None:
                        return True
                    if at_most <= 0 and torn <= 0:
                        ended_by_server = False
                        break
        if ended_by_server:
            self.ended_by_server += 1
            await asyncio.sleep(self._rest_s or AGAIN_S)
            self._rest_s = 0.0
        else:
            self.cuts += 1
        return False

    @property
    @abstractmethod
    def begun(self) -> bool:
        """Whether it had anything before."""

    @abstractmethod
    def _ask(self) -> Any: ...

    @abstractmethod
    def take(self, fields: dict[str, str]) -> float | None:
        """Take a message; returns when its event happened, epoch seconds, if that is known."""


async def _blocks(answer: httpx2.Response) -> AsyncIterator[dict[str, str] | None]:
    """Yield each message's fields, and None for each line on the way to it."""
    fields = dict[str, str]()
    async for line in answer.aiter_lines():
        if not line:
            if fields:
                yield fields
            fields = {}
            continue
        if not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        yield None


@dataclass
class Reader(Client):
    """Of `GET /result/{id}/stream`. Puts messages together as docs/streaming.md says."""

    first_text: float = 0.0
    """When the first text arrived, epoch seconds."""
    _last: str = ""
    _seq: int = 0
    _text: str = ""

    @property
    def begun(self) -> bool:
        """Whether it had anything before."""
        return bool(self._last)

    def _ask(self) -> Any:
        headers = {"Last-Event-ID": self._last} if self._last else {}
        return self.http.stream("GET", f"/result/{self.task_id}/stream", headers=headers)

    def take(self, fields: dict[str, str]) -> float | None:
        """Take a message."""
        data = json.loads(fields["data"])
        if "event" in fields:
            self.end = data["status"] if fields["event"] == "end" else None
            self._rest_s = int(fields["retry"]) / 1000
            return None
        self._last = fields["id"]
        if data["type"] == "token" and not self.first_text:
            self.first_text = time.time()
        at = epoch(data["at"])
        self._partial = bool(data.pop("partial", False))
        if self._partial:
            self.parts += 1
            self._text = (self._text if self._seq == data["seq"] else "") + data["data"]["text"]
            self._seq = data["seq"]
            return at
        if self._seq == data["seq"] and data["type"] in ("token", "reasoning"):
            data["data"]["text"] = self._text + data["data"]["text"]
        self.log.append(data)
        self.had[data["seq"]] = time.time()
        return at


@dataclass
class ResponsesReader(Client):
    """Of `GET /v1/responses/{id}?stream=true`, with `starting_after`; `task_id` is that of the run."""

    _done: str = ""

    @property
    def begun(self) -> bool:
        """Whether it had anything before."""
        return bool(self.log)

    def _ask(self) -> Any:
        after = {"starting_after": self.log[-1]["sequence_number"]} if self.log else {}
        return self.http.stream("GET", f"/v1/responses/resp_{self.task_id}", params={"stream": "true", **after})

    def take(self, fields: dict[str, str]) -> float | None:
        """Take an event, an error or the end."""
        if fields["data"] == "[DONE]":
            self.end = self._done
            return None
        data = json.loads(fields["data"])
        if "sequence_number" not in data:  # the stream has lived as long as it may, or a service is away
            if "error" not in data:
                raise ValueError(f"neither an event nor an error: {fields['data'][:200]}")
            self._rest_s = AGAIN_S
            return None
        self.log.append(data)
        if data["type"] in ("response.completed", "response.incomplete", "response.failed"):
            self._done = data["response"]["status"]
        return None
