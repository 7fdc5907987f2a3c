"""Makes ``shared/limits/prices.json``: list prices and context sizes of models, from a kept package's data.

The source is ``model_prices_and_context_window_backup.json`` in the package litellm (MIT), which follows the providers'
price pages. Only figures are taken. To renew them, raise ``VERSION`` and ``AS_OF`` (the version's day) and run::

    pip download --no-deps --dest /tmp/prices litellm==VERSION
    python -m deploy.price_table /tmp/prices/litellm-*.whl
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from deploy import surcharge_table
from deploy.bundle import ROOT
from shared.limits import models
from shared.limits.spelling import spellings

PACKAGE, VERSION, AS_OF = "litellm", "1.110.2", "2026-11-28"
MEMBER = "litellm/model_prices_and_context_window_backup.json"
TABLE = ROOT / "shared" / "limits" / "prices.json"

MODES = frozenset({"chat", "responses", "completion"})
FIRST = ("openai", "text-completion-openai", "anthropic", "gemini", "vertex_ai-language-models", "deepseek", "xai")
FIRST += ("mistral", "cohere_chat", "moonshot", "zai", "minimax", "dashscope", "perplexity")
"""Who sells models of their own, the first to name a model's price; any other's counts if none of them sells it."""
GATEWAYS = ("azure", "azure_ai", "bedrock", "bedrock_converse", "cerebras", "cloudflare", "databricks", "deepinfra")
GATEWAYS += ("fireworks_ai", "groq", "nebius", "novita", "openrouter", "sambanova", "together_ai", "vercel_ai_gateway")
"""Who sells others' models at prices of their own; a model's dearest price counts where only its bare name is given."""
DEFAULT = [150, 600]
"""What is charged for a model that nobody priced when the deployment's default has no price either: the dearest."""
OWN: dict[str, list[float]] = {
    "sim-*": [0.15, 0.6],
    "chatgpt-4o": [5, 15, 128000],
    "gpt-3.5-turbo-0301": [1.5, 2, 4096],
    "gpt-3.5-turbo-0613": [1.5, 2, 4096],
    "gpt-3.5-turbo-16k": [3, 4, 16385],
    "gpt-4-32k": [60, 120, 32768],
    "gpt-4.5-preview": [75, 150, 128000],
    "o1-mini": [3, 12, 128000],
    "o1-preview": [15, 60, 128000],
}
"""The local simulator's models, and what OpenAI sold before the package's data begins and gateways may still serve:
snapshots dearer than their base (https://openai.com/api/pricing, 2023 to 2025)."""
UNITS = "USD per 1,000,000 tokens: [input, output, context tokens, above, input above it, output above it, "
UNITS += "input read from the cache, input written to it]; 0, or left out at the end: as the others"
_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


def main(wheel: str) -> None:
    """Read a wheel of the package and write the table."""
    if f"-{VERSION}-" not in Path(wheel).name:
        raise SystemExit(f"{wheel} is not {PACKAGE} {VERSION}")
    with zipfile.ZipFile(wheel) as archive:
        raw: dict[str, dict[str, Any]] = json.loads(archive.read(MEMBER))
    found = table(raw)
    head = {
        "as_of": AS_OF,
        "source": f"{MEMBER} of {PACKAGE} {VERSION} (MIT); made by python -m deploy.price_table",
        "units": UNITS,
        "default": DEFAULT,
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(figures)}" for name, figures in found.items()]
    text = json.dumps(head, indent=2)[:-2] + ',\n  "models": {\n  ' + ",\n  ".join(lines) + "\n  }\n}\n"
    TABLE.write_text(text)
    print(f"{len(found)} models, {len(text)} bytes")
    ranks = {name: rank for name, (rank, _) in _offers(raw).items()}
    surcharge_table.write(raw, ranks, {name: head[name] for name in ("as_of", "source")})


def table(raw: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
    """Return names to figures, without those that a shorter name says as well."""
    offers = _offers(raw)
    kept = _bare(offers)
    for name in sorted(offers, key=lambda name: (len(name.split("/")), len(name), name)):
        found = offers[name][1]
        if _in(kept, name) != found:
            kept[name] = found
    return {name: models.figures_of(kept[name]) for name in sorted(kept) if name not in OWN} | OWN


def _offers(raw: dict[str, dict[str, Any]]) -> dict[str, tuple[int, models.Model]]:
    """Return who sells what: names to the seller's rank and the price."""
    sellers = {seller: rank for rank, seller in enumerate(FIRST)} | dict.fromkeys(GATEWAYS, len(FIRST))
    offers: dict[str, tuple[int, models.Model]] = {}
    for name, entry in raw.items():
        seller = str(entry.get("litellm_provider", ""))
        found = _figures(entry)
        if found and (seller in sellers or seller.startswith("vertex_ai")):
            offers[name.lower()] = sellers.get(seller, len(FIRST)), found
    return offers


def _bare(offers: dict[str, tuple[int, models.Model]]) -> dict[str, models.Model]:
    """Return what a name without a gateway means: its maker's price, else the dearest; and the usual context."""
    by_name: dict[str, list[tuple[tuple[int, int], models.Model]]] = {}
    for name, (seller, model) in offers.items():
        for form in {spellings(name)[-1], name.rsplit("/", 1)[-1]}:
            # Who is a maker and a gateway, too, sells others' models by a longer name.
            by_name.setdefault(form, []).append(((seller, name.count("/") if seller < len(FIRST) else 0), model))
    found = {}
    for name, same in by_name.items():
        if "." in name and ("anthropic." in name or "amazon." in name or "meta." in name):
            continue  # found by the name behind the vendor's
        best = min(rank for rank, _ in same)
        among = [one for rank, one in same if rank == best]
        dearest = max(among, key=lambda one: (one.output, one.input))
        contexts = Counter(one.context for one in among if one.context)
        usual = max(contexts, key=lambda context: (contexts[context], -context), default=0)
        found[name] = dearest._replace(context=usual)
    return found


def _in(kept: dict[str, models.Model], name: str) -> models.Model | None:
    return next((kept[form] for form in spellings(name) if form in kept), None)


def _figures(entry: dict[str, Any]) -> models.Model | None:
    """Read one entry; None if it is no text model with a price."""
    read, written = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if entry.get("mode") not in MODES or not read or not written:
        return None  # a price of 0 says as often that nobody knows as that it is free
    written = max(written, entry.get("output_cost_per_reasoning_token") or 0)
    context = entry.get("max_input_tokens") or entry.get("max_tokens") or 0
    above = read_above = written_above = 0
    for key, price in entry.items():
        if (match := _ABOVE.fullmatch(key)) and price and not above:
            above = int(match[1]) * 1000
            read_above = max(read, price)
            written_above = max(written, entry.get(key.replace("input", "output", 1)) or 0)
    cached, stored = entry.get("cache_read_input_token_cost") or 0, entry.get("cache_creation_input_token_cost") or 0
    # A cache that costs more to read, or less to write, than no cache is a slip of the data: as the others, then.
    cached, stored = cached if cached < read else 0, stored if stored > read else 0
    usd = [round(price * 1_000_000, 6) for price in (read, written, read_above, written_above, cached, stored)]
    each = [round(price * 1_000_000) for price in usd]
    return models.Model(each[0], each[1], int(context), above, *each[2:])


if __name__ == "__main__":
    main(sys.argv[1])
