"""Input as nobody well-meaning sends it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.examples import examples

FEW = settings(
    max_examples=examples(25, usual=12),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Few examples, the same ones at every run: `make test` has little time, and a failure must come again."""

DEEP = "[" * 100_000 + "]" * 100_000
DEEP_OBJECTS = '{"a":' * 50_000 + "1" + "}" * 50_000
LONG_NUMBER = "9" * 5_000
HALF_PAIR = "\ud800"
CONTROLS = "\n\r\x00\x1b[31m\x85\u2028\u2029\x7f\u202e"

texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", HALF_PAIR, CONTROLS, "x" * 10_000, "../..", "%00", "TASK#x", "$connect", LONG_NUMBER]),
)
numbers: Any = st.one_of(
    st.integers(-2, 3), st.sampled_from([10**30, -(10**30), 2**63, float("inf"), float("nan"), 1e308, -0.0, True])
)
values: Any = st.recursive(
    st.one_of(st.none(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)


def objects(**names: Any) -> Any:
    """Make JSON texts of objects that have these members, or hostile ones in their place, or none."""
    members = {name: st.one_of(good, values) for name, good in names.items()}
    return st.fixed_dictionaries({}, optional=members).map(json.dumps)


def bodies(**names: Any) -> Any:
    """Make message bodies: nearly good ones, broken ones, deep ones, huge ones."""
    broken = st.sampled_from(
        [DEEP, DEEP_OBJECTS, LONG_NUMBER, "", "null", "{", "[]", '"x"', "NaN", "\ufeff{}", HALF_PAIR]
    )
    return st.one_of(objects(**names), broken, texts, values.map(json.dumps))
