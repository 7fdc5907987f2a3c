"""One task's life in this environment: claim, run, and either settle it or give it back. Nothing is left in between."""

import asyncio
import secrets
from typing import Any

from functions.worker import agents
from functions.worker.environment.environment import Environment
from functions.worker.lane.deliveries import Delivery, Disposition, claim, decline
from functions.worker.lane.slots import Slot
from functions.worker.record.eventlog import EventLog
from functions.worker.record.ledger import charge
from functions.worker.record.persist import persist
from functions.worker.record.publisher import Publisher
from functions.worker.record.steps import Steps
from functions.worker.record.stops import Continue, Ended, GiveWay, Stop
from functions.worker.run import outcomes, rest
from functions.worker.run.closing import Closing
from functions.worker.run.context import Context
from functions.worker.run.heartbeat import Beat
from functions.worker.run.outcomes import RunError, failed
from functions.worker.run.tooling import result_of
from functions.worker.run.voided import voided
from functions.worker.run.waits import Waits
from functions.worker.run.wrapped import behind
from functions.worker.tools.pool import RUN, Run
from shared import metrics
from shared.clock import now
from shared.errors import Contended, DependencyDown, LeaseLost, SluiceError
from shared.limits.shares import owner_of
from shared.logs import fields, get_logger
from shared.retry import ModelError
from shared.settings import STOP_MARGIN_SECONDS, settings
from shared.tasks import checkpoints, claims, days, family, flights, spend, store
from shared.tasks.claims import Refused
from shared.tasks.leases import Requeue
from shared.tasks.model import Outcome, Status, Task
from shared.valkey import RedisError

CLEANUP_SECONDS = 2.0
"""How long a step that is cancelled with its run may take to end; less than ``STOP_MARGIN_SECONDS``."""
OWN_CANCEL = "the agent waited for something that it had cancelled itself"
TIMED_OUT = RunError("timeout", "the run took longer than its timeout_s", "timeout")

_log = get_logger("runner")


async def handle(delivery: Delivery, environment: Environment, deadline: float, slot: Slot) -> Disposition:
    """See to one message until its task has ended, waits elsewhere or is another's; it leaves its slot before that."""
    with fields(task_id=delivery.message.task_id, lane=delivery.lane):
        claimed = await claim(delivery)
        if isinstance(claimed, Refused):
            return await decline(delivery, claimed)
        RUN.set(Run(owner_of(claimed.user), claimed.task_id))
        claimed.run_started = now()
        if claimed.lease_no == 1:
            metrics.emit({"QueueWait": (claimed.run_started - claimed.created, "Seconds")}, lane=delivery.lane)
        if claimed.taken_from:
            _log.warning("taken over", extra={"from": claimed.taken_from, "crashes": claimed.crashes})
        try:
            return await _Run(claimed, delivery, environment, deadline, slot).go()
        except LeaseLost:
            _log.warning("lease lost")
            await _charge_lost(claimed)
            return Disposition.KEEP
        finally:
            environment.flights.end(claimed)


async def _charge_lost(task: Task) -> None:
    """Charge the owner's day for calls that this worker made and whoever has the task now does not know of."""
    lost, task.unwritten = task.unwritten, []
    steps = {id(one.use): (one.step, one.nth) for one in task.under_way.values() if one.use is not None}
    try:
        taken = await asyncio.to_thread(flights.withdraw, task) if lost else {}
    except RedisError:
        taken = {}
    for one in lost:
        if any(one is recovered for recovered in task.recovered):
            continue  # the note that tells of it is still there, for whoever has the task now
        use = flights.excess(one, taken.get(steps.get(id(one), ("", 0))))
        if not (use.tokens or use.micro_usd):
            continue
        try:
            await persist(spend.lost, task, use, name=secrets.token_hex(8))
        except (Contended, DependencyDown):
            _log.error("not charged", extra={"tokens": use.tokens, "micro_usd": use.micro_usd, "day": use.day})


