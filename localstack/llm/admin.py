"""The admin calls under ``/_sim/``, open to loopback clients only. All of them take and answer JSON.

``GET /_sim/health``
    ``{"status": "ok", "uptime_s": ..., "in_flight": ...}``

``GET /_sim/config``, ``POST /_sim/config``
    The settings; a POST changes those it names, all or none (400), and answers with the settings that hold
    then: ``latency`` (seconds, ``"LO-HI"`` or ``[LO, HI]``), ``ttft`` (seconds or null), ``words``,
    ``seed``, ``fault_rate`` (0 to 1), ``faults`` (list, each as likely as the other; repeat one to weigh
    it), ``retry_after`` (seconds or null, for 429 and 5xx), ``hang`` (seconds), ``rpm`` and ``tpm`` (limits
    per minute, 0 for none), ``outage`` (true, false, or seconds from now), ``outage_models`` (list, empty
    for all), ``outage_fault`` (any fault, default ``"503"``).

``GET /_sim/stats?prefix=P&all=1``
    ``calls, completed, failed, aborted`` (by the client) ``, in_flight, in_flight_max, prompt_tokens,
    completion_tokens`` (of completed calls) ``, by_status`` (``"0"``: nothing was sent) ``, by_fault,
    by_model, keys, by_key`` (``{key: {started, completed, failed, aborted}}``, of keys named by directives
    whose name starts with P, with ``all=1`` of all keys) ``, connections`` (``{opened, open, open_max,
    model_opened, model_open, model_open_max}``; the ``model_`` ones count only connections that carried a
    model call).

``GET /_sim/calls?after=N&limit=M&key=K``
    ``{"calls": [...], "last": n, "first": n}``: the log in order of start, those with a number above N, at
    most M (default 10,000) of them; ``first`` and ``last`` are the numbers that the log still holds. A call
    is ``{n, key, model, request, stream, started, ended, status, fault, prompt_tokens, completion_tokens,
    aborted, completed, consumed, …}``; ``ended`` is null while it runs, ``consumed`` is what it has used up at the
    provider (`state.Call.consumed`): tokens read and written.

``POST /_sim/hurry`` with ``{"key": K}``
    The calls of a key that a directive names take no more time, those under way and those to come: what is left of a
    stream is sent at once. Answers ``{"waited": n}``, how many were under way. So a test says when a slow call ends.

``POST /_sim/reset`` (optional body ``{"keep_config": true}``)
    Forgets log, counters and keys, and goes back to the configuration of the start.
"""

import ipaddress
import json
import time
from collections.abc import Mapping
from urllib.parse import parse_qs

from localstack.llm import http
from localstack.llm.config import ConfigError
from localstack.llm.faults import invalid
from localstack.llm.http import Scope, Send
from localstack.llm.state import State

_METHODS: Mapping[str, frozenset[str]] = {
    "/_sim/health": frozenset({"GET"}),
    "/_sim/config": frozenset({"GET", "POST"}),
    "/_sim/stats": frozenset({"GET"}),
    "/_sim/calls": frozenset({"GET"}),
    "/_sim/hurry": frozenset({"POST"}),
    "/_sim/reset": frozenset({"POST"}),
}


def is_loopback(client: object) -> bool:
    """Whether a scope's client is on this machine's loopback."""
    if not isinstance(client, tuple | list) or not client:
        return False
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


async def serve(state: State, scope: Scope, body: bytes, send: Send) -> None:
    """Answers an admin call.

    Raises:
        ApiError: 403 for a client that is not on loopback, 404, 405, or 400 for bad input.
    """
    if not is_loopback(scope.get("client")):
        raise invalid("Admin calls are served to loopback clients only.", status=403)
    path, method = scope["path"], scope["method"]
    methods = _METHODS.get(path)
    if methods is None:
        raise invalid(f"Unknown admin call {path}", status=404)
    if method not in methods:
        raise invalid(f"Not allowed: {method} {path}", status=405)
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    await http.send_json(send, 200, _answer(state, path, method, query, body))


def _answer(state: State, path: str, method: str, query: Mapping[str, list[str]], body: bytes) -> Mapping[str, object]:
    if path == "/_sim/health":
        return {
            "status": "ok",
            "uptime_s": round(time.time() - state.started_at, 3),
            "in_flight": state.in_flight,
        }
    if path == "/_sim/stats":
        return state.stats(prefix=query.get("prefix", [None])[0], all_keys=query.get("all", ["0"])[0] == "1")
    if path == "/_sim/calls":
        return _calls(state, query)
    if path == "/_sim/hurry":
        key = _object(body).get("key")
        if not isinstance(key, str) or not key:
            raise invalid("'key' must be the text of a directive's key.", "key")
        return {"waited": state.haste.hurry(key)}
    if path == "/_sim/reset":
        state.reset(keep_config=_object(body).get("keep_config") is True)
        return {"status": "reset"}
    if method == "POST":
        try:
            state.config = state.config.changed(_object(body))
        except ConfigError as error:
            raise invalid(str(error)) from None
    return state.config.public()


def _calls(state: State, query: Mapping[str, list[str]]) -> Mapping[str, object]:
    after, limit = (_integer(query, name, default) for name, default in (("after", 0), ("limit", 10_000)))
    calls = state.calls_after(after, limit, query.get("key", [None])[0])
    return {
        "calls": [call.public() for call in calls],
        "first": state.log[0].n if state.log else 0,
        "last": state.log[-1].n if state.log else 0,
    }


def _integer(query: Mapping[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [str(default)])[0]
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise invalid(f"'{name}' must be a whole number.", name)
    return int(text)


def _object(body: bytes) -> Mapping[str, object]:
    if not body.strip():
        return {}
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("The body is not JSON.") from None
    if not isinstance(data, dict):
        raise invalid("The body must be a JSON object.")
    return data
