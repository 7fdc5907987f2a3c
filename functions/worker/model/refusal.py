"""Reads a provider's error out of whatever it sends: which words it has for it, and which status.

The words reach the task's owner, so our key is taken out of them. Shapes as found in the wild: OpenAI's object, the
same in a list (Gemini), a bare text, ``detail`` (FastAPI), ``message`` (Bedrock, Cohere), ``errors`` (Cloudflare), an
error within an error (LiteLLM), and web pages.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from functions.worker.model import error_names as known
from shared import asked_waits, provider_words, secrets, storable
from shared.clock import now
from shared.retry import ModelError

ERROR_BODY_BYTES = 64 * 1024
"""How much of a refusal is read for its reason."""
MESSAGE_CHARACTERS = 2_000
DEEPEST = 6
"""How far errors within errors are followed."""
MINUTE_SECONDS = 60.0
GATEWAY_TIMEOUTS = frozenset({504, 524})
"""What stands before a provider gave up waiting, and the provider may have gone on."""
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
    if (
        value.get("choices")
        or "usage" in value
        or value.get("type") in known.NEWS
        or (_fine(value) and not value.get("errors"))
    ):
        return False
    return any(
        value.get(name) for name in ("errors", "detail", "message", "msg", "error_msg", "error_message", "fault")
    )


def blocked(value: dict[str, Any]) -> str | None:
    """Return why a prompt was not even answered, in Gemini's words; None where nothing says so."""
    told = value.get("promptFeedback") or value.get("prompt_feedback")
    reason = told.get("blockReason") or told.get("block_reason") if isinstance(told, dict) else None
    return storable.text(str(reason)) if reason else None


def _fine(value: dict[str, Any]) -> bool:
    """Tell whether something says of itself that it is no error, as some do in every chunk."""
    return value.get("code") in known.FINE or value.get("success") is True


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
    if said is not None and (status < 400 or (status == 400 and said in known.PASSING)):
        status = said  # an answer that began well, or claims to; or a gateway has one status for all
    message = words.message or f"the provider answered {status}" + (" and no reply" if status < 400 else "")
    code = words.code
    if code is None and status < 400:
        code = "provider_error" if words.message else None
    wait_s = asked_waits.from_headers(headers, now(), limited=status == 429)
    if wait_s is None and (status == 429 or status >= 500):
        wait_s = words.wait_s if words.wait_s is not None else asked_waits.from_words(message, now())
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
    if depth and own == Words() and value.keys().isdisjoint(known.INSIDE):
        own = _of_fields(value, depth)
    for name in known.INSIDE:
        if name in value and not (name == "message" and isinstance(value[name], str)):
            inner = _words(value[name], depth + 1)
            # Whoever stands in front of the provider has its own words; the provider's say more.
            own = inner.filled(own) if name in ("error", "errors", "err") else own.filled(inner)
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return own
    if own.wait_s is None:
        own = own._replace(wait_s=_delay(metadata))
    headers = metadata.get("headers")  # OpenRouter's, which come within the error
    if own.wait_s is None and isinstance(headers, dict):
        named = {str(name).lower(): str(text) for name, text in headers.items()}
        own = own._replace(wait_s=asked_waits.from_headers(named, now(), limited=True))
    raw = metadata.get("raw")  # and so does what the provider said
    if isinstance(raw, str) and raw:
        inner = _words(raw, depth + 1)
        if inner.status in known.PASSING:
            own = own._replace(status=inner.status)
        own = own._replace(message=f"{own.message}: {inner.message}" if own.message else inner.message)
    return own


def _of_object(value: dict[str, Any]) -> Words:
    message = next((value[name] for name in known.MESSAGE if isinstance(value.get(name), str) and value[name]), None)
    codes = [
        value[name] for name in known.CODE if value.get(name) not in (None, "", 0) and not isinstance(value[name], dict)
    ]
    if isinstance(number := value.get("status_code"), int) and "status_msg" in value:
        codes = [known.BASE_RESP.get(number, number)]
    status = next((number for code in codes if (number := _status(code)) is not None), None)
    names = [str(code) for code in codes if not str(code).isdigit() and str(code) not in ("error", "None")]
    param = next((value[name] for name in known.PARAM if isinstance(value.get(name), str | list) and value[name]), None)
    telling = next((name for name in names if provider_words.of_code(name)), names[0] if names else None)
    found = Words(None, telling, status, str(param) if param else None, _delay(value))
    if message is None:
        return found
    nested = message.strip()
    if nested[:1] in ("{", "[") and len(nested) > 2:  # an error as the text of an error
        return _of_text(message, 1).filled(found)
    return found._replace(message=message)


def _of_fields(value: dict[str, Any], depth: int) -> Words:
    """Read an object whose names are those of fields, with what is wrong with each of them."""
    told = {
        name: one for name, one in value.items() if name not in known.INSIDE and isinstance(one, str | list) and one
    }
    each = [(name, _words(one, depth + 1).message) for name, one in itertools.islice(told.items(), 5)]
    text = "; ".join(f"{name}: {message}" for name, message in each if message)
    return Words(text, param=each[0][0]) if text else Words()


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
    return known.STATUSES.get(text.lower().rpartition("#")[2])


def _delay(value: dict[str, Any]) -> float | None:
    """Read Google's ``retryDelay``, and the like."""
    for name in known.DELAY:
        delay = value.get(name)
        if isinstance(delay, dict):  # a duration as some write protocol buffers
            delay = delay.get("seconds")
        if isinstance(delay, str | int | float) and not isinstance(delay, bool):
            return asked_waits.duration(f"{delay}ms" if name.lower().endswith("ms") else str(delay))
    # Of Google's allowances some come back each minute, whatever its words say of an account.
    return MINUTE_SECONDS if "perminute" in str(value.get("quotaId", "")).lower() else None


def said(data: bytes) -> str | None:
    """Return the words of what is neither a part of a reply nor a whole answer; None where it has none."""
    try:
        words = _words(json.loads(data), 0).message
    except (ValueError, RecursionError):
        words = " ".join(data.decode("utf-8", "replace").split())
    return without_key(words[:MESSAGE_CHARACTERS]) if words and words.isprintable() else None


def without_key(text: str) -> str:
    """Take our key out of a provider's message, which a task's owner will see."""
    key = secrets.openai_api_key()
    return text.replace(key, "[key]") if key else text
