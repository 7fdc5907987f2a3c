"""How much a model call may write when its client did not say."""

from collections.abc import Mapping
from typing import Any

from shared.limits import models
from shared.settings import settings

DEFAULT_OUTPUT_TOKENS = 1024
"""Output tokens that each model call may have when a submit says nothing."""
CONTEXT_SHARE = 4
"""What nobody asked for takes at most a part of so many of what the model holds: the rest is for the conversation."""


def output_tokens(params: Mapping[str, Any], model: str) -> int:
    """Return the most tokens that each model call of a run may write.

    Clients of OpenAI's expect a whole answer without naming a limit: there the default is higher, if the model has
    room. With a ceiling of the run's own it is not, as each call has to fit below that at its worst.
    """
    given = params.get("max_output_tokens")
    if given:
        return int(given)
    if not params.get("dialect") or params.get("max_cost_usd"):
        return DEFAULT_OUTPUT_TOKENS
    context = models.context_tokens(model)
    most = settings().openai_output_tokens
    return min(most, max(DEFAULT_OUTPUT_TOKENS, context // CONTEXT_SHARE)) if context else most
