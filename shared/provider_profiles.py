"""What is known beforehand of how providers take requests, and the operator's own word (`ProviderProfiles`)."""

import json
import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from shared.errors import SettingError

NEW, OLD = "max_completion_tokens", "max_tokens"
_OPENAI = re.compile(
    r"(?:^|\.)(?:openai\.com|openai\.azure\.com|cognitiveservices\.azure\.com|services\.ai\.azure\.com)$"
)
_REASONS = re.compile(r"(?:^|[/:.])(?:o[1-9](?:-|$)|gpt-[5-9])")
"""Models of OpenAI that refuse the old name, also behind gateways."""
FIELDS = {
    "limit": (NEW, OLD, None),
    "stream": (True, False),
    "stream_options": (True, False),
    "system": ("system", "developer", "user"),
}
"""What an operator may say of a model, and how."""


def by_table(host: str, model: str) -> dict[str, Any]:
    """Return what the table says of a model at a host.

    Of all providers only OpenAI refuses ``max_tokens`` (for models that reason); Ollama, llama.cpp and others take no
    notice of ``max_completion_tokens``, and Mistral refuses it.
    """
    if _OPENAI.search(host) or _REASONS.search(model):
        return {"limit": NEW}
    return {"limit": OLD}


@lru_cache(maxsize=8)
def parse(text: str) -> dict[str, dict[str, Any]]:
    """Read the setting: JSON, model names or patterns to profiles.

    Raises:
        SettingError: it is none.
    """
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        raise SettingError("PROVIDER_PROFILES is no JSON") from None
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise SettingError("PROVIDER_PROFILES must be an object of objects: model names or patterns to profiles")
    for model, profile in value.items():
        for name, word in profile.items():
            _check(model, name, word)
    return value


def _check(model: str, name: str, word: Any) -> None:
    if name in FIELDS:
        fits = any(word is allowed or (isinstance(word, str) and word == allowed) for allowed in FIELDS[name])
    elif name == "without":
        fits = isinstance(word, list) and all(isinstance(field, str) for field in word)
    elif name == "most_output":
        fits = type(word) is int and word > 0
    else:
        raise SettingError(f"PROVIDER_PROFILES of {model!r} says {name!r}, which is no part of a profile")
    if not fits:
        raise SettingError(f"PROVIDER_PROFILES of {model!r} says {name}={word!r}, which is none of its values")


def matching(profiles: dict[str, dict[str, Any]], model: str) -> dict[str, Any]:
    """Return what an operator's profiles say of a model: by its name, else by the first pattern that fits."""
    found = profiles.get(model)
    if found is None:
        found = next((one for pattern, one in profiles.items() if fnmatchcase(model, pattern)), {})
    return {name: frozenset(word) if name == "without" else word for name, word in found.items()}
