"""What model calls cost. All arithmetic is in integers.

A price in USD per million tokens is the same figure in micro-USD per token; prices are kept in micro-USD per million
tokens, so that none has a fraction. Where they come from: `shared.limits.models`.
"""

from shared.limits.models import Model, known, table
from shared.settings import settings

__all__ = ["FRAMING_TOKENS", "Model", "as_of", "cost_micro_usd", "price", "worst_case"]

_MILLION = 1_000_000
FRAMING_TOKENS = 64
"""Tokens that a provider may add around a request beyond its bytes (the reply's opening, tool preamble)."""


def as_of() -> str:
    """Return the date of the price table, ``YYYY-MM-DD``."""
    return table().as_of


def price(model: str) -> Model:
    """Return what a model is charged with.

    One that nobody priced is charged as the deployment's default model, where such models are allowed at all (see
    `models.is_allowed`); if that has no price either, as a dear one.
    """
    return known(model) or known(settings().default_model) or table().default


def cost_micro_usd(
    model: str,
    input_tokens: int,
    output_tokens: int,
    *,
    cached_tokens: int = 0,
    cache_write_tokens: int = 0,
    at: Model | None = None,
) -> int:
    """Return the price of a call in micro-USD, rounded up; ``at`` is a price of one's own, in the model's place.

    Of the input, ``cached_tokens`` were read from the provider's cache and ``cache_write_tokens`` written to it: as the
    provider says, never as estimated. Where the table has no price for these they cost what the others do.
    """
    each = at or price(model)
    read, written = each.input, each.output
    if each.above and input_tokens > each.above:
        read, written = each.input_above, each.output_above
    cached = min(max(0, cached_tokens), input_tokens)
    stored = min(max(0, cache_write_tokens), input_tokens - cached)
    money = (input_tokens - cached - stored) * read + output_tokens * written
    money += cached * _beside(each.cached, each.input, read) + stored * _beside(each.cache_write, each.input, read)
    return -(-money // _MILLION)


def _beside(special: int, usual: int, now: int) -> int:
    """Return a special price of input, which rises as the usual one does where prompts are long."""
    return -(-special * now // usual) if special and usual else now


def worst_case(model: str, payload_bytes: int, max_output_tokens: int, *, at: Model | None = None) -> tuple[int, int]:
    """Return the most (tokens, micro-USD) that a call can cost, known before it is made.

    ``payload_bytes`` is the size of the request's JSON (messages and tools, UTF-8). A token of a byte-level
    BPE covers at least one byte, and the JSON around a message has more bytes than the tokens that frame it;
    the constant covers the frame of the reply. Holds for text; images are not billed by their bytes.
    """
    input_tokens = payload_bytes + FRAMING_TOKENS
    each = at or price(model)
    stored = input_tokens if each.cache_write > each.input else 0
    money = cost_micro_usd(model, input_tokens, max_output_tokens, cache_write_tokens=stored, at=at)
    return input_tokens + max_output_tokens, money
