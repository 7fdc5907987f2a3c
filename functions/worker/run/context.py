"""What an agent sees of Sluice: its input, its session, and steps that are done once.

Everything that costs or has effects goes through ``step``, ``model`` or ``tool``. A finished step is recorded; a
retried, taken-over or continued run gets the recorded value instead of doing it again, and where its code went on after
a failure, that failure. Agent code between steps must therefore be repeatable: same input, same steps.
"""

import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Unpack

import httpx2

from functions.worker.environment.environment import Environment
from functions.worker.model import step as model_step
from functions.worker.model.asked import Call
from functions.worker.model.options import merged
from functions.worker.model.reply import pack, unpack
from functions.worker.model.stream import ModelStream
from functions.worker.record.eventlog import EventLog
from functions.worker.record.ledger import Ledger
from functions.worker.record.steps import Done, Steps
from functions.worker.record.stops import Continue, GiveWay
from functions.worker.run.budget import Budget
from functions.worker.run.children import Children
from functions.worker.run.heartbeat import Beat
from functions.worker.run.history import History, Remembered
from functions.worker.run.room import Room
from functions.worker.run.tooling import Tooling, result_of
from functions.worker.run.waits import Waits
from shared import traceparent
from shared.clock import now
from shared.errors import LeaseLost
from shared.limits.output import output_tokens
from shared.logs import get_logger
from shared.tasks import conversation
from shared.tasks.checkpoints import Step
from shared.tasks.events import OWN, Event
from shared.tasks.family import Group
from shared.tasks.model import Task
from sluice.context import Context as PublicContext
from sluice.types import ModelOptions, ModelReply

_log = get_logger("context")


