"""Reads a provider's error out of whatever it sends: which words it has for it, and which status.

The words reach the task's owner, so our key is taken out of them. Shapes as found in the wild: OpenAI's object, the
same in a list (Gemini), a bare text, ``detail`` (FastAPI), ``message`` (Bedrock, Cohere), ``errors`` (Cloudflare), an
error within an error (LiteLLM), and web pages.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from shared import asked_waits, provider_words, secrets
from shared.clock import now
from shared.retry import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

ERROR_BODY_BYTES = 64 * 1024
"""How much of a refusal is read for its reason."""
MESSAGE_CHARACTERS = 2_000
DEEPEST = 6
"""How far errors within errors are followed."""
GATEWAY_TIMEOUTS = frozenset({504, 524})
"""What stands before a provider gave up waiting, and the provider may have gone on."""
_INSIDE = ("error", "x_groq", "errors", "detail", "details", "fault", "response", "base_resp", "err", "message")
_MESSAGE = (
    "message", "Message", "msg", "error_message", "error_msg", "errorMessage", "status_msg", "faultstring", "reason",
    "error_description", "title",
)  # fmt: skip
_CODE = ("code", "error_code", "errorCode", "status_code", "statusCode", "status", "type", "__type", "error_type")
_STATUSES = {
    "invalid_argument": 400, "failed_precondition": 400, "invalid_request_error": 400, "bad_request": 400,
    "badrequesterror": 400, "validationexception": 400, "invalid_request": 400, "bad_request_error": 400,
    "unauthenticated": 401, "authentication_error": 401, "invalid_api_key": 401, "autherror": 401,
    "authenticationerror": 401, "insufficient_balance": 402, "billing_error": 402, "payment_required": 402,
    "permission_denied": 403, "permission_error": 403, "permissiondeniederror": 403, "accessdeniedexception": 403,
    "not_found": 404, "not_found_error": 404, "model_not_found": 404, "notfounderror": 404,
    "resourcenotfoundexception": 404, "request_too_large": 413, "resource_exhausted": 429, "rate_limit_error": 429,
    "rate_limit_exceeded": 429, "rate_limit_exceeded_error": 429, "too_many_requests": 429, "ratelimiterror": 429,
    "throttlingexception": 429, "throttling_error": 429, "throttling": 429, "rate_limited": 429, "internal": 500,
    "internal_error": 500, "internal_server_error": 500, "server_error": 500, "api_error": 500,
    "internalservererror": 500, "unavailable": 503, "service_unavailable": 503, "engine_overloaded_error": 503,
    "overloaded": 503, "timeout": 504, "timeout_error": 504, "deadline_exceeded": 504, "overloaded_error": 529,
    "rate_limit": 429, "over_capacity": 503,
}  # fmt: skip
"""Statuses by the names that providers give them."""
_BASE_RESP = {
    1000: "internal_error", 1001: "timeout", 1002: "rate_limit", 1004: "unauthenticated", 1008: "insufficient_balance",
    1013: "internal_error", 1024: "internal_error", 1026: "content_filter", 1027: "content_filter",
    1033: "internal_error", 1039: "invalid_request", 2013: "invalid_request", 2049: "invalid_api_key",
    2056: "rate_limit",
}  # fmt: skip
"""Names for the numbers in ``base_resp``, which comes with 200 (platform.minimax.io, "Error Codes", 2026-11)."""
_FINE = (0, "0", 200, "200", "success", "Success", "ok", "OK")
_PASSING = frozenset({429, 503, 529})
_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^<>]{0,2000}>", re.S | re.I)


class Words(NamedTuple):
    """What an error says."""

    message: str | None = None
    code: str | None = None
    status: int | None = None
    param: str | None = None
    wait_s: float | None = None

    def filled(self, other: Words) -> Words:
        """Return this, with what it lacks from another."""
        return Words(
            self.message if self.message is not None else other.message,
            self.code if self.code is not None else other.code,
            self.status if self.status is not None else other.status,
            self.param if self.param is not None else other.param,
            self.wait_s if self.wait_s is not None else other.wait_s,
        )


def is_error(value: dict[str, Any]) -> bool:
    """Tell whether an object is an error rather than a chunk of a reply."""
    error = value.get("error")
    if error and not (isinstance(error, dict) and (not any(error.values()) or _fine(error))):
        return True
    groq = value.get("x_groq")
    if isinstance(groq, dict) and groq.get("error"):
        return True
    if value.get("object") == "error" or value.get("type") == "error":
        return True
    base = value.get("base_resp")
    if isinstance(base, dict) and base.get("status_code") not in (None, 0):
        return True
    if value.get("choices") or "usage" in value or (_fine(value) and not value.get("errors")):
        return False
    return any(
        value.get(name) for name in ("errors", "detail", "message", "msg", "error_msg", "error_message", "fault")
    )


def _fine(value: dict[str, Any]) -> bool:
    """Tell whether something says of itself that it is no error, as some do in every chunk."""
    return value.get("code") in _FINE or value.get("success") is True


def read(data: bytes, status: int, headers: Mapping[str, str], *, unseen: bool = False) -> ModelError:
    """Make an error of an answer's body."""
    data = data[:ERROR_BODY_BYTES]
    text = data.decode("utf-8", "replace").strip()
    if text.startswith("data:"):  # an event stream of one error
        text = text.partition("data:")[2].partition("\n")[0].strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return page(data, status, headers, unseen=unseen)
    if not isinstance(value, dict | list):
        return page(data, status, headers, unseen=unseen)
    return of_value(value, status, headers, unseen=unseen)


