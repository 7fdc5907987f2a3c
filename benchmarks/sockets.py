"""Real WebSocket clients for benchmarks of the live feed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect

if TYPE_CHECKING:
    import httpx2

ENDED = ("complete", "failed", "cancelled")


@dataclass(slots=True)
class Watcher:
    """One connection and what it was told of one run: pairs of the time of receipt (epoch) and the event."""

    socket: ClientConnection
    received: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    async def follow(self, task_id: str) -> None:
        """Subscribe to a run from its beginning and read until its end."""
        self.received = []
        await self.socket.send(json.dumps({"action": "subscribe", "task_id": task_id, "after": 0}))
        while True:
            event = json.loads(await self.socket.recv())
            at = time.time()
            if event["type"] == "error":
                raise SystemExit(f"the gateway answered {event}")
            self.received.append((at, event))
            if event["type"] in ENDED:
                return

    def numbers(self) -> list[int]:
        """Return the numbers of the events, as they came."""
        return [event["seq"] for _, event in self.received]


async def open_watcher(http: httpx2.AsyncClient, ws_url: str) -> Watcher:
    """Buy a ticket and connect."""
    answer = await http.post("/stream-ticket")
    answer.raise_for_status()
    # No pings of its own: the gateway answers them, but they would be traffic of the client's library, not of Sluice.
    socket = await connect(f"{ws_url}?ticket={answer.json()['ticket']}", open_timeout=60, ping_interval=None)
    return Watcher(socket)
