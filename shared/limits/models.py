"""What is known of models by their names: prices and context sizes, from the table and from the operator.

A name is looked up as it is, then without what gateways put around it (`shared.limits.spelling`). The operator's own
word comes first, by names or patterns.

The table, ``prices.json``, is made by ``python -m deploy.price_table``, which names its source.
"""

import json
import sys
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from shared.limits import operators
from shared.limits.spelling import NAMES_KEPT, spellings
from shared.settings import settings

COMMON = (
    "gpt-3.5-turbo", "gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano",
    "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5.1", "o1", "o3", "o3-mini", "o4-mini",
)  # fmt: skip
"""Names that are listed to clients beside the deployment's own; the whole table has thousands."""
THINKING = (
    "o[1-9]*", "gpt-[5-9]*", "gpt-oss*", "codex*", "*reasoner*", "*reasoning*", "*thinking*", "*deep-research*",
    "deepseek-r1*", "qwq*", "magistral*", "grok-3-mini*", "grok-4*", "gemini-2.5*", "gemini-[3-9]*",
)  # fmt: skip
"""Models that think before they answer unless told otherwise; others do when they are asked to."""
DIRECT = ("gpt-5-chat*", "*non-reasoning*", "gemini-2.5-flash-lite*")
"""Among these, those that do not."""
_MILLION = 1_000_000


class Model(NamedTuple):
    """A model's price in micro-USD per 1,000,000 tokens, and its context in tokens (0: not known)."""

    input: int
    output: int
    context: int = 0
    above: int = 0
    """Prompts of more tokens than this cost the prices below (0: all cost the same)."""
    input_above: int = 0
    output_above: int = 0
    cached: int = 0
    """Price of prompt tokens that the provider read from its cache (0: that of the others)."""
    cache_write: int = 0
    """Price of prompt tokens that it wrote to its cache (0: that of the others)."""


class _Table(NamedTuple):
    as_of: str
    source: str
    default: Model
    models: dict[str, list[float]]
    """Names to what `_model` reads; a few of the thousands are ever asked for."""


@cache
def table() -> _Table:
    """Return the table that Sluice was released with."""
    raw = json.loads((Path(__file__).parent / "prices.json").read_text())
    return _Table(raw["as_of"], raw.get("source", ""), _model(raw["default"]), raw["models"])


def _model(figures: list[float]) -> Model:
    """Read ``[input, output, context?, above?, input above?, output above?, cached?, cache write?]``.

    Prices are in USD per million tokens.
    """
    read, written, context, above, *rest = [*figures, *[0] * 6][:8]
    return Model(_micro(read), _micro(written), int(context), int(above), *map(_micro, rest))


def _micro(usd: float) -> int:
    return round(usd * _MILLION)


@lru_cache(NAMES_KEPT)
def known(model: str) -> Model | None:
    """Return what the operator or the table says of a model's price; None: nobody priced it.

    Raises:
        SettingError: what the operator says cannot be read.
    """
    own = operators.price(spellings(model))
    if own is not None:
        return _model([*own])
    return _listed(model)


def _listed(model: str) -> Model | None:
    models = table().models
    for name in spellings(model):
        if name in models:
            return _model(models[name])
    for pattern in _patterns():
        if fnmatchcase(model, pattern):
            return _model(models[pattern])
    return None


@cache
def _patterns() -> tuple[str, ...]:
    return tuple(name for name in table().models if "*" in name)


@lru_cache(NAMES_KEPT)
def context_tokens(model: str) -> int | None:
    """Return how many tokens a model takes, prompt and answer together; None when nobody knows.

    The operator's ``CONTEXT_TOKENS`` come first, then the table; where the two parts have limits of their own it is the
    prompt's.

    Raises:
        SettingError: what the operator says cannot be read.
    """
    own = operators.context(spellings(model))
    if own is not None:
        return own or None
    found = _listed(model)
    return (found.context or None) if found else None


def thinks(model: str) -> bool:
    """Tell whether a model writes thoughts of its own accord, which are billed and may not be shown."""
    names = spellings(model)

    def one_of(patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)

    return one_of(THINKING) and not one_of(DIRECT)


def is_allowed(model: str) -> bool:
    """Tell whether a model may be asked: it has a price, or the operator allows models without one."""
    return settings().allow_unpriced_models or known(model) is not None


def is_listed(model: str) -> bool:
    """Tell whether the deployment or the table names a model exactly so: there are only so many such names."""
    config = settings()
    own = (config.default_model, *(name.strip() for name in config.fallback_models.split(",")))
    return model in own or ("*" not in model and model in table().models)


def forget() -> None:
    """Read everything again at the next question."""
    for cached in (table, known, _patterns, context_tokens, spellings):
        cached.cache_clear()
    operators.forget()
    if (beside := sys.modules.get("shared.limits.surcharges")) is not None:
        beside.forget()


def figures_of(model: Model) -> list[Any]:
    """Return a model as the table's file holds it."""
    usd = [price / _MILLION for price in (model.input, model.output)]
    above = [model.above, model.input_above / _MILLION, model.output_above / _MILLION]
    figures = [*usd, model.context, *above, model.cached / _MILLION, model.cache_write / _MILLION]
    while len(figures) > 3 and not figures[-1]:
        figures.pop()
    return [*(int(one) if one == int(one) else one for one in figures)]