def page(data: bytes, status: int, headers: Mapping[str, str] | None = None, *, unseen: bool = False) -> ModelError:
    """Make an error of an answer that is no JSON: of a web page only its words are shown."""
    text = data[:ERROR_BODY_BYTES].decode("utf-8", "replace")
    looks = "<" in text[:200]
    if looks:
        text = html.unescape(_TAGS.sub(" ", text))
    words = " ".join(text.split())
    if not words or len(words) < 3 or not words.isprintable():
        words = ""
    what = "a web page" if looks else "text"
    if status < 400:
        message, code = f"the provider sent a malformed answer, {what}: {words}".rstrip(": "), "malformed_reply"
        return _error(Words(message, code), status, headers or {}, unseen=unseen)
    message = f"the provider answered {status} with {what}: {words}" if words else f"the provider answered {status}"
    return _error(Words(message), status, headers or {}, unseen=unseen)


def of_value(value: Any, status: int, headers: Mapping[str, str], *, unseen: bool = False) -> ModelError:
    """Make an error of what an answer's JSON says."""
    return _error(_words(value, 0), status, headers, unseen=unseen)


def _error(words: Words, status: int, headers: Mapping[str, str], *, unseen: bool) -> ModelError:
    said = words.status
    if said is not None and (status < 400 or (status == 400 and said in _PASSING)):
        status = said  # an answer that began well, or claims to; or a gateway has one status for all
    message = words.message or f"the provider answered {status}" + (" and no reply" if status < 400 else "")
    code = words.code
    if code is None and status < 400:
        code = "provider_error" if words.message else None
    wait_s = asked_waits.from_headers(headers, now(), limited=status == 429)
    if wait_s is None and (status == 429 or status >= 500):
        wait_s = words.wait_s if words.wait_s is not None else asked_waits.from_words(message)
    return ModelError(
        without_key(message[:MESSAGE_CHARACTERS]),
        status=status,
        code=code,
        retry_after_s=wait_s,
        unseen=unseen and status in GATEWAY_TIMEOUTS | {200},
        param=words.param,
    )


def _words(value: Any, depth: int) -> Words:
    if depth > DEEPEST or value is None:
        return Words()
    if isinstance(value, str):
        return _of_text(value, depth)
    if isinstance(value, list):
        return _of_list(value, depth)
    if not isinstance(value, dict):
        return Words(str(value))
    own = _of_object(value)
    for name in _INSIDE:
        if name in value and not (name == "message" and isinstance(value[name], str)):
            inner = _words(value[name], depth + 1)
            # Whoever stands in front of the provider has its own words; the provider's say more.
            own = inner.filled(own) if name in ("error", "errors", "err") else own.filled(inner)
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return own
    headers = metadata.get("headers")  # OpenRouter's, which come within the error
    if own.wait_s is None and isinstance(headers, dict):
        named = {str(name).lower(): str(text) for name, text in headers.items()}
        own = own._replace(wait_s=asked_waits.from_headers(named, now(), limited=True))
    raw = metadata.get("raw")  # and so does what the provider said
    if isinstance(raw, str) and raw:
        inner = _words(raw, depth + 1)
        own = own._replace(message=f"{own.message}: {inner.message}" if own.message else inner.message)
    return own


def _of_object(value: dict[str, Any]) -> Words:
    message = next((value[name] for name in _MESSAGE if isinstance(value.get(name), str) and value[name]), None)
    codes = [
        value[name] for name in _CODE if value.get(name) not in (None, "", 0) and not isinstance(value[name], dict)
    ]
    if isinstance(number := value.get("status_code"), int) and "status_msg" in value:
        codes = [_BASE_RESP.get(number, number)]
    status = next((number for code in codes if (number := _status(code)) is not None), None)
    names = [str(code) for code in codes if not str(code).isdigit() and str(code) not in ("error", "None")]
    param = value.get("param") or value.get("loc")
    telling = next((name for name in names if provider_words.of_code(name)), names[0] if names else None)
    found = Words(None, telling, status, str(param) if param else None, _delay(value))
    if message is None:
        return found
    nested = message.strip()
    if nested[:1] in ("{", "[") and len(nested) > 2:  # an error as the text of an error
        return _of_text(message, 1).filled(found)
    return found._replace(message=message)


def _of_text(text: str, depth: int) -> Words:
    stripped = text.strip()
    for start in {0, stripped.find("{")} - {-1}:
        if stripped[start : start + 1] in ("{", "["):
            try:
                inner = _words(json.loads(stripped[start:]), depth + 1)
            except (ValueError, RecursionError):
                continue
            if inner.message:
                return inner
    return Words(text) if stripped else Words()


def _of_list(items: list[Any], depth: int) -> Words:
    each = [_words(item, depth + 1) for item in items[:5]]
    merged = Words()
    for words in each:
        merged = merged.filled(words)
    text = "; ".join(words.message for words in each if words.message)
    params = [words.param for words in each if words.param]
    if params and text:
        text += f" ({', '.join(params)})"
    return merged._replace(message=text or None)


def _status(code: Any) -> int | None:
    if isinstance(code, bool):
        return None
    text = str(code)
    if text.isdigit():
        return int(text) if 400 <= int(text) <= 599 else None
    return _STATUSES.get(text.lower().rpartition("#")[2])


def _delay(value: dict[str, Any]) -> float | None:
    """Read Google's ``retryDelay``, and the like."""
    for name in ("retryDelay", "retry_after", "retry_after_seconds", "retryAfter"):
        delay = value.get(name)
        if isinstance(delay, str | int | float) and not isinstance(delay, bool):
            return asked_waits.duration(str(delay))
    return None


def without_key(text: str) -> str:
    """Take our key out of a provider's message, which a task's owner will see."""
    key = secrets.openai_api_key()
    return text.replace(key, "[key]") if key else text
