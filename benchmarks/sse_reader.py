"""A client of `GET /result/{id}/stream` that can be cut anywhere and goes on where it was."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2


@dataclass
class Reader:
    """Puts messages together as docs/streaming.md says."""

    http: httpx2.AsyncClient
    task_id: str
    log: list[dict[str, Any]] = field(default_factory=list)
    cuts: int = 0
    parts: int = 0
    end: dict[str, Any] | None = None
    first_text: float = 0.0
    """When the first text arrived, epoch seconds."""
    resumed: list[float] = field(default_factory=list)
    """Seconds from each request after a cut to its first message."""
    _busy_s: float = 0.0
    _last: str = ""
    _seq: int = 0
    _text: str = ""

    async def read(self, at_most: float = float("inf")) -> bool:
        """Read until the end, or cut the connection after so many messages; True at the end."""
        headers = {"Last-Event-ID": self._last} if self._last else {}
        asked, fields = time.monotonic(), dict[str, str]()
        async with self.http.stream("GET", f"/result/{self.task_id}/stream", headers=headers) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if line.startswith(":"):
                    continue
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                if asked and self._last:
                    self.resumed.append(time.monotonic() - asked)
                asked = 0.0
                self._take(fields)
                fields, at_most = {}, at_most - 1
                if self.end or at_most <= 0:
                    break
        if self._busy_s:
            await asyncio.sleep(self._busy_s)
            self._busy_s = 0.0
            return False
        self.cuts += self.end is None
        return self.end is not None

    def _take(self, fields: dict[str, str]) -> None:
        data = json.loads(fields["data"])
        if "event" in fields:
            self.end = data if fields["event"] == "end" else None
            self._busy_s = int(fields["retry"]) / 1000 if fields["event"] == "busy" else 0.0
            return
        self._last = fields["id"]
        if data["type"] == "token" and not self.first_text:
            self.first_text = time.time()
        if data.pop("partial", False):
            self.parts += 1
            self._text = (self._text if self._seq == data["seq"] else "") + data["data"]["text"]
            self._seq = data["seq"]
            return
        if self._seq == data["seq"] and data["type"] == "token":
            data["data"]["text"] = self._text + data["data"]["text"]
        self.log.append(data)
