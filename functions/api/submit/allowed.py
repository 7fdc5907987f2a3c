"""What may be asked for: the agents that there are, and what a caller's tier and this deployment allow."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import CONVERSATION_BYTES, MESSAGE_BYTES, MESSAGES_OF_A_CONVERSATION
from shared.limits import models
from shared.settings import settings

if TYPE_CHECKING:
    from functions.api.door.identity import Caller
    from functions.api.submit.submission import Submission
    from shared.limits.tiers import Limits

_LISTED = Path(__file__).parents[1] / "agents.txt"
"""Written into the bundle."""
_AGENTS = Path(__file__).parents[2] / "worker" / "agents"
"""Where a checkout has them."""


@cache
def agents() -> frozenset[str] | None:
    """Return the agents that workers have, or None when that is not known."""
    if _LISTED.is_file():
        return frozenset(_LISTED.read_text().split())
    if _AGENTS.is_dir():
        return frozenset(path.stem for path in _AGENTS.glob("*.py") if not path.stem.startswith("_"))
    return None


def allowed(caller: Caller, wanted: Submission) -> tuple[str, str]:
    """Hold a submission against the tier; returns (lane, model).

    Raises:
        Problem: 403, 413 or 422.
    """
    limits, model = caller.limits, wanted.model or settings().default_model
    known = agents()
    if known is not None and wanted.agent not in known:
        raise invalid(
            f"there is no agent {wanted.agent!r}; there are {', '.join(sorted(known))}",
            "agent",
            code="unknown_agent",
        )
    if wanted.params.get("webhook_url") and not settings().sends_webhooks:
        raise invalid("this deployment sends no webhooks", "webhook_url", code="webhooks_off")
    _bounded(wanted, limits)
    if not limits.allows_agent(wanted.agent):
        raise Problem(403, "agent_not_allowed", f"the tier {limits.tier} may not run the agent {wanted.agent}", "agent")
    if not limits.allows_model(model):
        raise Problem(403, "model_not_allowed", f"the tier {limits.tier} may not use the model {model}", "model")
    if not models.is_allowed(model):
        raise invalid(f"nobody priced the model {model!r}, so no ceiling could hold", "model", code="unpriced_model")
    lane = wanted.priority or limits.lane
    if not limits.allows_lane(lane):
        raise Problem(
            403, "priority_not_allowed", f"the tier {limits.tier} may not use the priority {lane}", "priority"
        )
    return lane, model


def longest_message(limits: Limits) -> int:
    """Return the bytes of the longest message that a tier allows."""
    return min(MESSAGE_BYTES, limits.message_bytes or MESSAGE_BYTES)


def _bounded(wanted: Submission, limits: Limits) -> None:
    """Hold a message, or a list of them, against the tier's longest one.

    Raises:
        Problem: 413.
    """
    name, what, most = "message", "message is", longest_message(limits)
    if wanted.params.get("input_json"):
        name = "messages" if wanted.params.get("dialect") == "chat" else "input"
        longest = limits.message_bytes or MESSAGE_BYTES
        what, most = "messages are", min(CONVERSATION_BYTES, MESSAGES_OF_A_CONVERSATION * longest)
    if wanted.text_bytes > most:
        raise Problem(413, "message_too_large", f"the {what} over the limit of {most} bytes", name)
