"""Habits of real providers that speak OpenAI's protocol in their own way: ``habit=NAME`` makes a call meet one.

Each is one small table entry: a refusal, an answer in one piece, a stream written out, or a field of the request
that is refused. The tables: `refusals`, `wanted`, `answers`, `streams`. Its source is a thread
(``owner/repository#number``), a page, or the project alone whose way it is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localstack.llm.habits import answers, refusals, streams, wanted
from localstack.llm.habits.shape import DONE, Habit

__all__ = ["HABITS", "Answer", "Habit", "answer"]

HABITS: Mapping[str, Habit] = {**refusals.HABITS, **wanted.HABITS, **answers.HABITS, **streams.HABITS}

KEPT_METHOD = (307, 308)
"""Redirects after which the same request is made again: who followed one asks there from then on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: a status, a body, headers; ``cut`` closes the connection behind it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


def answer(habit: Habit, request: Mapping[str, Any], path: str) -> Answer | None:
    """Return what a habit makes of a request; None where it leaves it alone."""
    if habit.when is not None and not _meets(habit.when, request):
        return None
    if habit.redirect is not None:
        if path.endswith("/") and habit.status in KEPT_METHOD and habit.redirect == "PATH/":
            return None  # where it leads
        return Answer(habit.status, b"", {"location": habit.redirect.replace("PATH", path.rstrip("/"))})
    if habit.events is not None:
        body = "".join(_event(event) for event in habit.events).encode() + (
            b"" if habit.cut or not habit.done else DONE
        )
        return Answer(habit.status, body, {"content-type": "text/event-stream", **habit.headers}, habit.cut)
    body = habit.body if isinstance(habit.body, str) else json.dumps(habit.body)
    kind = "application/json" if not isinstance(habit.body, str) else "text/html"
    return Answer(habit.status, body.encode(), {"content-type": kind, **habit.headers})


def _event(event: object) -> str:
    return event if isinstance(event, str) else f"data: {json.dumps(event, ensure_ascii=False)}\n\n"


def _meets(when: str, request: Mapping[str, Any]) -> bool:
    """Tell whether a request has what a habit refuses: ``NAME``, ``NAME>N``, ``role:``, ``field:``, ``shape:``."""
    kind, _, name = when.rpartition(":")
    if kind == "role":
        return any(message.get("role") == name for message in request["messages"])
    if kind == "field":
        return any(name in message for message in request["messages"])
    if kind == "shape":
        return wanted.meets(name, request)
    if ">" in when:
        name, _, most = when.partition(">")
        return int(request.get(name) or 0) > int(most)
    return bool(request.get(when))
