"""What is measured and logged of a run that ended."""

from shared import logs, metrics
from shared.clock import now
from shared.tasks.model import Outcome, Task


def ended(task: Task, outcome: Outcome, lane: str) -> None:
    """Tell of a settled run in one line: how long it took, what it used, how it ended."""
    at = now()
    run_s = (task.ended_at or at) - (task.started_at or task.created)
    code = outcome.error.get("code") if outcome.error else None
    used = {
        "RunSeconds": (run_s, "Seconds"),
        "Tokens": (task.usage.tokens, "Count"),
        "MicroUSD": (task.micro_usd, "Count"),
        "ModelCalls": (task.calls, "Count"),
    }
    metrics.emit_beside(
        logs.head(at, "INFO", "settled", "sluice.runner") | {"code": code},
        (used, {"lane": lane, "status": outcome.status}),
        ({"Runs": (1, "Count")}, {"status": outcome.status}),
    )
