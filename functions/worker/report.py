"""What is measured and logged of a run that ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared import metrics
from shared.clock import now
from shared.logs import get_logger

if TYPE_CHECKING:
    from shared.tasks.model import Task
    from shared.tasks.settle import Outcome

_log = get_logger("runner")


def ended(task: Task, outcome: Outcome, lane: str) -> None:
    """Tell of a settled run: how long it took, what it used, how it ended."""
    run_s = (task.ended_at or now()) - (task.started_at or task.created)
    metrics.emit(
        {
            "RunSeconds": (run_s, "Seconds"),
            "Tokens": (task.usage.tokens, "Count"),
            "MicroUSD": (task.micro_usd, "Count"),
            "ModelCalls": (task.calls, "Count"),
        },
        lane=lane,
        status=str(outcome.status),
    )
    metrics.count("Runs", status=str(outcome.status))
    code = outcome.error.get("code") if outcome.error else None
    _log.info("settled", extra={"status": str(outcome.status), "code": code, "run_s": round(run_s, 3)})
