"""Which streamed model calls a takeover voids: those that watchers saw pieces of and that were never recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.tasks import events

if TYPE_CHECKING:
    from shared.tasks.checkpoints import Step


def voided_calls(task_id: str, recorded: dict[tuple[str, int], Step]) -> list[str]:
    """Read the log and return the ids of calls that no recorded step stands for and that were not voided before."""
    stand = {_call_of(step.value) for step in recorded.values()}
    seen: dict[str, None] = {}
    for event in events.read(task_id, 0).events:
        if event.type in ("token", "reasoning"):
            seen[str(event.data.get("call"))] = None
        elif event.type in ("resumed", "retry", "deferred"):
            for call in event.data.get("void", []):
                seen.pop(call, None)
    return [call for call in seen if call not in stand]


def _call_of(value: Any) -> str | None:
    return str(value["call"]) if isinstance(value, dict) and "call" in value else None
