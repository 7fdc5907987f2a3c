"""What a takeover voids: the streamed model calls that watchers saw pieces of and that were never recorded."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from functions.worker.model.telling import ShownCall
from shared.tasks import events
from shared.tasks.checkpoints import Step
from shared.tasks.events import Event

type ShownCalls = dict[str, dict[int, ShownCall]]


class Voided(NamedTuple):
    """What was shown in vain."""

    calls: list[str]
    """Ids of model calls that no recorded step stands for and that were not voided before."""
    tool_calls: ShownCalls
    """By step, and number in the reply: the newest tool call that was shown, whenever it was voided."""


def voided(task_id: str, recorded: dict[tuple[str, int], Step]) -> Voided:
    """Read the log."""
    log = events.read(task_id, 0).events
    stand = {_call_of(step.value) for step in recorded.values()}
    seen: dict[str, None] = {}
    for event in log:
        if events.is_written(event):
            seen[event.data["call"]] = None
        elif event.type in ("resumed", "retry", "deferred"):
            for call in event.data.get("void", []):
                seen.pop(call, None)
    return Voided([call for call in seen if call not in stand], shown_calls(log))


def shown_calls(log: Iterable[Event]) -> ShownCalls:
    """Return the tool calls that a log shows. One that is written once more by the same id is one, as far as it got."""
    found: ShownCalls = {}
    again: dict[tuple[str, str], str] = {}
    for event in log:
        if event.type != "tool_arguments" or not events.is_written(event):
            continue
        call, n, call_id = event.data["call"], event.data["n"], event.data["id"]
        text = again[call, call_id] = again.get((call, call_id), "") + event.data["text"]
        of_step = found.setdefault(call.rpartition(".")[0], {})
        before = of_step.get(n)
        if before is None or before.id != call_id or text.startswith(before.text):
            of_step[n] = ShownCall(call_id, event.data["tool"], text)
    return found


def _call_of(value: Any) -> str | None:
    return str(value["call"]) if isinstance(value, dict) and "call" in value else None
