"""What a call costs beside its tokens of text: by service tier, region, kind of token, and search.

A price row (`shared.limits.models`) says what text costs. ``surcharges.json``, from the same source, says of some
models what else changes a call's price. It is read when a call first has such a thing, so most environments never do.
The operator's own word (``PRICES``, see `shared.limits.operators`) comes first here, too.
"""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from shared.limits import operators, prices
from shared.limits.models import Model
from shared.limits.spelling import NAMES_KEPT, spellings

THOUSAND = 1_000
_MILLION = 1_000_000
DEAREST_TIER = 2_500
"""What a tier costs that is known to be dear, or that nobody knows, in thousandths of the usual price: the dearest
``priority`` of the source."""
DEAREST_FAST = 6_000
"""The same of a fast mode (Anthropic's for Opus 4.6; OpenAI's ``ultrafast``)."""
LONG_WRITE = 1_600
"""What a cache that is kept for an hour costs to write, in thousandths of one kept for minutes: 2 to 1.25 of the price
of input (https://docs.claude.com/en/docs/build-with-claude/prompt-caching)."""
SEARCH_MICRO_USD = 35_000
"""A search that has no price: the dearest of the large providers (Gemini 2.5)."""
REGION = 1_100
"""What is asked to stay in a region costs, in thousandths (Anthropic's ``inference_geo``, OpenAI's regional hosts)."""

_USUAL = frozenset(
    {
        "", "auto", "default", "standard", "standard_only", "on_demand", "performance", "scale", "reserved", "free",
        "provisioned", "provisioned_throughput", "none", "null", "normal", "regular", "basic", "base", "paid",
        "serverless",
    }
)  # fmt: skip
"""Names of what costs the usual price, or was paid for ahead."""
_CHEAP = frozenset({"flex", "batch", "economy"})
_FAST = frozenset({"fast", "ultrafast", "turbo"})
_ALIASES = {"batches": "batch", "on_demand_priority": "priority", "on_demand_flex": "flex", "on_demand_batch": "batch"}


class Surcharges(NamedTuple):
    """What changes the price of one model's calls; money in micro-USD per 1,000,000 tokens, 0: as text."""

    tiers: Mapping[str, int] = {}
    """By name of a tier: thousandths of the usual price."""
    audio_in: int = 0
    audio_out: int = 0
    image_in: int = 0
    image_out: int = 0
    long_write: int = 0
    """Of input that is written to a cache that lasts an hour or more (0: as reckoned from the usual one)."""
    search: int = SEARCH_MICRO_USD
    """Of one search, micro-USD."""
    region: int = 0
    """Thousandths of the usual price at an address of one region; 0: no more."""


class Terms(NamedTuple):
    """What of one call is not usual; what is empty costs nothing more."""

    tiers: tuple[str, ...] = ()
    """Service tier and speed, as a provider names them."""
    in_region: bool = False
    """It is asked to stay in a region."""
    at_region: bool = False
    """It goes to an address of one region."""
    searches: int = 0
    audio_in: int = 0
    audio_out: int = 0
    image_in: int = 0
    image_out: int = 0
    long_write: int = 0
    """Tokens of a kind, of those read or written."""


USUAL = Terms()


def named(tier: str) -> str:
    """Return the name of a tier in small letters, as this table has it."""
    name = tier.strip().lower().replace("-", "_")
    name = name.removeprefix("service_tier_").removeprefix("traffic_type_")
    return _ALIASES.get(name, name)


def is_usual(tier: str) -> bool:
    """Tell whether a tier costs the usual price, or was paid for ahead."""
    return named(tier) in _USUAL


def is_known(tier: str) -> bool:
    """Tell whether a tier's name says anything."""
    return named(tier) in _USUAL | _CHEAP | _FAST | {"priority", "balanced"}


