"""Who is calling, and for whom: API key -> user and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Query, Security
from fastapi.security import HTTPBearer
from starlette.requests import Request

from functions.api.errors import Problem
from functions.api.schemas import UserId
from shared.errors import NotFound
from shared.limits import keys
from shared.tasks import store

if TYPE_CHECKING:
    from shared.limits.tiers import Limits
    from shared.tasks.model import Task

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sluice"'}
_KEY_CHARACTERS = 512
bearer = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="An API key, made with `make key`.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. ``user`` owns what the request makes; ``key_user`` owns the key."""

    user: str
    key_user: str
    key_id: str
    limits: Limits

    def acting_for(self, user_id: str | None) -> Caller:
        """Return the caller as one of a trusted service's own users; any other key stays itself."""
        if user_id is None or not self.limits.trusted:
            return self
        return Caller(f"{self.key_user}/{user_id}", self.key_user, self.key_id, self.limits)

    def owns(self, user: str) -> bool:
        """Tell whether a thing of ``user`` is the caller's; a trusted service owns what its users own."""
        return user == self.user or (self.limits.trusted and user.startswith(f"{self.key_user}/"))


def caller_of(request: Request) -> Caller:
    """Identify the caller (a dependency of every route that belongs to somebody).

    Raises:
        Problem: 401.
        DependencyDown: the key is not remembered and DynamoDB is away.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if not key:
        raise Problem(401, "missing_api_key", "send your API key as `Authorization: Bearer <key>`", headers=_CHALLENGE)
    found = keys.lookup(key) if scheme.lower() == "bearer" and len(key) <= _KEY_CHARACTERS else None
    if found is None:
        raise Problem(401, "invalid_api_key", "this API key is not known", headers=_CHALLENGE)
    request.scope["state"]["log"] = {"user": found.user, "key_id": found.key_id}
    return Caller(found.user, found.user, found.key_id, found.limits)


def subject_of(
    caller: Annotated[Caller, Depends(caller_of)],
    user_id: Annotated[
        UserId | None, Query(description="User of a trusted service's own; not regarded with any other key.")
    ] = None,
) -> Caller:
    """Identify whom a request without a body is about."""
    return caller.acting_for(user_id)


def operator_of(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    """Let operators through.

    Raises:
        Problem: 403 for anybody else.
    """
    if not caller.limits.operator:
        raise Problem(403, "operator_only", "this needs an operator's key")
    return caller


AUTHENTICATED = [Security(bearer)]
"""Tells the API's description that a route needs a key; `caller_of` does the work."""
AnyCaller = Annotated[Caller, Depends(caller_of)]
Subject = Annotated[Caller, Depends(subject_of)]
Operator = Annotated[Caller, Depends(operator_of)]


def well_formed(task_id: str) -> bool:
    """Tell whether this can be a task's id at all."""
    return 0 < len(task_id) <= 64 and task_id.isascii() and task_id.replace("_", "").replace("-", "").isalnum()


def own_task(caller: Caller, task_id: str) -> Task:
    """Read a task of the caller's.

    Raises:
        NotFound: there is none of that id, or it is somebody else's: the two look the same.
        DependencyDown: DynamoDB is away.
    """
    if not well_formed(task_id):
        raise NotFound("no such task")
    task = store.get(task_id)
    if not caller.owns(task.user):
        raise NotFound("no such task")
    return task
