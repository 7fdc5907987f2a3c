"""Runs that a run starts and waits for: each a task of its own, all of them one step of their parent."""

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from functions.worker import agents
from functions.worker.environment.environment import Environment
from functions.worker.record.ledger import Ledger
from functions.worker.record.persist import persist
from functions.worker.record.steps import Done
from functions.worker.run import grown
from functions.worker.run.abreast import abreast
from functions.worker.run.budget import Budget
from shared import traceparent
from shared.clock import day, now
from shared.errors import BudgetExhausted, NotFound
from shared.limits import tiers
from shared.tasks import ceilings, family, lanes, parking, store, waking
from shared.tasks.family import Group
from shared.tasks.model import METADATA_KEY_CHARACTERS, METADATA_PAIRS, METADATA_VALUE_CHARACTERS, Status, Task
from shared.tasks.waits import LONGEST_SECONDS
from sluice.errors import WaitTimeout
from sluice.types import AgentResult

NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")
STARTED_AT_ONCE = 8
"""Children written at the same time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the children of a group are to do."""

    agent: str
    messages: Sequence[str]
    at_once: int
    model: str
    params: dict[str, Any]


class Children(Budget):
    """The part of a context that starts other runs; see `Context`."""

    _task: Task
    _ledger: Ledger
    _environment: Environment

    async def run(
        self,
        agent: str,
        message: str,
        *,
        model: str | None = None,
        max_output_tokens: int | None = None,
        max_cost_usd: float | None = None,
        metadata: dict[str, str] | None = None,
        name: str = "run",
    ) -> AgentResult:
        """Run an agent as a task of its own; see `sluice.Context.run`."""
        params = {"max_output_tokens": max_output_tokens, "max_cost_usd": max_cost_usd, "metadata": metadata}
        (one,) = await self._children(agent, [message], 1, model, params, name)
        return grown.result(one)

    async def map(
        self,
        agent: str,
        messages: Sequence[str],
        *,
        at_once: int | None = None,
        on_error: Literal["raise", "return"] = "raise",
        model: str | None = None,
        max_output_tokens: int | None = None,
        max_cost_usd: float | None = None,
        metadata: dict[str, str] | None = None,
        name: str = "map",
    ) -> list[Any]:
        """Run an agent once for each message; see `sluice.Context.map`."""
        if on_error not in ("raise", "return") or (at_once is not None and at_once < 1):
            raise ValueError("on_error is 'raise' or 'return', and at_once 1 or more")
        params = {"max_output_tokens": max_output_tokens, "max_cost_usd": max_cost_usd, "metadata": metadata}
        found = await self._children(agent, list(messages), at_once or len(messages), model, params, name)
        if on_error == "raise":
            return [grown.result(one) for one in found]
        return [grown.result(one) if one["status"] == "complete" else grown.failure(one) for one in found]

    async def _children(
        self, agent: str, messages: list[str], at_once: int, model: str | None, params: dict[str, Any], name: str
    ) -> list[dict[str, Any]]:
        if not NAME.fullmatch(name):
            raise ValueError("the name of children has 1 to 40 letters, digits and . _ -")
        if not all(isinstance(message, str) and message for message in messages):
            raise ValueError("a message is a text, and not empty")
        _check(params)
        if not messages:
            return []
        limits = tiers.of_task(self._task)
        if agent not in agents.names() or not limits.allows_agent(agent):
            raise NotFound(f"there is no agent {agent!r} that this run may start")
        if model is not None and not limits.allows_model(model):
            raise NotFound(f"this run may not use the model {model!r}")
        plan = Plan(agent, messages, at_once, model or self._task.model, params)
        made: Group | None = None

        async def ready(nth: int) -> None:
            nonlocal made
            group = self._room.taken_up(name, nth)
            if group is None:
                _check_size(params["metadata"])  # an older version began groups that have more: they go on
                group = await self._within_budget(lambda: self._begin(name, nth, plan), lambda: f"{name}#{nth}")
            made = group
            with self.steps.busy():
                await self._start(group, plan)
            about = {"group": group.key, "of": group.total}
            wait = self.waits.begin("children", group.signal, nth, now() + LONGEST_SECONDS, about)
            if await self.waits.signal(wait) is None:
                raise WaitTimeout(f"the children {name} did not end in time")

        async def work(_nth: int) -> Done:
            assert made is not None  # noqa: S101 - for the type checker
            ends = await persist(grown.ends, self._task.task_id, made)
            # A child's raise is one of the tree: what it did not use of it is this run's to use.
            more = sum(one.get("raised", 0) for one in ends)
            return Done(ends, raised=ceilings.raised(self._task, ceilings.OWN, more) if more else None)

        mark = [agent, len(messages), plan.model]
        found: list[dict[str, Any]] = []
        try:
            found = await self.steps.once(name, work, kind="children", fingerprint=mark, ready=ready)
            if not self.steps.copied(name):  # those are the children of another run, which paid for them
                self._task.joined += len(found)
            return found
        finally:
            if made is not None:  # otherwise it counts since the run was taken up again
                self._room.over(made, found)

    async def _begin(self, name: str, nth: int, plan: Plan) -> Group:
        """Note a group; its share of the run's ceiling is held from here on."""
        self._check_refused(f"{name}#{nth}")
        group = self._group(name, nth, plan)
        self._room.begins(group)
        try:
            with self.steps.busy():
                return await persist(family.begin, self._task, group)
        except BaseException:
            self._room.over(group, [])
            raise

    def _group(self, name: str, nth: int, plan: Plan) -> Group:
        """Divide what is left of this run's ceiling among the children: what they do not use comes back."""
        total = len(plan.messages)
        asked = plan.params.get("max_cost_usd")
        each = round(asked * 1_000_000) if asked else 0
        ceiling = ceilings.own(self._task)
        if ceiling is not None:
            left = (ceiling - self._ledger.micro_usd) // total
            if left <= 0:
                alone = ceiling - self._ledger.used.micro_usd >= total
                raise BudgetExhausted(ceilings.OWN, needs=(0, each * total), fits_alone=alone)
            each = min(each, left) if each else left
        return Group(name, nth, total, each)

    async def _start(self, group: Group, plan: Plan) -> None:
        """Write and send the children. Those that are there already are left as they are, or sent if nobody had them.

        Once the run waits for them, all were sent.
        """
        parent, gate = self._task, self._environment.gate
        there: dict[int, Task] = {}
        if not group.fresh:
            if self.waits.knows("children", group.signal, group.nth):
                return
            there = await persist(grown.rows, parent.task_id, group)

        async def one(n: int) -> None:
            if (known := there.get(n)) is not None:
                if known.status is Status.QUEUED and not known.lease_no and not known.parked:
                    await persist(lanes.send, known.lane, known.task_id, known.gen, user=known.user, trace=known.trace)
                return
            child = _child(parent, group, plan, n)
            if not child.parked:
                took = await asyncio.to_thread(
                    gate.take_slot, child.user, child.task_id, child.running_cap, parking.PARKED_SLOT_SECONDS
                )
                child.parked = not took
                await asyncio.to_thread(waking.count_again, gate, child)
            await persist(store.submit, child, plan.messages[n])
            if not child.parked:
                await persist(lanes.send, child.lane, child.task_id, 0, user=child.user, trace=child.trace)
            elif not child.after:
                await asyncio.to_thread(parking.look_again, gate, child)

        # Who is to follow another is written before it: the other's end must find it.
        await abreast(one, range(plan.at_once, group.total), most=STARTED_AT_ONCE)
        await abreast(one, range(min(plan.at_once, group.total)), most=STARTED_AT_ONCE)


