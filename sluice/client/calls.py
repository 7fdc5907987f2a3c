"""What is asked of the API, how answers are read and when a call is made again: all but the sending.

A call is a generator: it yields a `Request` and is sent the `httpx2.Response`, or the `httpx2.TransportError` thrown
into it; it yields a number to wait so many seconds; it returns its result. Both clients run the same ones.
"""

from __future__ import annotations

import email.utils
import os
import random
import time
import uuid
from collections.abc import Generator
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2

from sluice.client.errors import ApiError, LimitedError, UnavailableError
from sluice.client.shapes import ENDED, Event, Page, Run

HOLD_SECONDS = 20
"""How long the API may hold an answer back, waiting for news; it takes 25 at most."""
TIMEOUT_SECONDS = HOLD_SECONDS + 15.0
PATIENCE_SECONDS = 60.0
"""How long what fails on the way is tried again."""
MOST_CHARACTERS = 5_000_000
"""Longest text that is sent: Lambda takes no request above 6 MB, and the gateway's answer looks like a failure."""
AGAIN = frozenset({408, 429, 500, 502, 503, 504})
FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 5.0


class Request(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    json: Any = None
    params: dict[str, str | int] | None = None
    headers: dict[str, str] | None = None


Call = Generator[Request | float, Any, Any]
"""See the module; ``Any``: what it is sent and returns differs from step to step."""


def settings(url: str | None, key: str | None) -> tuple[str, dict[str, str]]:
    """Return address and headers, from the environment (``SLUICE_URL``, ``SLUICE_KEY``) where they are not given.

    Raises:
        ValueError: there is no address, or the key is none. What files and shells leave around them is no part of them.
    """
    address = (url or os.environ.get("SLUICE_URL", "")).strip().rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise ValueError("give the API's address, http://… or https://…, or set SLUICE_URL")
    given = (key or os.environ.get("SLUICE_KEY", "")).strip()
    if not _fits_a_header(given):  # it is not shown: it may hold a key
        raise ValueError("the API key (SLUICE_KEY) has characters that no key has")
    return address, {"Authorization": f"Bearer {given}"} if given else {}


def ask(request: Request, patience_s: float) -> Call:
    """Send a request until it is answered for good; returns the answer's JSON.

    Raises:
        ApiError: the API refused, or did not answer for so long; or the request cannot be sent at all.
    """
    _fits(request.json)
    for name, value in (request.headers or {}).items():
        if not _fits_a_header(value):
            raise ApiError(f"{name} takes printable ASCII", status=422, code="invalid_request", param=name)
    give_up = time.monotonic() + patience_s
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            response = yield request
        except httpx2.TransportError as broken:
            why = f"the API cannot be reached: {broken or type(broken).__name__}"
            error: ApiError = UnavailableError(why, code="unreachable")
        else:
            if response.is_success:
                return response.json()
            error = _refusal(response)
            if response.status_code not in AGAIN:
                raise error
        wait = error.retry_after_s if error.retry_after_s is not None else pause * random.uniform(0.7, 1.3)  # noqa: S311
        if time.monotonic() + wait > give_up:
            raise error
        yield wait
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _fits_a_header(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _fits(body: Any) -> None:
    texts = body.values() if isinstance(body, dict) else (body,)
    if sum(len(text) for text in texts if isinstance(text, str)) > MOST_CHARACTERS:
        raise ApiError("the request is too large: AWS takes 6 MB, and the API less", status=413, code="too_large")


def _refusal(response: Any) -> ApiError:
    """Read an answer other than success, whoever wrote it."""
    try:
        told = response.json()
        error = told["error"] if isinstance(told.get("error"), dict) else told
    except (ValueError, AttributeError):
        error = {}
    status: int = response.status_code
    kind = LimitedError if status == 429 else UnavailableError if status >= 500 else ApiError
    return kind(
        str(error.get("message") or response.reason_phrase or f"HTTP {status}"),
        status=status,
        code=str(error.get("code") or f"http_{status}"),
        param=error.get("param"),
        retry_after_s=retry_after(response.headers.get("Retry-After")),
    )


def retry_after(text: str | None) -> float | None:
    """Read ``Retry-After``: seconds, or a date."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def submit(message: str, patience_s: float, idempotency_key: str | None, fields: dict[str, Any]) -> Call:
    """Submit a message; returns the `Run`."""
    body = {"message": message} | {name: value for name, value in fields.items() if value is not None}
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    told = yield from ask(Request("POST", "/agent", json=body, headers=headers), patience_s)
    return Run.read(told)


def result(task_id: str, patience_s: float, wait_s: float) -> Call:
    """Return the `Run` as it is, or as it ended if that happens within ``wait_s``."""
    give_up = time.monotonic() + wait_s
    while True:
        hold = max(0, min(HOLD_SECONDS, int(give_up - time.monotonic())))
        told = yield from ask(Request("GET", f"/result/{quote(task_id, safe='')}", params={"wait": hold}), patience_s)
        run = Run.read(told)
        if run.ended or time.monotonic() >= give_up:
            return run
        if hold == 0:
            yield max(0.0, min(1.0, give_up - time.monotonic()))


def events(task_id: str, patience_s: float, after: int) -> Call:
    """Return the events after a number, waiting for some; and whether there will be no more."""
    request = Request("GET", f"/result/{quote(task_id, safe='')}/events", params={"after": after, "wait": HOLD_SECONDS})
    told = yield from ask(request, patience_s)
    found = [Event(one["seq"], one["type"], one["at"], one["data"]) for one in told["events"]]
    last = found[-1].seq if found else after
    return found, told["status"] in ENDED and last >= told["last_seq"]


def cancel(task_id: str, patience_s: float) -> Call:
    """Ask for a run's end; returns the `Run`."""
    told = yield from ask(Request("POST", f"/agent/{quote(task_id, safe='')}/cancel"), patience_s)
    return Run.read(told)


def page(patience_s: float, status: str | None, limit: int, cursor: str | None) -> Call:
    """Return a `Page` of the caller's runs."""
    given: dict[str, str | int | None] = {"limit": limit, "cursor": cursor, "status": status}
    params = {name: value for name, value in given.items() if value is not None}
    told = yield from ask(Request("GET", "/agent", params=params), patience_s)
    return Page([Run.read(one) for one in told["tasks"]], told.get("next_cursor"))


def limits(patience_s: float) -> Call:
    """Return the caller's limits, as the API tells them."""
    return (yield from ask(Request("GET", "/limits"), patience_s))
