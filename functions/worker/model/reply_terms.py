"""What a reply says of its price besides tokens of text: tier, tokens of dearer kinds, searches, the sum in USD."""

import math
from typing import Any

from functions.worker.model.progress import Progress
from functions.worker.model.unusual import MOST_SEARCHES, Told
from functions.worker.model.usage import number, places
from shared import storable
from shared.limits import surcharges

MOST_USD = 100.0
"""A provider that says that one call cost more than this is not believed."""
_FREE_REQUESTS = frozenset({"web_fetch_requests", "tool_search_requests"})
_DETAILS = {
    "in": ("prompt_tokens_details", "input_tokens_details", "promptTokensDetails"),
    "out": ("completion_tokens_details", "output_tokens_details", "candidatesTokensDetails"),
}


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
