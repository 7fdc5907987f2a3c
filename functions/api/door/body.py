"""Request bodies: read within a limit, decoded as strict JSON, checked against a model.

Python's own decoder takes duplicate keys, NaN and numbers of any length; clients here get told instead.
"""

import json
import math
from typing import Annotated, Any

from fastapi import Depends
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from functions.api.contract.problem import Problem, invalid, problem_of_validation

MAX_BODY_BYTES = 2 * 1024 * 1024
"""Largest body: a message of 256 KiB whose every character is escaped (six bytes each), and the rest."""
LARGE_BODY_BYTES = 6 * 1024 * 1024 - 64 * 1024
"""Largest body of a route that takes images: what Lambda lets through, less the rest of the event."""
MAX_DEPTH = 32
"""Deepest nesting of objects and arrays."""
MAX_INTEGER = 2**63 - 1
"""Largest magnitude of an integer."""


async def raw_body(request: Request) -> bytes:
    """Read the body, at most ``MAX_BODY_BYTES`` of it (a dependency of routes that take one).

    Raises:
        Problem: 413 when it is larger.
    """
    return await _read(request, MAX_BODY_BYTES)


async def large_body(request: Request) -> bytes:
    """Read the body of a route that takes images and files, at most ``LARGE_BODY_BYTES`` of it.

    Raises:
        Problem: 413 when it is larger.
    """
    return await _read(request, LARGE_BODY_BYTES)


RawBody = Annotated[bytes, Depends(raw_body)]
LargeBody = Annotated[bytes, Depends(large_body)]


async def _read(request: Request, most: int) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        why = f"a body in the encoding {encoding[:40]!r} is not read: send it as it is"
        raise invalid(why, "Content-Encoding", code="unsupported_content_encoding")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > most:
        raise _too_large(most)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
    body = b"".join(chunks)
    # A gateway may have put U+FFFD (3 bytes) for each byte that was no UTF-8; then the length betrays it.
    if declared.isdecimal() and int(declared) != size and b"\xef\xbf\xbd" in body:
        raise invalid("the body is not UTF-8", code="invalid_encoding")
    return body


def _too_large(most: int) -> Problem:
    return Problem(413, "too_large", f"the body is over the limit of {most} bytes")


def parse[M: BaseModel](model: type[M], body: bytes, content_type: str | None) -> M:
    """Decode a JSON object and check it against a model.

    Raises:
        Problem: 422 naming what is wrong.
    """
    return check(model, decode(body, content_type))


def check[M: BaseModel](model: type[M], value: dict[str, Any]) -> M:
    """Check decoded JSON against a model.

    Raises:
        Problem: 422 naming what is wrong.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise problem_of_validation(
            error.errors(include_url=False, include_input=False, include_context=False)
        ) from error


def decode(body: bytes, content_type: str | None) -> dict[str, Any]:
    """Decode a JSON object strictly; see ``decode_any``.

    Raises:
        Problem: 422 with code ``invalid_json``, ``invalid_encoding`` or ``unsupported_content_type``.
    """
    if not body:
        raise invalid("the body is empty; it must be a JSON object", code="invalid_json")
    value = decode_any(body, content_type)
    if not isinstance(value, dict):
        raise invalid("the body must be a JSON object", code="invalid_json")
    return value


def decode_any(body: bytes, content_type: str | None) -> Any:
    """Decode JSON strictly: no duplicate keys, NaN, huge numbers, deep nesting, NUL or lone surrogates.

    Raises:
        Problem: 422 with code ``invalid_json``, ``invalid_encoding`` or ``unsupported_content_type``.
    """
    kind = (content_type or "application/json").split(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise invalid(
            "the body must be JSON, sent as application/json", "Content-Type", code="unsupported_content_type"
        )
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid(f"the body is not UTF-8 (byte {error.start})", code="invalid_encoding") from error
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_float
        )
    except json.JSONDecodeError as error:
        raise invalid(f"the body is not JSON: {error.msg} at character {error.pos}", code="invalid_json") from error
    except RecursionError as error:
        raise _too_deep() from error
    if isinstance(value, dict | list):
        _check_depth(value, 1)
    if "\\u" in text or "\x00" in text:
        _check_text(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise invalid(f"the key {twice[:64]!r} stands twice in one object", _printable(twice), code="invalid_json")
    return value


def _constant(name: str) -> Any:
    raise invalid(f"{name} is not JSON", code="invalid_json")


def _integer(digits: str) -> int:
    value = int(digits) if len(digits) <= 20 else MAX_INTEGER + 1
    if abs(value) > MAX_INTEGER:
        raise invalid("an integer is out of range (64 bits)", code="invalid_json")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise invalid("a number is out of range (double precision)", code="invalid_json")
    return value


def _too_deep() -> Problem:
    return invalid(f"the body is nested deeper than {MAX_DEPTH} levels", code="invalid_json")


def _check_depth(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _too_deep()
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            _check_depth(item, depth + 1)


def _check_text(value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise invalid("text must not contain U+0000", code="invalid_encoding")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise invalid("text must not contain half of a surrogate pair", code="invalid_encoding") from error
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_text(name)
            _check_text(item)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)


def _printable(text: str) -> str:
    return text.encode("ascii", "replace").decode()[:64]