class _Run(Closing):
    def __init__(self, task: Task, delivery: Delivery, environment: Environment, deadline: float, slot: Slot) -> None:
        self.task = task
        self.delivery = delivery
        self.environment = environment
        self.deadline = deadline
        self.slot = slot
        self.stop_at = deadline - STOP_MARGIN_SECONDS
        self.loop = asyncio.get_running_loop()
        self.publisher = Publisher(task.task_id, environment.watchers.get, environment.outbox)
        self.log = EventLog(task, self.publisher)
        self.stopped: str | None = "cancel" if task.cancel_requested else None
        self.agent: asyncio.Task[Outcome] | None = None
        self.steps: Steps | None = None
        self.waits: Waits | None = None
        self.again: list[tuple[str, int]] = []
        self.message = ""
        self.asked: list[dict[str, Any]] | None = None
        self.beat = Beat(
            task.task_id,
            task.user,
            task.lease_no,
            delivery.queue_url,
            delivery.receipt,
            task.lease_until,
            on_lost=lambda: self.stop_from_thread("lost"),
            on_cancel=lambda: self.stop_from_thread("cancel"),
            task=task,
        )

    async def go(self) -> Disposition:
        self.environment.heart.add(self.beat)
        try:
            if self.task.taken_from:
                await self.charge_lost_calls()
            decision = await self.decide_before() or await self.run_agent()
            return await self.carry_out(decision)
        finally:
            self.environment.heart.remove(self.beat)
            if self.waits is not None:
                await self.waits.close()
            await self.log.close()
            await self.publisher.close()

    async def charge_lost_calls(self) -> None:
        """Charge the run for calls that were under way when its last worker died."""
        task = self.task
        for use in await persist(flights.recover, task, task.lease_no - 1):
            before, used = task.day, days.uncounted(task)
            if days.begin(task, use.day):
                await asyncio.to_thread(self.environment.change_day, task, before, used)
            charge(task, use)
            task.recovered.append(use)

    async def decide_before(self) -> Outcome | Requeue | None:
        """Say what becomes of the task without running it, if anything."""
        task = self.task
        if task.waiting_since:
            await asyncio.to_thread(rest.woken, task, self.environment)
            self.log.add("woken", {"waited_s": round(task.waited_s, 3)})
        if self.stopped == "cancel":
            return Outcome(status=Status.CANCELLED)
        if now() >= self.ends_at():
            return failed(TIMED_OUT)
        orphaned: bool = task.parent is not None and await persist(store.has_ended, task.parent)
        if orphaned:
            return Outcome(status=Status.CANCELLED)  # it began when its parent ended
        if task.crashes >= settings().max_crashes:
            return failed(RunError("crashed", f"its worker died {task.crashes} times while running it", "server_error"))
        if task.crashes >= settings().quarantine_after and self.delivery.lane != "quarantine":
            return Requeue(delay_s=0, reason="quarantine", lane="quarantine")
        if not await self.environment.take_slot(task):
            return Requeue(delay_s=0, reason="running_cap", park=True)
        return None

    async def run_agent(self) -> Outcome | Requeue:
        self.agent = asyncio.ensure_future(self.call_agent())
        if self.stopped:  # a heartbeat was quicker
            self.cancel()
        ends = self.ends_at()
        stop_at = min(self.stop_at, ends)
        await asyncio.wait([self.agent], timeout=max(0.0, stop_at - now()))
        if not self.agent.done():
            self.stopped = self.stopped or ("timeout" if ends <= self.stop_at else "deadline")
            self.cancel()
            await asyncio.wait([self.agent], timeout=STOP_MARGIN_SECONDS)
            if self.steps and not self.agent.done():  # it does not let go; at least it pays for nothing any more
                await self.steps.end(now())
                try:
                    await self.steps.flush()
                except (Contended, DependencyDown) as error:  # it is charged; given back, the task carries that on
                    _log.warning("last call not recorded", extra={"error": error.message})
        return self.judge()

    async def call_agent(self) -> Outcome:
        task = self.task
        resuming = task.lease_no > 1 or "copied" in task.params
        recorded = await persist(checkpoints.load, task.task_id) if resuming else {}
        await self.announce(recorded)
        message = task.message if task.message is not None else await persist(store.message_of, task)
        groups = await persist(lambda: [*family.groups(task.task_id)]) if task.children else []
        bound = self.log, self.beat, self.environment, self.stop_at, self.suspend
        context = Context(task, message, recorded, *bound, groups)
        self.message = context.message
        self.asked = None if context.input is None else [*context.input]  # the agent may go on with its own
        run = agents.load(task.agent).run
        self.steps = steps = context.steps
        self.waits = context.waits
        try:
            result = await result_of(lambda: run(context), f"agent {task.agent}")
            # What it did not wait for is paid for all the same: cut off and charged before the run is settled.
            await steps.end(now() + CLEANUP_SECONDS)
            steps.check_replayed()
            return outcomes.complete(result, context.usage_details if task.params.get("dialect") else {})
        except BaseException as error:
            try:
                if self.stopped in ("waiting", "deadline") and isinstance(error, asyncio.CancelledError):
                    await steps.go_on()  # it got over what failed so far
                steps.caught.over()
                await steps.flush()
            finally:
                try:
                    if self.stopped is None:
                        await steps.drain(self.stop_at)
                finally:
                    await steps.end(now() + CLEANUP_SECONDS)
            raise

    async def announce(self, recorded: dict[tuple[str, int], checkpoints.Step]) -> None:
        if self.task.lease_no == 1:
            begun = {"steps": len(recorded)} if recorded else {}  # of another run
            self.log.add("started", {"agent": self.task.agent, **begun}, can_wait=True)  # the row says `processing`
            return
        void = await persist(voided, self.task.task_id, recorded)
        self.log.shown_before = void.tool_calls
        self.log.add("resumed", {"void": void.calls, "steps": len(recorded), "crashes": self.task.crashes})

    def judge(self) -> Outcome | Requeue:
        """Say what becomes of the task now that its agent stopped."""
        assert self.agent is not None  # noqa: S101 - for the type checker
        if self.agent.done() and not (self.agent.cancelled() and self.stopped):
            raised = asyncio.CancelledError(OWN_CANCEL) if self.agent.cancelled() else self.agent.exception()
            if raised is None:
                return self.agent.result()
            error = behind(raised)
            if isinstance(error, LeaseLost):
                raise error
            if self.stopped == "cancel":
                return Outcome(status=Status.CANCELLED)
            if isinstance(error, GiveWay):
                return Requeue(delay_s=0, reason="share", continuation=True)
            if not isinstance(error, Continue | Ended):
                if not isinstance(error, Stop | SluiceError | ModelError):
                    _log.warning("run failed", exc_info=error)
                if self.steps is not None:
                    self.again = self.steps.to_try_again(raised)
                    if self.steps.caught.given(error):
                        return outcomes.after_given(self.task, error)
                return outcomes.after_error(self.task, error)
        if self.stopped == "lost":
            raise LeaseLost("another worker has the task")
        if self.stopped == "cancel":
            return Outcome(status=Status.CANCELLED)
        if self.stopped == "waiting":
            return Requeue(delay_s=0, reason=claims.WOKEN, continuation=True, suspend=True)
        if self.stopped == "timeout":
            return failed(TIMED_OUT)
        if (
            not (self.steps and self.steps.progressed)
            and now() - (self.task.run_started or 0) > settings().worker_timeout_seconds / 2
        ):
            return outcomes.no_progress(self.task)
        return Requeue(delay_s=0, reason="continuation", continuation=True)

    def suspend(self) -> None:
        """Stop the agent, as all that is left to it is to wait."""
        self.stop("waiting")

    def stop_from_thread(self, why: str) -> None:
        """Stop the run; called by the heartbeat's threads."""
        self.loop.call_soon_threadsafe(self.stop, why)

    def stop(self, why: str) -> None:
        if self.stopped is None:
            self.stopped = why
            if self.agent is not None:
                self.cancel()

    def cancel(self) -> None:
        """Cancel the agent; its steps are cancelled for that, and not by its own code."""
        assert self.agent is not None  # noqa: S101 - for the type checker
        if self.steps is not None:
            self.steps.caught.stop()
        self.agent.cancel()
