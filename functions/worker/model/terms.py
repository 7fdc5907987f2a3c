"""What of a model call is not priced as plain text: as it was asked for, and as the provider tells of it.

What is reserved covers what was asked for. What is charged goes by what the reply says: its service tier, the tokens of
dearer kinds, the searches, the sum in USD. Where it says nothing, what was asked for is taken, never for the cheaper.
"""

from __future__ import annotations

import math
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from functions.worker.model.unusual import PLAIN, Asked, Told
from functions.worker.model.usage import number, places
from shared import metrics, storable
from shared.limits import operators, prices, surcharges
from shared.limits.spelling import spellings
from shared.limits.surcharges import USUAL, Terms
from shared.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from functions.worker.model.asked import Call
    from functions.worker.model.progress import Progress
    from shared.limits.models import Model

_log = get_logger("terms")
MOST_USD = 100.0
"""A provider that says that one call cost more than this is not believed."""
MOST_SEARCHES = 1_000
"""Nor one that says that it searched more often."""
IMAGE_TOKENS = 5_000
"""What an image that stands elsewhere is reckoned at (https://docs.claude.com/en/docs/build-with-claude/vision)."""
DEAR_IMAGES = {"gpt-4o-mini*": 50_000}
"""Models that count more for an image (https://platform.openai.com/docs/guides/images-vision: 2,833 + 5,667 a tile)."""
MOST_SEEN = 1_000
"""Models of which a tier is remembered that nobody had asked for."""
_SEARCHING = ("*search-preview*", "*search-api*", "sonar*", "*:online")
"""Models that search in every call, and say of some that they did."""
_ALWAYS = ("web_search_options", "search_parameters", "plugins", "enable_search")
"""Fields of a body with which a call searches, and no usage says how often."""
_OFFERED = re.compile(r"search|browser|grounding|retrieval")
"""Types of tools that the provider runs, if the model likes, and says how often it did."""
_NOWHERE = frozenset({"", "global", "not_available", "unknown", "none"})
_REGIONAL = re.compile(r"(?!api\.)[a-z]{2}\.api\.openai\.com|[a-z]+-[a-z]+\d+-aiplatform\.googleapis\.com")
_FREE_REQUESTS = frozenset({"web_fetch_requests", "tool_search_requests"})
_DETAILS = {
    "in": ("prompt_tokens_details", "input_tokens_details", "promptTokensDetails"),
    "out": ("completion_tokens_details", "output_tokens_details", "candidatesTokensDetails"),
}


_seen: dict[str, str] = {}


def of_call(call: Call, model: str, base: str) -> Asked:
    """Return what of a call to a model at a base address is not usual."""
    options, tools = call.options, call.tools or ()
    tiers = tuple(str(options[name]) for name in ("service_tier", "speed") if options.get(name))
    modalities = options.get("modalities") or ()
    extent = str(options.get("prompt_cache_retention") or "").lower()
    return Asked(
        tiers,
        str(options.get("inference_geo") or "").lower() not in _NOWHERE,
        _REGIONAL.fullmatch(urlsplit(base).hostname or "") is not None,
        int(
            any(options.get(name) not in (None, False) for name in _ALWAYS)
            or any(fnmatchcase(name, one) for name in spellings(model) for one in _SEARCHING)
        ),
        sum(_searches(tool) for tool in tools),
        "audio" in modalities or bool(options.get("audio")),
        "image" in modalities or bool(options.get("image_config")),
        extent not in ("", "in_memory", "in-memory") or any(_is_long(part) for part in _parts(call.messages, tools)),
        sum(_image_tokens(model, part) for part in _parts(call.messages, ())),
    )


def _searches(tool: dict[str, Any]) -> int:
    kind = str(tool.get("type") or "")
    if kind == "function" or not _OFFERED.search((kind or " ".join(tool)).lower()):
        return 0
    most = tool.get("max_uses")
    return min(most, MOST_SEARCHES) if isinstance(most, int) and most > 0 else 1


