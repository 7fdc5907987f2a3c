"""What model calls cost: list prices as data in ``prices.json``, dated. All arithmetic is in integers.

A price in USD per million tokens is the same figure in micro-USD per token; the table is kept in micro-USD
per million tokens, so that no price has a fraction.
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

_MILLION = 1_000_000
FRAMING_TOKENS = 64
"""Tokens that a provider may add around a request beyond its bytes (the reply's opening, tool preamble)."""

_DATE = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4}|latest)$")


class Price(NamedTuple):
    """Micro-USD per 1,000,000 tokens."""

    input: int
    output: int


class _Table(NamedTuple):
    as_of: str
    default: Price
    models: dict[str, Price]


@cache
def _table() -> _Table:
    raw = json.loads((Path(__file__).parent / "prices.json").read_text())
    prices = {name: Price(*(round(usd * _MILLION) for usd in pair)) for name, pair in raw["models"].items()}
    return _Table(raw["as_of"], Price(*(round(usd * _MILLION) for usd in raw["default"])), prices)


def as_of() -> str:
    """Return the date of the price table, ``YYYY-MM-DD``."""
    return _table().as_of


def undated(model: str) -> str:
    """Strip a snapshot's date: ``gpt-4o-mini-2024-07-18`` is ``gpt-4o-mini``, ``gpt-4-0613`` ``gpt-4``."""
    return _DATE.sub("", model)


@cache
def _known() -> tuple[tuple[str, Price], ...]:
    return tuple((name, price) for name, price in _table().models.items() if "*" in name)


def price(model: str) -> Price:
    """Return a model's price; an unknown one is taken to be dear, so that no ceiling is passed.

    Snapshots that cost something else than their base model stand in the table by their own name.
    """
    models = _table().models
    for name in (model, undated(model)):
        if name in models:
            return models[name]
    for pattern, found in _known():
        if fnmatchcase(model, pattern):
            return found
    return _table().default


def cost_micro_usd(model: str, input_tokens: int, output_tokens: int) -> int:
    """Return the price of a call in micro-USD, rounded up."""
    each = price(model)
    return -(-(input_tokens * each.input + output_tokens * each.output) // _MILLION)


def worst_case(model: str, payload_bytes: int, max_output_tokens: int) -> tuple[int, int]:
    """Return the most (tokens, micro-USD) that a call can cost, known before it is made.

    ``payload_bytes`` is the size of the request's JSON (messages and tools, UTF-8). A token of a byte-level
    BPE covers at least one byte, and the JSON around a message has more bytes than the tokens that frame it;
    the constant covers the frame of the reply. Holds for text; images are not billed by their bytes.
    """
    input_tokens = payload_bytes + FRAMING_TOKENS
    return input_tokens + max_output_tokens, cost_micro_usd(model, input_tokens, max_output_tokens)
