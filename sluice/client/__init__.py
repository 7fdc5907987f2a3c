"""A client of a Sluice API: submit, follow, result, cancel, pages; sync (`Client`) and async (`AsyncClient`).

    from sluice.client import Client

    with Client("https://…", "sk-sluice-…") as client:
        run = client.submit("Say hello", agent="hello")
        for event in client.follow(run.task_id):
            print(event.type, event.data)
        print(client.result(run.task_id).response)

What fails on the way is tried again by itself: a submit carries an idempotency key, so that it makes one run however
often it is sent, and following goes on where it was cut off.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sluice.client.errors import ApiError, LimitedError, RunError, UnavailableError
from sluice.client.shapes import Event, Page, Run

if TYPE_CHECKING:
    from sluice.client.asynchronous import AsyncClient
    from sluice.client.synchronous import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "Event",
    "LimitedError",
    "Page",
    "Run",
    "RunError",
    "UnavailableError",
]


def __getattr__(name: str) -> Any:
    """Load a client when it is asked for: with it come HTTP and TLS, which commands like `sluice up` do without."""
    place = {"AsyncClient": "asynchronous", "Client": "synchronous"}.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{place}"), name)
    return found
