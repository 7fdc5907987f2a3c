"""Who is calling, and for whom: API key -> user and limits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import Request

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import USER_ID, USER_ID_CHARACTERS, UserId
from functions.api.door.body import RawBody
from shared.errors import NotFound
from shared.limits import keys
from shared.limits.tiers import Limits
from shared.tasks import store
from shared.tasks.ids import well_formed
from shared.tasks.model import Task
from shared.tickets import Viewer

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sluice"'}
_KEY_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. ``user`` owns what the request makes; ``key_user`` owns the key."""

    user: str
    key_user: str
    key_id: str
    limits: Limits

    def acting_for(self, user_id: str | None) -> Caller:
        """Return the caller as one of a trusted service's own users; any other key may only name its own.

        Raises:
            Problem: 403 when another key names anybody else: what it asks for would be done to its own user's things.
        """
        if user_id is None:
            return self
        if not self.limits.trusted:
            if user_id == self.user:
                return self
            why = f"a key of the tier {self.limits.tier} acts for its own user only; `user_id` is for services"
            raise Problem(403, "user_id_not_allowed", why, "user_id")
        return Caller(f"{self.key_user}/{user_id}", self.key_user, self.key_id, self.limits)

    def owns(self, user: str) -> bool:
        """Tell whether a thing of ``user`` is the caller's; a trusted service owns what its users own.

        Acting for one of them, it owns only what that one does.
        """
        return self.viewer.owns(user)

    @property
    def viewer(self) -> Viewer:
        """Whose things the caller may see."""
        return Viewer(self.user, serves=self.limits.trusted and self.user == self.key_user)


def caller_of(request: Request) -> Caller:
    """Identify the caller (a dependency of every route that belongs to somebody).

    ``user_id`` in the query counts on every route: one that did not look at it would do to the caller's own things what
    was meant for somebody else's.

    Raises:
        Problem: 401; 403 or 422 for a ``user_id`` that the key may not name or that is none.
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
    caller = Caller(found.user, found.user, found.key_id, found.limits)
    for user_id in request.query_params.getlist("user_id"):
        caller = _acting_for(caller, user_id)
    return caller


def _acting_for(caller: Caller, user_id: object) -> Caller:
    if not isinstance(user_id, str) or not USER_ID.fullmatch(user_id):
        raise invalid(f"must be 1 to {USER_ID_CHARACTERS} of A-Z a-z 0-9 . _ : @ ~ -", "user_id")
    return caller.acting_for(user_id)


def subject_of(
    caller: Annotated[Caller, Depends(caller_of)],
    body: RawBody,
    _user_id: Annotated[
        UserId | None, Query(alias="user_id", description="User of a trusted service's own; 403 with any other key.")
    ] = None,
) -> Caller:
    """Identify whom a request is about whose route wants no ``user_id`` in a body: `caller_of` has read the query.

    Some send one in a body all the same, and it counts: else their request would be about the key's own user.

    Raises:
        Problem: 403 or 422 for a ``user_id`` that the key may not name, that is none, or that the query contradicts.
    """
    if b'"user_id"' not in body:
        return caller
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return caller  # a route that takes a body says what is wrong with it
    if not isinstance(value, dict) or value.get("user_id") is None:
        return caller
    named = _acting_for(caller, value["user_id"])
    if caller.user not in (caller.key_user, named.user):
        raise invalid("names another user than the address does", "user_id")
    return named


def operator_of(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    """Let operators through.

    Raises:
        Problem: 403 for anybody else.
    """
    if not caller.limits.operator:
        raise Problem(403, "operator_only", "this needs an operator's key")
    return caller


AnyCaller = Annotated[Caller, Depends(caller_of)]
Subject = Annotated[Caller, Depends(subject_of)]
Operator = Annotated[Caller, Depends(operator_of)]


def own_task(caller: Caller, task_id: str) -> Task:
    """Read a task of the caller's.

    Raises:
        NotFound: there is none of that id, or it is somebody else's: the two look the same.
    """
    if not well_formed(task_id):
        raise NotFound("no such task")
    task = store.get(task_id)
    if not caller.owns(task.user):
        raise NotFound("no such task")
    return task
