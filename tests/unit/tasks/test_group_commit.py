"""Group commit: what many runs write at once goes out in few requests, and nobody's write hangs on another's."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from shared import aws
from shared.errors import Contended, DependencyDown, ItemThrottled, LeaseLost
from shared.tasks import group_commit, leases, table
from shared.tasks.group_commit import GROUP_BYTES, GROUP_OPERATIONS, WRITERS, GroupCommit, Operation
from tests.unit.tables import TABLE, client

PATIENCE_S = 10


def key(name: str) -> dict[str, Any]:
    return {"pk": {"S": name}, "sk": {"S": "ITEM"}}


def puts(name: str, number: int = 1, text: str = "x") -> list[Operation]:
    """Puts of new items."""
    condition = "attribute_not_exists(pk)"
    return [table.put_op(key(f"{name}.{n}") | {"text": {"S": text}}, condition=condition) for n in range(number)]


def adds(name: str, amount: int, **sets: Any) -> Operation:
    return table.update_op(key(name), adds={"amount": amount}, sets=sets)


def cancel(monkeypatch: pytest.MonkeyPatch, codes: tuple[str, str]) -> None:
    """Have DynamoDB cancel every transaction, for these reasons of its operations."""

    def cancelled(**_: Any) -> None:
        answer: Any = {
            "Error": {"Code": "TransactionCanceledException"},
            "ResponseMetadata": {"HTTPStatusCode": 400},
            "CancellationReasons": [{"Code": code} for code in codes],
        }
        raise ClientError(answer, "TransactWriteItems")

    monkeypatch.setattr(aws.dynamodb(), "transact_write_items", cancelled)


class Wire:
    """Takes the writes; the first ones are held up until the test lets them go, so that others must wait.

    The first of all goes first, so that one writer sees to all that waits and groups are what they can be.
    """

    def __init__(self, write: Callable[[list[Operation]], None] = lambda _: None) -> None:
        self.sent: list[list[Operation]] = []
        self.first, self.go = threading.Event(), threading.Event()
        self._write = write
        self.group = GroupCommit(self._take)
        self._pool = ThreadPoolExecutor(200)

    def _take(self, operations: list[Operation]) -> None:
        self.sent.append(operations)
        if len(self.sent) <= WRITERS:
            assert (self.first if len(self.sent) == 1 else self.go).wait(PATIENCE_S)
        self._write(operations)

    def crowd(self, wanted: list[list[Operation]], *, held: list[list[Operation]] | None = None) -> list[Any]:
        """Occupy every writer, have all transactions wait in this order, let go; returns what each one got."""
        first = []
        for n in range(WRITERS):
            first.append(self._pool.submit(self.group.commit, held[n] if held else puts(f"held{n}")))
            self._until(lambda n=n: len(self.sent) == n + 1)  # type: ignore[misc]
        later = []
        for number, operations in enumerate(wanted, 1):
            later.append(self._pool.submit(self.group.commit, operations))
            self._until(lambda number=number: len(self.group._waiting) == number)  # type: ignore[misc]
        self.first.set()
        answers = [each.exception(PATIENCE_S) for each in later]
        self.go.set()
        assert [each.exception(PATIENCE_S) for each in first] == [None] * WRITERS or held
        assert not self.group._writers
        assert not self.group._waiting
        return answers

    @staticmethod
    def _until(true: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(PATIENCE_S * 1000):
            if true():
                return
            pause.wait(0.001)
        raise AssertionError("it never came to that")

    @property
    def later(self) -> list[list[Operation]]:
        """What was sent once the writers came back."""
        return self.sent[WRITERS:]


def test_a_transaction_that_finds_a_writer_is_sent_at_once_and_as_it_is() -> None:
    wire = Wire()
    wire.first.set()
    wire.go.set()
    for n in range(3):
        operations = puts(f"a{n}", 2)
        wire.group.commit(operations)
        assert wire.sent[-1] is operations


class Hung:
    """Takes the writes; the first one hangs until the test lets it go."""

    def __init__(self) -> None:
        self.sent: list[list[Operation]] = []
        self.go = threading.Event()
        self.group = GroupCommit(self._take)
        self.pool = ThreadPoolExecutor(20)

    def _take(self, operations: list[Operation]) -> None:
        self.sent.append(operations)
        if len(self.sent) == 1:
            assert self.go.wait(PATIENCE_S)

    def commit(self, *wanted: list[Operation]) -> list[Future[None]]:
        """Have these transactions written, each once the one before is sent or waits."""
        found = []
        for operations in wanted:
            there = self._seen() + len(operations)
            found.append(self.pool.submit(self.group.commit, operations))
            Wire._until(lambda there=there: self._seen() == there)  # type: ignore[misc]
        return found

    def _seen(self) -> int:
        waiting = sum(len(each.operations) for each in list(self.group._waiting))
        return waiting + sum(len(operations) for operations in self.sent)


def test_no_second_request_goes_out_for_what_the_first_may_leave_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "LATE_SECONDS", PATIENCE_S)
    hung = Hung()
    written = hung.commit(*(puts(f"run{n}", GROUP_OPERATIONS // 4) for n in range(5)))
    assert len(hung.sent) == 1
    hung.go.set()
    assert [each.exception(PATIENCE_S) for each in written] == [None] * 5
    assert [len(operations) for operations in hung.sent] == [GROUP_OPERATIONS // 4, GROUP_OPERATIONS]


def test_what_fills_a_group_does_not_wait_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "LATE_SECONDS", PATIENCE_S)
    hung = Hung()
    first, one, two, three = hung.commit(puts("first"), *(puts(name, GROUP_OPERATIONS // 2) for name in "abc"))
    assert [each.exception(PATIENCE_S) for each in (one, two)] == [None] * 2
    assert not first.done()
    assert not three.done()
    hung.go.set()
    assert [each.exception(PATIENCE_S) for each in (first, three)] == [None] * 2


def test_one_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "LATE_SECONDS", 0.01)
    hung = Hung()
    first, *others = hung.commit(puts("first"), puts("one"), puts("two"))
    assert [each.exception(PATIENCE_S) for each in others] == [None] * 2
    assert not first.done()
    hung.go.set()
    assert first.exception(PATIENCE_S) is None
    assert not hung.group._writers


def test_transactions_that_must_wait_go_out_together() -> None:
    wire = Wire()
    wanted = [puts(f"run{n}", 3) for n in range(10)]
    assert wire.crowd(wanted) == [None] * 10
    assert len(wire.later) < 10
    sent = [str(operation) for operations in wire.later for operation in operations]
    assert sorted(sent) == sorted(str(operation) for operations in wanted for operation in operations)


@pytest.mark.parametrize(("each", "groups"), [(GROUP_OPERATIONS // 2, 1), (GROUP_OPERATIONS // 2 + 1, 2)])
def test_a_group_has_so_many_operations_and_no_more(each: int, groups: int) -> None:
    wire = Wire()
    assert wire.crowd([puts("one", each), puts("two", each)]) == [None, None]
    assert len(wire.later) == groups


@pytest.mark.parametrize(("characters", "groups"), [(GROUP_BYTES // 2 - 1000, 1), (GROUP_BYTES // 2, 2)])
def test_a_group_has_so_many_bytes_and_no_more(characters: int, groups: int) -> None:
    wire = Wire()
    text = "x" * characters
    assert wire.crowd([puts("one", text=text), puts("two", text=text)]) == [None, None]
    assert len(wire.later) == groups


def test_additions_to_one_item_are_summed_up() -> None:
    wire = Wire()
    wanted = [[*puts(f"run{n}"), adds("day", 10**n, ttl=7)] for n in range(5)]
    assert wire.crowd(wanted) == [None] * 5
    days = [op for ops in wire.later for op in ops if "Update" in op]
    assert len(days) < 5
    assert sum(int(op["Update"]["ExpressionAttributeValues"][":a_amount"]["N"]) for op in days) == 11111
    assert wanted[0][1]["Update"]["ExpressionAttributeValues"][":a_amount"] == {"N": "1"}, "one's own was changed"


@pytest.mark.parametrize(
    "second",
    [
        table.update_op(key("day"), adds={"amount": 1}, sets={"ttl": 7}, condition="attribute_exists(#pk)"),
        table.update_op(key("day"), adds={"amount": 1}, sets={"ttl": 8}),
        table.update_op(key("day"), adds={"other": 1}, sets={"ttl": 7}),
        table.put_op(key("day")),
    ],
)
def test_what_is_no_sum_does_not_meet_in_a_group(second: Operation) -> None:
    wire = Wire()
    assert wire.crowd([[adds("day", 1, ttl=7)], [second], puts("other")]) == [None] * 3
    assert sorted(len(operations) for operations in wire.later) == [1, 2]


def test_a_transaction_that_names_an_item_twice_takes_no_company() -> None:
    """DynamoDB refuses it; in a group it would lose one of the two without a word."""
    wire = Wire()
    twice = [*puts("run"), *puts("run")]
    assert wire.crowd([puts("one"), twice, puts("two"), twice, puts("three")]) == [None] * 5
    assert wire.later.count(twice) == 2


def test_an_outage_is_everybodys_and_is_not_asked_for_again() -> None:
    def away(operations: list[Operation]) -> None:
        if len(operations) > 1:
            raise DependencyDown("dynamodb")

    wire = Wire(away)
    answers = wire.crowd([puts(f"run{n}", 2) for n in range(6)])
    assert [type(answer) for answer in answers] == [DependencyDown] * 6
    assert len({id(answer) for answer in answers}) == 6, "threads share no exception"
    wire.group.commit(puts("afterwards"))


def test_one_item_that_is_throttled_is_the_affair_of_who_writes_it() -> None:
    def throttle(operations: list[Operation]) -> None:
        if any(operation["Put"]["Item"]["pk"]["S"].startswith("hot") for operation in operations):
            raise ItemThrottled("dynamodb")

    wire = Wire(throttle)
    answers = wire.crowd([puts("run0", 2), puts("hot", 2), puts("run1", 2)])
    assert [type(answer) for answer in answers] == [type(None), ItemThrottled, type(None)]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (("None", "ThrottlingError"), ItemThrottled),
        (("None", "ProvisionedThroughputExceeded"), ItemThrottled),
        (("ThrottlingError", "ThrottlingError"), DependencyDown),  # of all items: the table or the account
        (("ConditionalCheckFailed", "ThrottlingError"), table.ConditionFailed),
        (("TransactionConflict", "ThrottlingError"), Contended),
    ],
)
def test_what_cancelled_a_transaction_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, fake_aws: dict[str, str], codes: tuple[str, str], expected: type[Exception]
) -> None:
    cancel(monkeypatch, codes)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the type is the point
        table._transact(puts("run", 2))
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (("None", "ConditionalCheckFailed"), LeaseLost),
        (("TransactionConflict", "ConditionalCheckFailed"), Contended),  # its own heartbeat, perhaps
        (("ThrottlingError", "ConditionalCheckFailed"), Contended),
    ],
)
def test_a_lease_is_lost_only_where_somebody_looked(
    monkeypatch: pytest.MonkeyPatch, fake_aws: dict[str, str], codes: tuple[str, str], expected: type[Exception]
) -> None:
    """After a lost answer the other operations' conditions fail, as they were carried out."""

    cancel(monkeypatch, codes)
    with pytest.raises(expected):
        leases.fenced_write(puts("run", 2), written=lambda _: False)


