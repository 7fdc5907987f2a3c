"""What makes two submits the same: the client's key, and what it asked for."""

import hashlib
from typing import Any

from functions.api.contract.problem import Problem
from shared.errors import NotFound
from shared.tasks import store
from shared.tasks.model import Task, dumps


def idempotency_of(key: str | None, body: Any, *, place: str) -> store.Idempotency | None:
    """Digest an ``Idempotency-Key`` and the body that it came with; ``place`` keeps two kinds of request apart."""
    if key is None:
        return None
    return store.Idempotency(digest(key), digest(f"{place}\n{canonical(body)}"))


def digest(text: str) -> str:
    """Digest a client's words to what stands for them in keys."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(body: Any) -> str:
    """Encode JSON so that equal values give equal texts, whatever the order of their keys."""
    if isinstance(body, dict):
        return "{" + ",".join(f"{dumps(name)}:{canonical(body[name])}" for name in sorted(body)) + "}"
    if isinstance(body, list):
        return "[" + ",".join(canonical(item) for item in body) + "]"
    return dumps(body)


def find(user: str, idempotency: store.Idempotency) -> Task | None:
    """Return the task that this request made before.

    Raises:
        IdempotencyMismatch: it was another request.
        Problem: 409, the task was deleted.
    """
    try:
        return store.find_repeat(user, idempotency)
    except NotFound:
        raise gone() from None


def gone() -> Problem:
    """Return the problem of a key whose task was deleted."""
    return Problem(
        409,
        "idempotency_gone",
        "the task that this Idempotency-Key made was deleted; use another key",
        "Idempotency-Key",
    )
