"""The meter of write units: AWS's rules, at the real requests of a client."""

from __future__ import annotations

import boto3
import pytest

from benchmarks.write_units import Index, Meter, item_bytes, number_bytes, units
from shared import aws
from shared.tasks import table
from sluice.testing.account import TABLE

KEY = {"pk": {"S": "TASK#1"}, "sk": {"S": "TASK"}}


@pytest.fixture
def meter(fake_aws: dict[str, str]) -> Meter:
    assert fake_aws
    made = Meter(boto3.client("dynamodb"), TABLE)
    made.watch(aws.dynamodb())
    return made


def test_sizes_are_aws_own() -> None:
    assert item_bytes({"name": {"S": "é"}}) == 6
    assert item_bytes({"b": {"B": b"1234"}, "t": {"BOOL": True}}) == 7
    assert [number_bytes(one) for one in ("0", "7", "123", "-123", "1200", "0.0012")] == [1, 2, 3, 4, 2, 2]
    assert item_bytes({"l": {"L": [{"S": "ab"}, {"M": {"k": {"N": "5"}}}]}}) == 1 + 3 + 3 + 1 + 3 + 1 + 1 + 2


def test_a_write_costs_a_unit_for_each_kb_begun_of_the_larger_item() -> None:
    small, large = {"a": {"S": "x" * 1023}}, {"a": {"S": "x" * 1024}}
    assert [units(None, small), units(None, large), units(large, small), units(None, None)] == [1, 2, 2, 1]


def test_an_index_is_paid_for_when_what_it_projects_changes() -> None:
    keys, more = Index(("h", "r")), Index(("h", "r"), frozenset({"x"}))
    one = KEY | {"h": {"S": "a"}, "r": {"N": "1"}, "x": {"S": "1"}}
    assert [keys.units(None, one), keys.units(one, KEY), keys.units(one, one | {"x": {"S": "2"}})] == [1, 1, 0]
    assert keys.units(one, one | {"r": {"N": "2"}}) == 2
    assert more.units(one, one | {"x": {"S": "2"}}) == 1
    assert more.units(KEY, KEY) == 0


def test_requests_are_counted_with_their_indexes_and_twice_in_a_transaction(meter: Meter) -> None:
    row = KEY | {"due": {"S": "1"}, "due_at": {"N": "5"}}
    table.put(table.put_op(row))
    assert meter.take() == 2
    table.update(table.update_op(KEY, sets={"due_at": 6.0}))
    assert meter.take() == 3
    other = {"pk": {"S": "TASK#2"}, "sk": {"S": "TASK"}, "text": {"S": "x" * 1500}}
    table.transact([table.update_op(KEY, sets={"a": 1}), table.put_op(other)])
    assert meter.take() == 2 + 4


def test_a_refused_write_is_paid_for_as_one_of_what_is_there(meter: Meter) -> None:
    large = KEY | {"text": {"S": "x" * 3000}}
    table.put(table.put_op(large))
    meter.clear()
    for refused in (
        lambda: table.update(table.update_op(KEY, sets={"a": 1}, condition="attribute_exists(#a)")),
        lambda: table.put(table.put_op(KEY, condition="attribute_not_exists(pk)")),
    ):
        with pytest.raises(table.ConditionFailed):
            refused()
        assert meter.take() == 3
    with pytest.raises(table.ConditionFailed):
        table.transact([table.update_op(KEY, sets={"a": 1}, condition="attribute_exists(#a)")])
    assert meter.take() == 6


def test_reads_cost_no_write_unit(meter: Meter) -> None:
    assert table.get(KEY) is None
    assert list(table.query(KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": KEY["pk"]})) == []
    assert meter.take() == 0