def _check(params: dict[str, Any]) -> None:
    """Hold what the children are given against what a submit takes.

    Raises:
        ValueError: it is none of that.
    """
    tokens, usd, metadata = params["max_output_tokens"], params["max_cost_usd"], params["metadata"]
    if tokens is not None and not (isinstance(tokens, int) and tokens >= 1):
        raise ValueError("max_output_tokens is a whole number, 1 or more")
    if usd is not None and not (isinstance(usd, int | float) and 0 < usd < math.inf):
        raise ValueError("max_cost_usd is a number above 0")
    if metadata is not None and not all(isinstance(text, str) for pair in metadata.items() for text in pair):
        raise ValueError("metadata is texts by texts")


def _check_size(metadata: dict[str, str] | None) -> None:
    """Hold metadata against a submit's limits, before a group is begun: it stands in the row of each child.

    Raises:
        ValueError: it is longer.
    """
    if not metadata:
        return
    keys, texts = (max(map(len, some)) for some in (metadata.keys(), metadata.values()))
    if (
        len(metadata) > METADATA_PAIRS
        or "" in metadata
        or keys > METADATA_KEY_CHARACTERS
        or texts > METADATA_VALUE_CHARACTERS
    ):
        most = f"{METADATA_PAIRS} texts of {METADATA_VALUE_CHARACTERS} characters"
        raise ValueError(f"metadata is at most {most}, under keys of 1 to {METADATA_KEY_CHARACTERS}")


def _child(parent: Task, group: Group, plan: Plan, n: int) -> Task:
    at = now()
    params = {key: value for key, value in plan.params.items() if value is not None}
    if group.micro_usd:
        params["max_cost_usd"] = group.micro_usd / 1_000_000
    if parent.params.get("timeout_s"):
        params["timeout_s"] = max(0.001, parent.created + float(parent.params["timeout_s"]) - at)
    params |= {key: parent.params[key] for key in ("approve", "stream", "on_budget") if key in parent.params}
    if (place := traceparent.outgoing(parent, traceparent.STEP, group.name, group.nth)) is not None:
        params[traceparent.HEADER] = place

    def sibling(m: int) -> str | None:
        return family.child_id(parent.task_id, group.key, m) if 0 <= m < group.total else None

    after = sibling(n - plan.at_once)
    return Task(
        task_id=family.child_id(parent.task_id, group.key, n),
        user=parent.user,
        lane=parent.lane if parent.lane != "quarantine" else "normal",
        agent=plan.agent,
        model=plan.model,
        created=at,
        day=day(at),
        tier=parent.tier,
        session_id="",
        key_id=parent.key_id,
        params=params,
        running_cap=parent.running_cap,
        cap_tokens=parent.cap_tokens,
        cap_micro_usd=parent.cap_micro_usd,
        cap_key_tokens=parent.cap_key_tokens,
        cap_key_micro_usd=parent.cap_key_micro_usd,
        raised=ceilings.of_days(parent),
        trace=parent.trace,
        parent=parent.task_id,
        family=group.key,
        family_size=group.total,
        child_no=n,
        depth=parent.depth + 1,
        after=after,
        follower=sibling(n + plan.at_once),
        parked=after is not None,
    )
