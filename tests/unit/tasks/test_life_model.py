"""Any interleaving of claims, beats, lapses, crashes, waits, signals, cancellations, ends and redeliveries is sound.

The machine plays all workers, the queue (which may deliver anything it ever held, in any order, any number of times)
and the clock. The real functions write to a real table (moto's).
"""

import time
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared import clock
from shared.errors import Conflict, LeaseLost
from shared.tasks import checkpoints, claims, events, inbox, lanes, leases, listing, settle, spend, store, waits
from shared.tasks.events import Event
from shared.tasks.items import due_shard, wait_shard
from shared.tasks.model import Status, Task, Usage
from shared.tasks.waits import Wait
from tests.examples import examples

DAY = "2026-01-01"
STEP_USE = Usage(10, 5, 7)


class Life(RuleBasedStateMachine):
    """One task and everybody who may touch it."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.at = 1_767_225_600.0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(clock, "time", SimpleNamespace(time=lambda: self.at))
        self.task_id = f"t{time.monotonic_ns()}"
        self.user = f"user-{self.task_id}"
        self.queue: list[lanes.Message] = []
        self.history: list[lanes.Message] = []
        self.executed: dict[str, int] = {}
        self.ended: list[Status] = []
        self.claims = self.waits = self.wakes = self.signals = 0
        self.lease_until = 0.0
        task = Task(
            task_id=self.task_id, user=self.user, lane="normal", agent="chat", model="m", created=self.at, day=DAY
        )
        store.submit(task, "hello")
        self.sent(0)

    def teardown(self) -> None:
        self.patch.undo()

    def sent(self, gen: int) -> None:
        """Note a message that was sent; from here on the machine is the queue and delivers as it likes."""
        self.queue.append(lanes.Message(self.task_id, gen))
        self.history.append(lanes.Message(self.task_id, gen))

    def row(self) -> Task:
        return store.get(self.task_id)

    def current(self, task: Task) -> bool:
        row = self.row()
        return row.status is Status.PROCESSING and row.lease_no == task.lease_no

    @rule(seconds=st.sampled_from([1.0, 15.0, 59.0, 61.0, 1000.0]))
    def pass_time(self, seconds: float) -> None:
        self.at += seconds

    @rule(target=held, pick=st.integers(0, 50), duplicate=st.booleans())
    def deliver(self, pick: int, duplicate: bool) -> Any:
        """Deliver a message; with ``duplicate`` one that may have been acknowledged long ago."""
        source = self.history if duplicate or not self.queue else self.queue
        message = source[pick % len(source)]
        before = self.row()
        due = before.status is Status.WAITING and before.next_try_at <= self.at + claims.EARLY_SECONDS
        free = before.status is Status.QUEUED or (before.status is Status.PROCESSING and before.lease_until <= self.at)
        free = free or due
        claimed = claims.claim(message.task_id, message.gen)
        if isinstance(claimed, Task):
            assert free
            assert claimed.lease_no == before.lease_no + 1
            assert claimed.crashes == before.crashes + (before.status is Status.PROCESSING)
            self.wakes += due
            return claimed
        assert before.status.terminal or not free or message.gen < before.gen or before.next_try_at > self.at
        if claimed.hide_s == 0 and message in self.queue:
            self.queue.remove(message)
        return multiple()

    @rule(task=held)
    def beat(self, task: Task) -> None:
        allowed = self.current(task)
        try:
            until, cancel = leases.heartbeat(task.task_id, task.lease_no)
        except LeaseLost:
            assert not allowed
        else:
            assert allowed
            assert until > self.at
            assert cancel == self.row().cancel_requested

    @rule(task=held)
    def finish_step(self, task: Task) -> None:
        """Do the next step unless it was recorded, and record it."""
        allowed = self.current(task)
        recorded = checkpoints.load(task.task_id)
        nth = len(recorded) + 1 if allowed else 99
        name = f"step-{nth}"
        try:
            checkpoints.record(task, checkpoints.Step(name, 1, "f", nth), [Event("step", self.at)], use=STEP_USE)
        except LeaseLost:
            assert not allowed
        else:
            assert allowed
            self.executed[name] = self.executed.get(name, 0) + 1
            assert events.read(self.task_id, 0).task.attempt == 0

    @rule(task=consumes(held), delay=st.sampled_from([0.0, 5.0, 120.0]), fails=st.booleans())
    def give_back(self, task: Task, delay: float, fails: bool) -> None:
        allowed = self.current(task)
        before = self.row()
        how = leases.Requeue(
            delay_s=delay, reason="r", attempt=before.attempt + 1 if fails else None, deferral=not fails
        )
        try:
            sent = leases.requeue(task, how, [Event("retry", self.at)])
        except LeaseLost:
            assert not allowed
        except leases.CancelRequested:
            # Its owner wants it cancelled: it must not wait for another try, and this worker ends it.
            assert allowed
            assert before.cancel_requested
            settle.settle(task, settle.Outcome(status=Status.CANCELLED))
            self.ended.append(Status.CANCELLED)
        else:
            assert allowed
            assert not before.cancel_requested
            row = self.row()
            assert (row.status, row.gen) == (Status.QUEUED, before.gen + 1)
            assert row.attempt == how.attempt if fails else row.attempt in (0, before.attempt)
            assert sent
            self.sent(row.gen)

    @rule(task=consumes(held), seconds=st.sampled_from([1.0, 60.0, 5000.0]), seen=st.booleans())
    def wait(self, task: Task, seconds: float, seen: bool) -> None:
        """Let the run wait for a signal; it has ``seen`` all that came, or none."""
        allowed = self.current(task)
        before = self.row()
        task.signals = before.signals if seen else 0
        one = Wait(kind="signal", name="go", nth=1, since=self.at, until=self.at + seconds)
        try:
            waits_now = waits.suspend(task, [one], [Event("waiting", self.at)], ends_at=self.at + 1e9)
        except LeaseLost:
            assert not allowed
        except leases.CancelRequested:
            assert allowed
            assert before.cancel_requested
            settle.settle(task, settle.Outcome(status=Status.CANCELLED))
            self.ended.append(Status.CANCELLED)
        else:
            assert allowed
            row = self.row()
            assert waits_now == (task.signals == before.signals)
            if not waits_now:
                assert row.status is Status.PROCESSING
                return
            self.waits += 1
            assert (row.status, row.gen, row.next_try_at) == (Status.WAITING, before.gen + 1, self.at + seconds)
            if seconds <= lanes.MAX_DELAY_SECONDS:
                self.sent(row.gen)

    @rule(name=st.sampled_from(["go", "other"]))
    def signal(self, name: str) -> None:
        before = self.row()
        try:
            receipt = inbox.post(self.task_id, name, {"n": self.signals})
        except Conflict:
            assert before.status.terminal
        else:
            assert not before.status.terminal
            self.signals += 1
            assert receipt.woken == (before.status is Status.WAITING and name == "go")
            if receipt.woken:
                self.wakes += 1
                self.sent(self.row().gen)

    @rule()
    def sweep_timer(self) -> None:
        """Send the timer that is due or within reach, as the sweeper does."""
        row = self.row()
        if self.task_id in listing.due(wait_shard(self.task_id), before=self.at, limit=10):
            waits.looked_after(row, max(self.at, row.next_try_at) + waits.REPAIR_SECONDS)
            self.sent(row.gen)

    @rule(task=consumes(held), good=st.booleans())
    def end(self, task: Task, good: bool) -> None:
        allowed = self.current(task)
        outcome = (
            settle.Outcome(status=Status.COMPLETE, response="r")
            if good
            else settle.Outcome(status=Status.FAILED, error={"code": "x"})
        )
        try:
            settle.settle(task, outcome, message="hello")
        except LeaseLost:
            assert not allowed
        else:
            assert allowed
            self.ended.append(outcome.status)

    @rule()
    def cancel(self) -> None:
        before = self.row()
        after = settle.cancel(self.task_id, self.user)
        if before.status.terminal:
            assert after.status is before.status
        elif after.status.terminal:
            assert after.status is Status.CANCELLED
            assert before.status in (Status.QUEUED, Status.WAITING) or before.lease_until <= self.at
            self.ended.append(Status.CANCELLED)
        else:
            assert self.row().cancel_requested

    @precondition(lambda self: self.queue)
    @rule(pick=st.integers(0, 50))
    def lose_message(self, pick: int) -> None:
        """The queue may lose what it likes; the row must still say where to look."""
        self.queue.pop(pick % len(self.queue))

    @invariant()
    def holds(self) -> None:
        page = events.read(self.task_id, 0)
        row = page.task
        # It ends once.
        assert len(self.ended) <= 1
        assert row.status.terminal == bool(self.ended)
        assert not self.ended or row.status is self.ended[0]
        # It is paid once.
        assert all(times == 1 for times in self.executed.values())
        assert row.calls == len(self.executed)
        ahead = (row.precharged_tokens, row.precharged_micro_usd)
        assert spend.load(self.user, DAY) == ((row.usage.tokens, row.micro_usd) if self.ended else ahead)
        # It is woken once for each wait, and every signal that was taken is there.
        assert self.waits - (row.status is Status.WAITING) - bool(self.ended) <= self.wakes <= self.waits
        assert (row.signals, len(inbox.load(self.task_id))) == (self.signals, self.signals)
        # Its log has no gap and one end.
        assert [event.seq for event in page.events] == list(range(1, row.last_seq + 1))
        assert [e.type for e in page.events if e.type in events.TERMINAL_EVENTS] == [
            str(status) for status in self.ended
        ]
        # While it lives the sweeper knows it, whatever became of its messages.
        shard = (wait_shard if row.status is Status.WAITING else due_shard)(self.task_id)
        assert (self.task_id in listing.due(shard, before=self.at + 1e7, limit=1000)) == (not self.ended)


@pytest.fixture
def world(fake_aws: dict[str, str]) -> dict[str, str]:
    return fake_aws


@pytest.mark.usefixtures("world")
def test_any_interleaving_keeps_the_invariants() -> None:
    run_state_machine_as_test(
        Life,
        settings=hypothesis_settings(
            # Without shrinking, which here takes minutes: what fails is printed as it was found.
            phases=[Phase.explicit, Phase.generate],
            max_examples=examples(8, usual=5),
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
