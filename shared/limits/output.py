"""How much a model call may write when its client did not say."""

from shared.limits import models, prices
from shared.settings import settings
from shared.tasks.model import Task

DEFAULT_OUTPUT_TOKENS = 1024
"""Output tokens that each model call may have when a submit says nothing."""
CONTEXT_SHARE = 4
BUDGET_SHARE = 16
"""What nobody asked for takes at most a part of so many of what the model holds, and of any budget (of the day, of
the provider's minute): the rest is for the conversation, and for other runs."""


def output_tokens(task: Task) -> int:
    """Return the most tokens that each model call of a run may write.

    Clients of OpenAI's expect a whole answer without naming a limit: there the default is higher, if model and budgets
    have room. With a ceiling of the run's own it is not, as each call has to fit below that at its worst.
    """
    given = task.params.get("max_output_tokens")
    if given:
        return int(given)
    if not task.params.get("dialect") or task.params.get("max_cost_usd"):
        return DEFAULT_OUTPUT_TOKENS
    return min(settings().openai_output_tokens, max(DEFAULT_OUTPUT_TOKENS, _room(task)))


def _room(task: Task) -> int:
    config = settings()
    room = [config.openai_output_tokens]
    if context := models.context_tokens(task.model):
        room.append(context // CONTEXT_SHARE)
    tokens = task.cap_tokens, task.cap_key_tokens, config.global_tokens_per_day, config.provider_tpm
    room += [cap // BUDGET_SHARE for cap in tokens if cap]
    if each := prices.price(task.model).output:
        money = task.cap_micro_usd, task.cap_key_micro_usd, round(config.global_usd_per_day * 1_000_000)
        room += [cap * 1_000_000 // BUDGET_SHARE // each for cap in money if cap]
    return min(room)