def _parts(messages: Iterable[dict[str, Any]], tools: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        yield message
        content = message.get("content")
        if isinstance(content, list):
            yield from (part for part in content if isinstance(part, dict))
    yield from tools


def _is_long(part: dict[str, Any]) -> bool:
    control = part.get("cache_control")
    return isinstance(control, dict) and str(control.get("ttl") or "5m") != "5m"


def _image_tokens(model: str, part: dict[str, Any]) -> int:
    if part.get("type") not in ("image_url", "input_image"):
        return 0
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or url.startswith("data:"):
        return 0  # its bytes are counted
    return next((tokens for one, tokens in DEAR_IMAGES.items() if fnmatchcase(model, one)), IMAGE_TOKENS)


def worst_case(
    model: str, payload_bytes: int, max_output_tokens: int, asked: Asked, *, at: Model | None = None
) -> tuple[int, int]:
    """Return the most (tokens, micro-USD) that a call can cost, as `prices.worst_case` for what is usual.

    A tier that the model's replies had though nobody asked for it is reckoned with from then on.
    """
    tokens, money = prices.worst_case(model, payload_bytes + asked.images, max_output_tokens, at=at)
    tiers = tuple(tier for tier in asked.tiers if surcharges.multiple(model, tier) > surcharges.THOUSAND)
    if not tiers and model in _seen:
        tiers = (_seen[model],)
    read = tokens - max_output_tokens
    each = at or prices.price(model)
    stored = read if each.cache_write > each.input or asked.long_cache else 0
    terms = Terms(
        tiers,
        asked.in_region,
        asked.at_region,
        asked.searches + asked.offered,
        audio_out=max_output_tokens if asked.speaks else 0,
        image_out=max_output_tokens if asked.draws else 0,
        long_write=stored if asked.long_cache else 0,
    )
    if terms == USUAL:
        return tokens, money
    return tokens, surcharges.cost(model, read, max_output_tokens, terms, stored=stored, at=at)


def charge(
    model: str, read: int, written: int, progress: Progress, details: Mapping[str, int], *, at: Model | None = None
) -> int:
    """Return what a call costs that read and wrote so many tokens, in micro-USD.

    ``details`` are what the provider says of its cache.
    """
    cached, stored = details.get("cached_tokens", 0), details.get("cache_write_tokens", 0)
    told = progress.told
    if progress.asked == PLAIN and told is None:
        return prices.cost_micro_usd(model, read, written, cached_tokens=cached, cache_write_tokens=stored, at=at)
    terms = _terms(model, written, stored, progress.asked, told or Told(), reported=progress.reported is not None)
    money = surcharges.cost(model, read, written, terms, cached=cached, stored=stored, at=at)
    if told and told.micro_usd > money and at is None and operators.price(spellings(model)) is None:
        return told.micro_usd
    return money


def _terms(model: str, written: int, stored: int, asked: Asked, told: Told, *, reported: bool) -> Terms:
    count = told.counts.get
    asked_tiers = tuple(one for one in asked.tiers if surcharges.multiple(model, one) >= surcharges.THOUSAND)
    tiers = tuple(one for one in (told.tier, told.speed) if one) or asked_tiers
    _remember(model, tiers, asked)
    return Terms(
        tiers,
        told.region.lower() not in _NOWHERE if told.region else asked.in_region,
        asked.at_region,
        max(count("searches", 0), asked.searches + (0 if reported else asked.offered)),
        count("audio_in", 0),
        count("audio_out", 0) or (written if asked.speaks and not reported else 0),
        count("image_in", 0),
        count("image_out", 0) or (written if asked.draws and not reported else 0),
        count("long_write", 0) or (stored if asked.long_cache else 0),
    )


def _remember(model: str, tiers: tuple[str, ...], asked: Asked) -> None:
    """Note a tier that costs more than was asked for, and say so once of one that nobody knows."""
    before = max([surcharges.multiple(model, one) for one in asked.tiers], default=surcharges.THOUSAND)
    for tier in tiers:
        if surcharges.multiple(model, tier) <= before or _seen.get(model) == tier:
            continue
        if len(_seen) >= MOST_SEEN:
            del _seen[next(iter(_seen))]
        _seen[model] = tier
        if not surcharges.is_known(tier):
            metrics.count("UnknownServiceTier")
            _log.warning("a service tier that nobody knows: charged as the dearest", extra={"tier": tier[:64]})


def hear_tier(progress: Progress, tier: Any) -> None:
    """Take what a chunk says of its service tier."""
    if not isinstance(tier, str) or surcharges.named(tier) in ("", "auto", "none", "null"):
        return
    if progress.told is None and not progress.asked.tiers and surcharges.is_usual(tier):
        return  # as in nearly every chunk
    _told(progress).tier = storable.text(tier)[:64]


def hear(progress: Progress, chunk: dict[str, Any]) -> None:
    """Take what a chunk, or a whole answer, says besides its tokens of text."""
    for usage in places(chunk):
        hear_tier(progress, usage.get("service_tier") or usage.get("trafficType"))
        if isinstance(speed := usage.get("speed"), str) and speed and surcharges.is_known(speed):
            _told(progress).speed = speed  # what is no mode may be how many tokens a second there were
        if isinstance(region := usage.get("inference_geo"), str) and region:
            _told(progress).region = storable.text(region)[:64]
        counts = _counts(usage)
        money = _micro_usd(usage)
        if counts or money:
            told = _told(progress)
            told.micro_usd = max(told.micro_usd, money)
            for kind, count in counts.items():
                told.counts[kind] = max(told.counts.get(kind, 0), count)


def _told(progress: Progress) -> Told:
    if progress.told is None:
        progress.told = Told()
    return progress.told


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for way, names in _DETAILS.items():
        for details in (usage.get(name) for name in names):
            for kind in ("audio", "image"):
                found[f"{kind}_{way}"] = max(found.get(f"{kind}_{way}", 0), _of_kind(details, kind))
    written = [usage.get("cache_creation")]
    for name in _DETAILS["in"]:
        details = usage.get(name)
        written += [details.get("cache_creation_token_details"), details] if isinstance(details, dict) else []
    for place in written:
        if isinstance(place, dict):
            found["long_write"] = max(found.get("long_write", 0), number(place.get("ephemeral_1h_input_tokens")) or 0)
    found["searches"] = _searched(usage)
    return {kind: count for kind, count in found.items() if count}


def _of_kind(details: Any, kind: str) -> int:
    if isinstance(details, dict):
        return number(details.get(f"{kind}_tokens")) or 0
    if isinstance(details, list):  # Gemini's
        of_kind = [one for one in details if isinstance(one, dict) and str(one.get("modality")).lower() == kind]
        return sum(number(one.get("tokenCount")) or 0 for one in of_kind)
    return 0


def _searched(usage: dict[str, Any]) -> int:
    found = sum(number(usage.get(name)) or 0 for name in ("num_search_queries", "num_sources_used"))
    for name in ("server_tool_use", "server_tool_use_details", "server_side_tool_usage_details"):
        tools = usage.get(name)
        if isinstance(tools, dict):
            found += sum(number(count) or 0 for tool, count in tools.items() if tool not in _FREE_REQUESTS)
    found = max(found, number(usage.get("web_search_requests")) or 0)
    return min(found, MOST_SEARCHES)


def _micro_usd(usage: dict[str, Any]) -> int:
    """Return what a provider says that a call cost: OpenRouter, Perplexity, DeepInfra, xAI; 0: nothing."""
    cost, beside = usage.get("cost"), usage.get("cost_details")
    told = _usd(cost.get("total_cost") if isinstance(cost, dict) else cost)
    if isinstance(beside, dict) and usage.get("is_byok"):  # one's own account upstream: the gateway's fee comes beside
        told += _usd(beside.get("upstream_inference_cost"))
    ticks = _usd(usage.get("cost_in_usd_ticks"), most=MOST_USD * 1e10) / 1e10
    told = max(told, _usd(usage.get("estimated_cost")), ticks)
    return math.ceil(round(told * 1_000_000, 3)) if told <= MOST_USD else 0


def _usd(value: Any, most: float = MOST_USD) -> float:
    if isinstance(value, str) and len(value) < 32:
        try:
            value = float(value)
        except ValueError:
            return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value <= most else 0.0


def forget() -> None:
    """Forget which tiers were seen."""
    _seen.clear()
