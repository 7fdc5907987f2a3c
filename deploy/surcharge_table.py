"""Makes ``shared/limits/surcharges.json``: what changes a call's price beside its tokens, from the data of the prices.

Called by ``python -m deploy.price_table``, which names the source. What two sellers of the same rank say differently is
taken as the dearer says.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deploy.bundle import ROOT
from shared.limits.spelling import spellings

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = ROOT / "shared" / "limits" / "surcharges.json"
TIERS = {"priority": "priority", "flex": "flex", "batches": "batch", "ultrafast": "ultrafast", "balanced": "balanced"}
"""Tiers by what ends their keys in the source; a tier's whole price is its dearest multiple."""
_TOKENS = ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")
UNITS = "tiers, region: times the usual price; audio, image: USD per 1,000,000 tokens [in, out]; long_write: the same, "
UNITS += "of input written to a cache that lasts an hour or more; search: USD for one"
type Row = dict[str, Any]


def write(raw: Mapping[str, Mapping[str, Any]], ranks: Mapping[str, int], head: Mapping[str, Any]) -> None:
    """Write the table; ``ranks`` are of names that have a price, lower ones say first what a bare name costs."""
    found = table(raw, ranks)
    lines = [f"  {json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}" for name, row in found.items()]
    text = json.dumps({**head, "units": UNITS}, indent=2)[:-2] + ',\n  "models": {\n  ' + ",\n  ".join(lines)
    TABLE.write_text(text + "\n  }\n}\n")
    print(f"{len(found)} models with surcharges, {TABLE.stat().st_size} bytes")


def table(raw: Mapping[str, Mapping[str, Any]], ranks: Mapping[str, int]) -> dict[str, Row]:
    """Return names to rows, without those that a shorter name says as well."""
    offers = {name.lower(): _row(entry) for name, entry in raw.items() if name.lower() in ranks}
    by_name: dict[str, list[str]] = {}
    for name in offers:
        for form in {spellings(name)[-1], name.rsplit("/", 1)[-1]}:
            by_name.setdefault(form, []).append(name)
    kept: dict[str, Row] = {}
    for form, names in by_name.items():
        best = min(ranks[name] for name in names)
        row: Row = {}
        for name in names:
            if ranks[name] == best:
                row = _dearer(row, offers[name])
        kept[form] = row
    for name in sorted(offers, key=lambda name: (len(name.split("/")), len(name), name)):
        if next((kept[form] for form in spellings(name) if form in kept), {}) != offers[name]:
            kept[name] = offers[name]
    # What says nothing must stand only where a shorter name would say something.
    return {
        name: row for name, row in sorted(kept.items()) if row or any(kept.get(form) for form in spellings(name)[1:])
    }


def _row(entry: Mapping[str, Any]) -> Row:
    def usd(key: str) -> float:
        return round((entry.get(key) or 0) * 1_000_000, 4)

    row: Row = {}
    tiers = {name: _times(entry, key) for key, name in TIERS.items()}
    tiers["fast"] = round(float((entry.get("provider_specific_entry") or {}).get("fast") or 0), 3)
    if tiers := {name: times for name, times in tiers.items() if times}:
        row["tiers"] = tiers
    for kind in ("audio", "image"):
        both = [usd(f"input_cost_per_{kind}_token"), usd(f"output_cost_per_{kind}_token")]
        text = usd("input_cost_per_token"), usd("output_cost_per_token")
        both = [price if price > usual else 0 for price, usual in zip(both, text, strict=True)]
        if any(both):
            row[kind] = both
    long = max(usd("cache_creation_input_token_cost_above_1hr"), usd("cache_creation_input_token_cost_above_12hr"))
    if long > usd("cache_creation_input_token_cost"):
        row["long_write"] = long
    searches = entry.get("search_context_cost_per_query") or {}
    if searches and max(searches.values()):
        row["search"] = max(searches.values())
    uplifts = [entry.get(f"regional_{kind}") or 0 for kind in _UPLIFTS]
    uplifts.append((entry.get("provider_specific_entry") or {}).get("us") or 0)
    if max(uplifts) > 1:
        row["region"] = max(uplifts)
    return row


_UPLIFTS = ("processing_uplift_multiplier_eu", "processing_uplift_multiplier_us", "endpoint_uplift_multiplier")


def _times(entry: Mapping[str, Any], tier: str) -> float:
    """Return the dearest multiple of the usual price that a tier's prices are; 0: it is not sold so."""
    found = [entry[f"{key}_{tier}"] / entry[key] for key in _TOKENS if entry.get(key) and entry.get(f"{key}_{tier}")]
    # Of what is read from a cache the share is small, and the source rounds its price: it alone makes no tier dear.
    return round(max(found[:2], default=0), 3)


def _dearer(one: Row, other: Row) -> Row:
    made = dict(one)
    for name, value in other.items():
        had = made.get(name)
        if had is None:
            made[name] = value
        elif isinstance(value, dict):
            made[name] = {key: max(had.get(key, 0), value.get(key, 0)) for key in had | value}
        elif isinstance(value, list):
            made[name] = [max(pair) for pair in zip(had, value, strict=True)]
        else:
            made[name] = max(had, value)
    return made