def multiple(model: str, tier: str) -> int:
    """Return what a tier costs in thousandths of the usual price; one that nobody knows costs as the dearest."""
    name = named(tier)
    if name in _USUAL:
        return THOUSAND
    listed = of(model).tiers
    if name in listed:
        return listed[name]
    if name in _CHEAP:
        return THOUSAND  # this model is not sold so, as far as is known
    if name in _FAST:
        return max([*listed.values(), DEAREST_FAST])
    return max([*listed.values(), DEAREST_TIER]) if name != "priority" else DEAREST_TIER


def cost(
    model: str, read: int, written: int, terms: Terms, *, cached: int = 0, stored: int = 0, at: Model | None = None
) -> int:
    """Return the price of a call in micro-USD, rounded up.

    Of what was ``read``, ``cached`` tokens came from the provider's cache and ``stored`` were written to it. Tokens of
    a dearer kind are taken for none of these: which they were, no provider says.
    """
    dear = min(read, terms.audio_in + terms.image_in)
    money = prices.cost_micro_usd(
        model, read, written, cached_tokens=min(cached, read - dear), cache_write_tokens=stored, at=at
    )
    if terms == USUAL:
        return money
    each = at or prices.price(model)
    if not (each.input or each.output):
        return money  # a model of one's own
    beside = of(model)
    text_in = each.input_above if each.above and read > each.above else each.input
    text_out = each.output_above if each.above and read > each.above else each.output
    scale = max(THOUSAND, THOUSAND * text_in // each.input) if each.input else THOUSAND
    more = min(terms.audio_in, read) * max(0, beside.audio_in - text_in)
    more += min(terms.image_in, read) * max(0, beside.image_in - text_in)
    more += min(terms.audio_out, written) * max(0, beside.audio_out - text_out)
    more += min(terms.image_out, written) * max(0, beside.image_out - text_out)
    short = each.cache_write or each.input
    long = beside.long_write or (short * LONG_WRITE // THOUSAND if each.cache_write > each.input else 0)
    more += min(terms.long_write, stored) * max(0, long - short) * scale // THOUSAND
    money += -(-more // _MILLION)
    for tier in terms.tiers:
        money = -(-money * multiple(model, tier) // THOUSAND)
    if terms.in_region or (terms.at_region and beside.region):
        money = -(-money * (beside.region or REGION) // THOUSAND)
    return money + terms.searches * beside.search


@lru_cache(NAMES_KEPT)
def of(model: str) -> Surcharges:
    """Return what the operator, or the table, says of a model.

    Raises:
        SettingError: what the operator says cannot be read.
    """
    names = spellings(model)
    own = operators.beside(names)
    found = next((_table()[name] for name in names if name in _table()), None)
    if found is None:
        found = next((_table()[one] for one in _patterns() if fnmatchcase(model.lower(), one)), {})
    made = dict(found) | dict(own or {})
    tiers = [{named(name): times for name, times in one.get("tiers", {}).items()} for one in (found, own or {})]
    return _surcharges(made | {"tiers": tiers[0] | tiers[1]})


def _surcharges(row: Mapping[str, Any]) -> Surcharges:
    def micro(name: str) -> list[int]:
        figures = row.get(name, 0)
        both = figures if isinstance(figures, list) else [figures, figures]
        return [round(one * _MILLION) for one in both]

    (audio_in, audio_out), (image_in, image_out) = micro("audio"), micro("image")
    return Surcharges(
        {tier: round(times * THOUSAND) for tier, times in row["tiers"].items()},
        audio_in,
        audio_out,
        image_in,
        image_out,
        micro("long_write")[0],
        micro("search")[0] if "search" in row else SEARCH_MICRO_USD,
        round(row.get("region", 0) * THOUSAND),
    )


@cache
def _table() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "surcharges.json").read_text())["models"]
    return found


@cache
def _patterns() -> tuple[str, ...]:
    return tuple(name for name in _table() if "*" in name)


def forget() -> None:
    """Read everything again at the next question."""
    for cached in (of, _table, _patterns):
        cached.cache_clear()