class Context(Tooling, Children, Budget, History, PublicContext):
    """One run, as its agent sees it: what `sluice.Context` promises."""

    def __init__(
        self,
        task: Task,
        message: str,
        recorded: dict[tuple[str, int], Step],
        log: EventLog,
        beat: Beat,
        environment: Environment,
        deadline: float,
        suspend: Callable[[], None],
        groups: Iterable[Group] = (),
    ) -> None:
        """Bind to a claimed task; ``deadline`` is the function's end, epoch seconds, ``suspend`` stops the agent.

        ``groups`` are those of its children.
        """
        params = task.params
        self.task_id = task.task_id
        self.user = task.user
        self.session_id = task.session_id or None
        self.model_name = task.model
        self.metadata: dict[str, str] = params.get("metadata") or {}
        self.instructions: str | None = params.get("instructions")
        self.tools: list[dict[str, Any]] = params.get("tools") or []
        self.tool_choice: Any = params.get("tool_choice")
        self.options: dict[str, Any] = params.get("options") or {}
        self.max_output_tokens: int = output_tokens(task)
        self.stream: bool = params.get("stream", True)
        self.input: list[dict[str, Any]] | None = json.loads(message) if params.get("input_json") else None
        self.message = message if self.input is None else conversation.last_user_text(self.input)
        self.deadline = deadline
        self.usage_details: dict[str, int] = {}
        """Of the replies that the run has had, recorded ones too: what of their tokens was cached, or reasoning."""
        self._task = task
        self._ledger = Ledger.of(task)
        self._log = log
        self._beat = beat
        self._environment = environment
        self.steps = Steps(task, recorded, log, self.check_time, self.give_way)
        self.waits = Waits(task, recorded, self.steps, log, suspend)
        self._room = Room(self._ledger, self.steps, self.waits, groups, recorded)
        self._answered_before(recorded)

    @property
    def http(self) -> httpx2.AsyncClient:
        """The environment's pooled HTTP client for pages and APIs."""
        return self._environment.pages

    @property
    def traceparent(self) -> str | None:
        """The header that makes what another service does a part of this run's trace; None outside of any trace."""
        return traceparent.OUTGOING.get() or traceparent.outgoing(self._task)

    async def step(self, name: str, fn: Callable[[], Awaitable[Any]], *, fingerprint: Any = None) -> Any:
        """Do something once in the life of this task; see `sluice.Context.step`.

        Raises also `LeaseLost`: another worker has the task now.
        """

        async def work(_nth: int) -> Done:
            return Done(await result_of(fn, f"step {name}"))

        return await self.steps.once(name, work, kind="step", fingerprint=fingerprint)

    async def model(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: Any = None,
        model: str | None = None,
        max_output_tokens: int | None = None,
        name: str = "model",
        last: bool | Callable[[ModelReply], bool] = False,
        stream: bool | None = None,
        **options: Unpack[ModelOptions],
    ) -> ModelReply:
        """Call the language model once; see `sluice.Context.model`."""
        given = {"tools": tools, "tool_choice": tool_choice, "model": model, "max_output_tokens": max_output_tokens}
        return await self._ask(messages, None, name=name, last=last, stream=stream, options=options, **given)

    def model_stream(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: Any = None,
        model: str | None = None,
        max_output_tokens: int | None = None,
        name: str = "model",
        last: bool | Callable[[ModelReply], bool] = False,
        **options: Unpack[ModelOptions],
    ) -> ModelStream:
        """Begin a call whose text the agent reads while it is written; see `sluice.Context.model_stream`."""
        given = {"tools": tools, "tool_choice": tool_choice, "model": model, "max_output_tokens": max_output_tokens}
        return ModelStream(
            lambda hear: self._ask(messages, hear, name=name, last=last, stream=True, options=options, **given)
        )

    async def _ask(
        self,
        messages: list[dict[str, Any]],
        listen: Callable[[str], None] | None,
        *,
        tools: list[dict[str, Any]] | None,
        tool_choice: Any,
        model: str | None,
        max_output_tokens: int | None,
        name: str,
        last: bool | Callable[[ModelReply], bool],
        stream: bool | None,
        options: ModelOptions,
    ) -> ModelReply:
        call = Call(
            model=model or self.model_name,
            messages=messages,
            tools=tools,
            tool_choice=self.tool_choice if tool_choice is None and tools and tools is self.tools else tool_choice,
            max_output_tokens=max_output_tokens or self.max_output_tokens,
            stream=self.stream if stream is None else stream,
            options=merged(self.options, options),
            deadline=self.deadline,
            listen=listen,
            shown_tools=frozenset(_name(tool) for tool in tools or () if tool in self.tools),
        )

        use: int | None = None

        async def work(nth: int) -> Done:
            nonlocal use
            use = nth  # the same again, should it have to ask for more budget first
            self._check_refused(f"{name}#{nth}")
            call_id = f"{name}-{nth}.{self._task.lease_no}"
            self.check_time(call.needs_s)
            began = time.monotonic()
            reply, usage = await model_step.perform(
                call, call_id, self._task, self._ledger, self._log, self._environment, self.check_time
            )
            data: dict[str, Any] = {"call": call_id, "model": reply.model, "tokens": usage.tokens}
            data |= {"ms": round((time.monotonic() - began) * 1000), "cost_usd": usage.micro_usd / 1_000_000}
            data |= {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
            if reply.finish_reason:
                data["finish_reason"] = reply.finish_reason
            if reply.left_out:
                data["left_out"] = list(reply.left_out)
            event = Event("step", now(), {"step": name, "n": nth, **data})
            return Done(pack(reply, call_id), (event,), usage, reply.model, _ends_run(last, reply))

        asked = [message for message in messages if not isinstance(message, Remembered)]
        fingerprint: dict[str, Any] = {"model": call.model, "messages": asked, "tools": tools}
        if tool_choice is not None:  # no key of its own otherwise: what was recorded before there was one stays valid
            fingerprint["tool_choice"] = tool_choice
        if options:
            fingerprint["options"] = options
        reply = unpack(
            await self._within_budget(
                lambda: self.steps.once(name, work, kind="model", fingerprint=fingerprint, nth=use),
                lambda: f"{name}#{use}",
            )
        )
        for kind, number in (reply.details or {}).items():
            self.usage_details[kind] = self.usage_details.get(kind, 0) + number
        return reply

    async def emit(self, type: str, data: dict[str, Any]) -> None:
        """Tell watchers something; it is stored within a second.

        Raises:
            Unstorable: the data is no JSON.
            ValueError: the type is one of Sluice's own (`shared.tasks.events.OWN`).
        """
        if type in OWN:
            raise ValueError(f"events of type {type!r} are Sluice's own: give yours another type")
        self._log.add(type, data)

    async def give_way(self) -> None:
        """Leave the slot here, to go on when there is one again, if it is owed to another owner's task.

        Raises:
            GiveWay: handled by the runner.
        """
        if await self._environment.share.gives_back(self._task):
            raise GiveWay

    def check_time(self, needed_s: float) -> None:
        """Stop this run here, to go on elsewhere, when less than ``needed_s`` of the function's time is left.

        Raises:
            Continue: handled by the runner.
            LeaseLost: the lease lapsed unextended; starting paid work now could pay twice.
        """
        if now() + needed_s > self.deadline:
            raise Continue
        if not self._beat.alive:
            raise LeaseLost("the lease lapsed")


def _name(tool: dict[str, Any]) -> str:
    """Return the name of a function that is offered to a model."""
    return str((tool.get("function") or {}).get("name", ""))


def _ends_run(last: bool | Callable[[ModelReply], bool], reply: ModelReply) -> bool:
    """Ask an agent whether its run ends with a reply, which is paid for: recorded, whatever comes of asking."""
    try:
        return (last(reply) if callable(last) else last) is True
    except Exception:
        _log.warning("the agent's `last` failed", exc_info=True)
        return False
