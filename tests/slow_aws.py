"""Has each call of AWS, and of Valkey, take far longer than the stand-ins do: `-p tests.slow_aws`.

The stand-in answers within a millisecond, so whatever rests on an answer's speed works there. Here a call of DynamoDB
or SQS takes 30 to 180 ms, and one of Valkey 5 to 40 ms: a bad day, but nothing that any timeout is for. `make
test-thorough` runs the tests of the system's core so.
"""

from __future__ import annotations

import random
import time
from typing import Any

from botocore.client import BaseClient
from redis.connection import AbstractConnection

OF_AWS = (0.03, 0.18)
OF_VALKEY = (0.005, 0.04)
"""Seconds, from and to."""
_chance = random.Random(5)
_sleep = time.sleep  # tests put another in its place, which knows how long it was to be
_call = BaseClient._make_request  # type: ignore[attr-defined]
_answer = AbstractConnection.read_response


def _slow_call(self: Any, *args: Any, **kwargs: Any) -> Any:
    _sleep(_chance.uniform(*OF_AWS))
    return _call(self, *args, **kwargs)


def _slow_answer(self: Any, *args: Any, **kwargs: Any) -> Any:
    _sleep(_chance.uniform(*OF_VALKEY))
    return _answer(self, *args, **kwargs)


BaseClient._make_request = _slow_call  # type: ignore[attr-defined]
AbstractConnection.read_response = _slow_answer  # type: ignore[method-assign]
