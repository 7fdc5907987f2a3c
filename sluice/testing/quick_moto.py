"""Makes moto quick where tests meet it: what it answers stays the same, what it does twice or to no end is left out.

Each part says what moto does, and what of the tests' time it took. `tests/unit/test_quick_moto.py` holds the answers
of both against each other.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from botocore.endpoint import Endpoint
from botocore.regions import EndpointRulesetResolver
from moto.core import responses, utils
from moto.core.base_backend import BaseBackend
from moto.core.custom_responses_mock import CallbackResponse
from moto.core.models import RESPONSES_METHODS, MockAWS, botocore_stubber, responses_mock
from moto.core.serialize import BaseJSONSerializer
from moto.core.utils import method_names_from_class
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.sqs import models as sqs_models
from moto.sqs.models import Queue

from sluice.testing import quick_expressions, quick_front, quick_items, quick_queues

__all__ = ["install", "plain"]


# ---- the beginning of a test


def _enable(self: MockAWS, reset: bool = True) -> None:
    """Answer for AWS, by one rule for a method.

    Moto gives the HTTP client `requests`, which boto does not use, a rule for each method of each of its services at
    every start: 1,288 patterns, half of what an account costs.
    """
    botocore_stubber.enabled = True
    if reset:
        self.reset()
    responses_mock.start()
    for method in RESPONSES_METHODS:
        responses_mock.add(
            CallbackResponse(method=method, url=_OF_AWS, callback=botocore_stubber.process_prepared_request)
        )


_OF_AWS = re.compile(r"https?://.+\.amazonaws\.com(\.cn)?/.*")


@cache
def _urls(kind: Any) -> dict[str, Any]:
    """Return the patterns of a service's addresses, and who answers there."""
    found: dict[str, Any] = _whole_urls(object.__new__(kind))
    return found


_whole_urls: Any = vars(BaseBackend)["urls"].fget


# ---- structures


_whole_structure = BaseJSONSerializer._serialize_type_structure


def _structure(self: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
    """Write a structure; of an attribute's value only the member that it has.

    Moto looks for each of the ten under six names: three quarters of its time, and much of the unit tests'.
    """
    if shape.name != "AttributeValue" or type(value) is not dict or not key:
        _whole_structure(self, serialized, value, shape, key)
        return
    wrapper: Any = self.MAP_TYPE()
    for name in value.keys() & shape.members.keys():
        if value[name] is not None:
            self._serialize(wrapper, value[name], shape.members[name], name)
    self._default_serialize(serialized, wrapper, shape, key)


# ---- transactions

# Before a transaction moto copies the whole table, and does so again for each of its operations, to put it back if one
# fails: half of the unit tests' time where a table is full. Here once, and only the items that it names.
_named: ContextVar[list[tuple[str, dict[str, Any]]] | None] = ContextVar("named", default=None)
_copies: ContextVar[dict[int, Table] | None] = ContextVar("copies", default=None)
_transact = DynamoDBBackend.transact_write_items


def _transact_on_one_copy(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    operations = [next(iter(item.values())) for item in transact_items]
    named = _named.set([(str(op.get("TableName")), op.get("Key") or op.get("Item") or {}) for op in operations])
    copies = _copies.set({})
    try:
        _transact(self, transact_items)
    finally:
        _copies.reset(copies)
        _named.reset(named)


def _copy_once(self: Table, memo: dict[int, Any]) -> Table:
    made, named = _copies.get(), _named.get()
    if made is not None and id(self) in made:
        return made[id(self)]
    copied: Table = object.__new__(type(self))
    memo[id(self)] = copied
    if made is None or named is None or not self.range_key_attr:
        for name, value in vars(self).items():
            setattr(copied, name, copy.deepcopy(value, memo))
        return copied
    made[id(self)] = copied
    # Operations on items change nothing of a table but its items, and what it tells of their changes.
    vars(copied).update(vars(self))
    copied.stream_shard = copy.deepcopy(self.stream_shard, memo)
    copied.items = self.items.copy()
    for table, key in named:
        if table == self.name and self.hash_key_attr in key and self.range_key_attr in key:
            _keep_one(copied, DynamoType(key[self.hash_key_attr]), DynamoType(key[self.range_key_attr]), self)
    return copied


def _keep_one(copied: Table, partition: DynamoType, place: DynamoType, original: Table) -> None:
    """Give a copied table a partition, and an item in it, of its own."""
    if partition not in original.items:
        return
    if copied.items[partition] is original.items[partition]:
        copied.items[partition] = dict(original.items[partition])
    if place in original.items[partition]:
        copied.items[partition][place] = copy.deepcopy(original.items[partition][place])


_PARTS: tuple[tuple[Any, str, Any], ...] = (
    (MockAWS, "_enable_patching", _enable),
    (BaseJSONSerializer, "_serialize_type_structure", _structure),
    (DynamoDBBackend, "transact_write_items", _transact_on_one_copy),
    (Table, "__deepcopy__", _copy_once),
    *quick_expressions.PARTS,
    *quick_items.PARTS,
    (Endpoint, "make_request", quick_front.request),
    (EndpointRulesetResolver, "construct_endpoint", quick_front.resolve),
    (Queue, "attributes", property(quick_queues.Attributes)),
    (Queue, "messages", property(quick_queues.messages)),
    # Formatted anew, or asked with `inspect`, at every request; the bucket's module was even loaded anew.
    (BaseBackend, "urls", property(lambda self: _urls(self.__class__))),
    (utils, "unix_time", quick_queues.unix_time),
    (responses, "method_names_from_class", cache(method_names_from_class)),
    (responses, "camelcase_to_underscores", quick_queues.camelcase_to_underscores),
    (sqs_models, "camelcase_to_underscores", quick_queues.camelcase_to_underscores),
)
_ABSENT = object()
_found = [vars(owner).get(name, _ABSENT) for owner, name, _ in _PARTS]


def install() -> None:
    """Put all of it in moto's place."""
    for owner, name, quick in _PARTS:
        setattr(owner, name, quick)


@contextmanager
def plain() -> Iterator[None]:
    """Have moto as it is for a while, to hold this against it."""
    for (owner, name, _), found in zip(_PARTS, _found, strict=True):
        if found is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, found)
    try:
        yield
    finally:
        install()
