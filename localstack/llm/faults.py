"""Faults: the ways in which the simulator refuses or spoils an answer.

Refusals are an HTTP status with OpenAI's error body, sent at once unless the directive itself sets a
latency: any status from ``400`` to ``599``, ``quota`` (429 ``insufficient_quota``) and ``filter`` (400
``content_filter``).

Breakages take the usual time and spoil the answer half-way through:

===============  ============================================================================
``garbage``      200 with a body, or a stream event, that is not JSON
``mojibake``     the same, and not even UTF-8
``truncate``     a stream that ends properly but without ``[DONE]``; a body cut in half
``drop``         the connection is closed after half of the answer
``reset``        the connection is cut before anything was sent
``hang``         nothing is ever sent (until ``hang`` seconds passed, then the connection is closed)
``stall``        half of the answer, then silence, as long as a hang
``error_event``  a stream in whose middle an error event stands; a 500 where no stream was asked
``filtered``     a proper answer, cut in half, with ``finish_reason`` ``content_filter``
===============  ============================================================================
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

BREAKAGES = frozenset({"garbage", "mojibake", "truncate", "drop", "reset", "hang", "stall", "error_event", "filtered"})


class Refusal(NamedTuple):
    """An error answer: HTTP status and the fields of OpenAI's error object."""

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None


class ApiError(Exception):
    """Ends a request with a refusal and, where given, further headers."""

    def __init__(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> None:
        """Takes what will be sent."""
        super().__init__(refusal.message)
        self.refusal = refusal
        self.headers = dict(headers or {})


def invalid(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> ApiError:
    """The refusal of a request that is wrong in itself."""
    return ApiError(Refusal(status, message, "invalid_request_error", code, param))


def wrong_type(name: str, expected: str) -> ApiError:
    """The refusal of a parameter of the wrong type."""
    return invalid(f"Invalid type for '{name}': expected {expected}.", name, "invalid_type")


_REFUSALS: Mapping[str, Refusal] = {
    "400": Refusal(400, "The request was refused by the simulator.", "invalid_request_error", "invalid_value"),
    "401": Refusal(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    "403": Refusal(
        403,
        "Country, region, or territory not supported.",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    "404": Refusal(
        404,
        "The model does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
        "model",
    ),
    "429": Refusal(429, "Rate limit reached for requests. Please try again later.", "requests", "rate_limit_exceeded"),
    "500": Refusal(500, "The server had an error while processing your request.", "server_error"),
    "503": Refusal(503, "The engine is currently overloaded, please try again later.", "server_error", "overloaded"),
    "quota": Refusal(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "filter": Refusal(
        400,
        "The prompt was refused by the content management policy.",
        "invalid_request_error",
        "content_filter",
        "prompt",
    ),
}


def is_known(name: str) -> bool:
    """Whether a name is that of a fault."""
    return name in BREAKAGES or name in _REFUSALS or (name.isascii() and name.isdigit() and 400 <= int(name) <= 599)


def refusal(name: str) -> Refusal | None:
    """The refusal of that name; ``None`` for a breakage."""
    if name in BREAKAGES:
        return None
    known = _REFUSALS.get(name)
    if known is not None:
        return known
    status = int(name)
    if status >= 500:
        return Refusal(status, "The server is not available.", "server_error")
    return Refusal(status, "The request was refused by the simulator.", "invalid_request_error")


def retry_headers(retry_after: float | None, retry_after_ms: float | None) -> dict[str, str]:
    """``Retry-After`` in whole seconds and ``retry-after-ms``, each only where it was asked for."""
    headers: dict[str, str] = {}
    if retry_after is not None:
        headers["retry-after"] = str(math.ceil(retry_after))
    if retry_after_ms is not None:
        headers["retry-after-ms"] = f"{retry_after_ms:g}"
    return headers


def chance(*parts: object) -> float:
    """An even draw from [0, 1) that depends on nothing but its arguments.

    Drawing by call rather than from one running generator keeps a campaign the same whatever order calls
    arrive in.
    """
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest()) / 2**56


def draw(faults: Sequence[str], rate: float, *parts: object) -> str | None:
    """One of the faults with the given probability, each as likely as the other, else ``None``."""
    if rate <= 0 or not faults:
        return None
    x = chance(*parts)
    return faults[min(int(x / rate * len(faults)), len(faults) - 1)] if x < rate else None
