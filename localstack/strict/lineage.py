"""Which function was invoked how often in one chain of requests, as Lambda's loop detection counts.

Lambda gives each invocation a trace header; the SDK sends it on with each call; SQS keeps it with the message, and
brings it to the next invocation. So a chain is followed through queues. Here the header's parent names the invocation,
and what a message inherits is kept beside its id.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

MESSAGES = 200_000
"""Messages remembered; the oldest are forgotten."""
RUNS = 20_000
_ROOT = re.compile(r"Root=(1-[0-9a-f]{8}-[0-9a-f]{24})")
_PARENT = re.compile(r"Parent=([0-9a-f]{16})")


def root_of(header: str | None) -> str | None:
    """Return the trace that a header belongs to."""
    found = _ROOT.search(header or "")
    return found[1] if found else None


def new_root() -> str:
    """Make the id of a trace."""
    return f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"


@dataclass(slots=True)
class Run:
    """One invocation: its trace header, and what its messages inherit, at large and by the trace they name."""

    function: str
    header: str
    chain: Counter[str]
    by_root: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def times(self) -> int:
        """How often the function was invoked in this chain, now included."""
        return self.chain[self.function]


class Lineage:
    """All chains under way."""

    def __init__(self) -> None:
        """Know of none."""
        self._lock = threading.Lock()
        self._messages: OrderedDict[str, Counter[str]] = OrderedDict()
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def begin(self, function: str, event: Any) -> Run:
        """Start an invocation: its chain is the longest of those that its messages bring."""
        records = event.get("Records") if isinstance(event, dict) else None
        records = [one for one in records if isinstance(one, dict)] if isinstance(records, list) else []
        headers = (event.get("headers") if isinstance(event, dict) else None) or {}
        parent = secrets.token_hex(8)
        with self._lock:
            chain: Counter[str] = Counter()
            by_root: dict[str, Counter[str]] = {}
            root = root_of(headers.get("x-amzn-trace-id"))
            for record in records:
                brought = self._messages.get(str(record.get("messageId")), Counter())
                chain |= brought
                of = root_of((record.get("attributes") or {}).get("AWSTraceHeader"))
                if of:
                    by_root[of] = by_root.get(of, Counter()) | brought
                    root = root or of
            chain[function] += 1
            for one in by_root.values():
                one[function] += 1
            header = f"Root={root or new_root()};Parent={parent};Sampled=0;Lineage=1:{function[-8:]}:{chain[function]}"
            run = Run(function, header, chain, by_root)
            _keep(self._runs, parent, run, RUNS)
        return run

    def sent(self, caller: str | None, trace: str | None, message_id: str) -> None:
        """Note a message: ``caller`` is the sender's trace header, ``trace`` the one that the message names, if any."""
        parent = _PARENT.search(caller or "")
        with self._lock:
            run = self._runs.get(parent[1]) if parent else None
            if run is not None:
                _keep(self._messages, message_id, run.by_root.get(root_of(trace) or "", run.chain), MESSAGES)


def _keep[T](kept: OrderedDict[str, T], name: str, value: T, most: int) -> None:
    kept[name] = value
    while len(kept) > most:
        kept.popitem(last=False)
