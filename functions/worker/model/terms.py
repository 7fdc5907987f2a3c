"""What of a model call is not priced as plain text: as it was asked for, and as the provider tells of it.

What is reserved covers what was asked for. What is charged goes by what the reply says: its service tier, the tokens of
dearer kinds, the searches, the sum in USD. Where it says nothing, what was asked for is taken, never for the cheaper.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from functions.worker.model.asked import Call
from functions.worker.model.progress import Progress
from functions.worker.model.unusual import MOST_SEARCHES, PLAIN, Asked, Told
from shared import metrics
from shared.limits import operators, prices, surcharges
from shared.limits.models import Model
from shared.limits.spelling import spellings
from shared.limits.surcharges import USUAL, Terms
from shared.logs import get_logger

_log = get_logger("terms")
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


def forget() -> None:
    """Forget which tiers were seen."""
    _seen.clear()
