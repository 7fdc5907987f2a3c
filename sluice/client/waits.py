"""What is asked of the API about runs that wait, and about schedules; see `calls`."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

from sluice.client.calls import Call, Request, ask


def _at(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def signal(task_id: str, name: str, payload: Any, patience_s: float, idempotency_key: str | None) -> Call:
    """Send a signal; returns the API's answer."""
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    asked = Request("POST", _at("agent", task_id, "signals", name), json=payload, headers=headers)
    return (yield from ask(asked, patience_s))


def approvals(patience_s: float) -> Call:
    """Return all that the caller's runs wait to be allowed, newest run first."""
    found: list[dict[str, Any]] = []
    params: dict[str, str | int] = {"limit": 100}
    while True:
        told = yield from ask(Request("GET", "/approvals", params=params), patience_s)
        found += told["approvals"]
        if told.get("next_cursor") is None:
            return found
        params["cursor"] = told["next_cursor"]


def answer(task_id: str, fingerprint: str, decision: str, patience_s: float, more: dict[str, Any]) -> Call:
    """Answer what a run waits to be allowed; returns the API's answer."""
    body = {"decision": decision} | {name: value for name, value in more.items() if value is not None}
    return (yield from ask(Request("POST", _at("agent", task_id, "approvals", fingerprint), json=body), patience_s))


def schedules(patience_s: float) -> Call:
    """Return all of the caller's schedules."""
    found: list[dict[str, Any]] = []
    params: dict[str, str | int] = {"limit": 100}
    while True:
        told = yield from ask(Request("GET", "/schedules", params=params), patience_s)
        found += told["schedules"]
        if told.get("next_cursor") is None:
            return found
        params["cursor"] = told["next_cursor"]


def make_schedule(body: dict[str, Any]) -> Call:
    """Make a schedule. It is sent once only: a repeat would make a second one."""
    return (yield from ask(Request("POST", "/schedules", json=body), 0))


def change_schedule(schedule_id: str, body: dict[str, Any], patience_s: float) -> Call:
    """Change the fields of a schedule that ``body`` names."""
    return (yield from ask(Request("PATCH", _at("schedules", schedule_id), json=body), patience_s))


def delete_schedule(schedule_id: str, patience_s: float) -> Call:
    """Delete a schedule."""
    return (yield from ask(Request("DELETE", _at("schedules", schedule_id)), patience_s))