def test_a_writer_that_fails_in_any_way_hands_over() -> None:
    class Odd(BaseException):
        pass

    def write(operations: list[Operation]) -> None:
        if operations[0]["Put"]["Item"]["pk"]["S"].startswith("odd"):
            raise Odd

    wire = Wire(write)
    answers = wire.crowd([puts("odd0"), *(puts(f"run{n}") for n in range(20))], held=[puts(f"odd{n}") for n in "abcd"])
    assert [type(answer) for answer in answers] == [Odd] + [type(None)] * 20
    wire.group.commit(puts("afterwards"))


@pytest.fixture
def real(fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Wire:
    """A group whose writes reach a table."""
    wire = Wire(table._transact)
    monkeypatch.setattr(table, "_group", wire.group)
    return wire


def stored(name: str) -> dict[str, Any] | None:
    item: dict[str, Any] | None = client("dynamodb").get_item(TableName=TABLE, Key=key(name)).get("Item")
    return item


def test_one_that_is_refused_takes_nobody_along_and_learns_what_stood_in_its_way(real: Wire) -> None:
    table.put(table.put_op(key("run3.0") | {"text": {"S": "there before"}}))
    answers = real.crowd([puts(f"run{n}", 2) for n in range(6)])
    refusal = answers.pop(3)
    assert isinstance(refusal, table.ConditionFailed)
    assert {n: item and item["text"] for n, item in refusal.items.items()} == {0: {"S": "there before"}}
    assert answers == [None] * 5
    assert not stored("run3.1")
    assert all(stored(f"run{n}.1") for n in (0, 1, 2, 4, 5))
    assert any(len(operations) > 2 for operations in real.later), "none went together"


def test_many_threads_add_up_to_what_one_would_have_written(real: Wire) -> None:
    """Random transactions over few items, some of them refused: the table says exactly what the answers say."""
    chance = random.Random(7)
    real.first.set()
    real.go.set()
    wanted = []
    for n in range(120):
        name = f"new{chance.randrange(40)}"
        wanted.append((name, [*puts(name), adds(f"sum{chance.randrange(3)}", 1), adds(f"mine{n}", 1)]))
    with ThreadPoolExecutor(60) as pool:
        done = [(name, operations, pool.submit(table.transact, operations)) for name, operations in wanted]
    good = [operations for _, operations, future in done if future.exception() is None]
    failed = [error for *_, future in done if (error := future.exception()) is not None]
    assert [error for error in failed if not isinstance(error, table.ConditionFailed)] == []
    assert {name for name, _, future in done if future.exception() is None} == {name for name, _ in wanted}
    assert len(good) == len({name for name, _ in wanted})
    amounts = [int(found["amount"]["N"]) if (found := stored(f"sum{n}")) else 0 for n in range(3)]
    assert sum(amounts) == len(good)
    assert len(real.sent) > len(good)


def test_its_limits_are_within_dynamodbs() -> None:
    """https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html."""
    assert group_commit.GROUP_OPERATIONS <= 100
    assert group_commit.GROUP_BYTES <= 4 * 1024 * 1024 / 2  # names are not counted
