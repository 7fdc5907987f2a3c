"""What the operator says of models: ``PRICES``, ``PRICES_OBJECT``, ``CONTEXT_TOKENS``, names or patterns to figures.

``PRICES`` is JSON: a name, or a pattern with ``*``, to ``[input, output]`` in USD per 1,000,000 tokens, or to one
figure for both (0: free, as a model of one's own is), or to an object that has ``input``, ``output`` and what else its
provider charges (``BESIDE``). ``PRICES_OBJECT`` names an S3 object with the same, for what
does not fit a parameter; a file's path is taken, too. What stands in ``PRICES`` wins.
``CONTEXT_TOKENS`` is a number for every model, or JSON: names or patterns to numbers.

All of it is read once per environment, on first use.
"""

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from shared.errors import DependencyDown, SettingError
from shared.settings import settings

MOST_USD = 1_000_000
"""Dearest price taken, USD per million tokens: a dollar a token."""
MOST_CONTEXT = 100_000_000
OBJECT_BYTES = 4_000_000
"""Largest price object read."""
MOST_TIMES = 1_000
"""Dearest tier taken, times the usual price."""
TIERS = 20
"""Tiers of a model at most."""
BESIDE = ("tiers", "audio", "image", "long_write", "search", "region")
"""What an object may say besides: ``tiers`` and ``region`` as multiples of the usual price, ``search`` in USD for one,
the others in USD per 1,000,000 tokens (``[input, output]`` or one figure for both)."""


def price(spellings: Sequence[str]) -> tuple[float, float] | None:
    """Return the operator's price of a model, USD per million tokens (input, output); None when there is none.

    ``spellings`` are the names that it may be known by, in small letters, the most exact first.

    Raises:
        SettingError: it cannot be read; names the variable.
    """
    found = _find(spellings, _prices())
    return found[:2] if found else None


def beside(spellings: Sequence[str]) -> dict[str, Any] | None:
    """Return what the operator says of a model's price besides, by ``BESIDE``; None when they priced it not at all.

    Raises:
        SettingError, DependencyDown: as of `price`.
    """
    found = _find(spellings, _prices())
    return found[2] if found else None


def context(spellings: Sequence[str]) -> int | None:
    """Return the operator's context size of a model, in tokens; None when there is none.

    Raises:
        SettingError: it cannot be read; names the variable.
    """
    return _find(spellings, _contexts())


def priced() -> tuple[str, ...]:
    """Return the whole names that the operator priced, patterns left out."""
    return tuple(name for name in _prices() if "*" not in name)


def forget() -> None:
    """Read everything again at the next question."""
    _prices.cache_clear()
    _contexts.cache_clear()


def _find[T](spellings: Sequence[str], table: Mapping[str, T]) -> T | None:
    for name in spellings:
        if name in table:
            return table[name]
    # The longest pattern says the most.
    fitting = [one for one in table if "*" in one and any(fnmatchcase(name, one) for name in spellings)]
    return table[max(fitting, key=len)] if fitting else None


@cache
def _prices() -> dict[str, tuple[float, float, dict[str, Any]]]:
    config = settings()
    found: dict[str, tuple[float, float, dict[str, Any]]] = {}
    for variable, text in (("PRICES_OBJECT", _object(config.prices_object)), ("PRICES", config.prices)):
        for name, value in _parsed(variable, text).items():
            found[name] = _price(variable, name, value)
    return found


@cache
def _contexts() -> dict[str, int]:
    text = settings().context_tokens.strip()
    read: Mapping[str, Any] = {"*": int(text)} if text.isascii() and text.isdigit() else _parsed("CONTEXT_TOKENS", text)
    for name, value in read.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_CONTEXT:
            raise SettingError(f"CONTEXT_TOKENS has {value!r} for {name}, which is no number of tokens")
    return dict(read)


def _parsed(variable: str, text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{variable} is no JSON: {error}", param=variable.lower()) from None
    if not isinstance(found, dict):
        raise SettingError(f"{variable} must be an object of model names", param=variable.lower())
    return {name.strip().lower(): value for name, value in found.items()}


def _price(variable: str, name: str, value: Any) -> tuple[float, float, dict[str, Any]]:
    more: dict[str, Any] = {}
    if isinstance(value, dict):
        more = {key: one for key, one in value.items() if key not in ("input", "output")}
        _check(variable, name, more)
        value = [value.get("input"), value.get("output")]
    both = value if isinstance(value, list) else [value, value]
    if len(both) != 2 or not all(_is_figure(one) for one in both):
        wanted = "[input, output] in USD per million tokens, one figure for both, or an object with input and output"
        raise SettingError(f"{variable} has {value!r} for {name}, which is not {wanted}", param=variable.lower())
    return float(both[0]), float(both[1]), more


def _check(variable: str, name: str, more: dict[str, Any]) -> None:
    for key, value in more.items():
        if key == "tiers":
            fits = isinstance(value, dict) and len(value) <= TIERS
            fits = fits and all(_is_figure(times, MOST_TIMES) for times in value.values())
        elif key in ("audio", "image") and isinstance(value, list):
            fits = len(value) == 2 and all(map(_is_figure, value))
        else:
            fits = key in BESIDE and _is_figure(value, MOST_TIMES if key == "region" else MOST_USD)
        if not fits:
            raise SettingError(f"{variable} has {value!r} as {key!r} of {name}", param=variable.lower())


def _is_figure(value: Any, most: float = MOST_USD) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most  # no NaN


def _object(address: str) -> str:
    """Read the object ``bucket/key``, or the file, that the operator's prices stand in."""
    if not address:
        return ""
    if address.startswith(("/", "./")):
        try:
            return Path(address).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"PRICES_OBJECT cannot be read: {error}", param="prices_object") from None
    from botocore.exceptions import BotoCoreError, ClientError

    from shared import aws

    bucket, _, key = address.removeprefix("s3://").partition("/")
    try:
        body = aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read(OBJECT_BYTES + 1)
        if len(body) > OBJECT_BYTES:
            raise SettingError(f"PRICES_OBJECT is larger than {OBJECT_BYTES} bytes", param="prices_object")
        return str(body.decode())
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in {"NoSuchKey", "NoSuchBucket", "AccessDenied", "404", "403"}:
            raise SettingError(f"PRICES_OBJECT cannot be read: S3 says {code}", param="prices_object") from None
        raise DependencyDown("s3") from error
    except BotoCoreError as error:
        raise DependencyDown("s3") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"PRICES_OBJECT is no text: {error}", param="prices_object") from None
