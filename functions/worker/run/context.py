"""What an agent sees of Sluice: its input, its session, and steps that are done once.

Everything that costs or has effects goes through ``step``, ``model`` or ``tool``. A finished step is recorded; a
retried, taken-over or continued run gets the recorded value instead of doing it again. Agent code between steps must
therefore be repeatable: same input, same steps.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Unpack

from functions.worker.model import step as model_step
from functions.worker.model.asked import Call
from functions.worker.model.options import merged
from functions.worker.model.reply import pack, unpack
from functions.worker.model.stream import ModelStream
from functions.worker.record.ledger import Ledger
from functions.worker.record.persist import persist
from functions.worker.record.steps import Done, Steps
from functions.worker.record.stops import Continue, GiveWay
from functions.worker.run.budget import Budget
from functions.worker.run.children import Children
from functions.worker.run.tooling import Tooling, result_of
from functions.worker.run.waits import Waits
from shared import traceparent
from shared.clock import now
from shared.errors import LeaseLost
from shared.limits import models
from shared.logs import get_logger
from shared.tasks import chains, conversation, sessions
from shared.tasks.events import Event
from shared.tasks.model import dumps
from sluice.context import Context as PublicContext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

    from functions.worker.environment.environment import Environment
    from functions.worker.record.eventlog import EventLog
    from functions.worker.run.heartbeat import Beat
    from shared.tasks.checkpoints import Step
    from shared.tasks.model import Task
    from sluice.types import ModelOptions, ModelReply

_log = get_logger("context")

DEFAULT_OUTPUT_TOKENS = 1024
"""Output tokens of a model call that sets no limit; it bounds what the call can cost."""
CONTEXT_BYTES_PER_TOKEN = 3
"""Bytes of JSON that a token stands for when history is fitted: 4 in English prose, 3 in many other scripts."""
HISTORY_SHARE = 0.9
"""How much of a model's context is filled: what an agent adds, and estimates that are off, need the rest."""
CLOCK_SKEW_SECONDS = 1.0
"""Turns that ended this much after a run's start by another machine's clock count as earlier: runs of a session go one
after the other."""


class Remembered(dict[str, Any]):
    """A message out of the session's memory: no part of a step's fingerprint, as a session may be deleted meanwhile."""


class Context(Tooling, Children, Budget, PublicContext):
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
    ) -> None:
        """Bind to a claimed task; ``deadline`` is the function's end, epoch seconds, ``suspend`` stops the agent."""
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
        self.max_output_tokens: int = params.get("max_output_tokens") or DEFAULT_OUTPUT_TOKENS
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
        """Do something once in the life of this task and return its result, which must be JSON.

        ``fn`` is a coroutine function; what blocks goes to a thread: ``lambda: asyncio.to_thread(f, x)``.
        ``name`` and how often it was used before identify the step; steps that run in parallel need distinct names.
        ``fingerprint`` is any JSON that the result depends on.

        Raises:
            ReplayMismatch: the recorded step of that name had another fingerprint, or this one is inside another step.
            LeaseLost: another worker has the task now.
            TooLarge, Unstorable: the result fits nowhere, or is no JSON; unless caught, they end the run for good.
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
        """Call the language model once: streamed to watchers, metered, within every budget; see ``step`` for the rest.

        ``tool_choice`` is the provider's (``"required"`` …); unset, the client's own goes with the client's own tools.
        ``last`` promises that the agent returns at once with this reply, or is a function that says True of a reply
        with which it does. It is then written together with the run's end: a quarter less of a short run's writes.
        ``stream=False`` shows watchers the text in one piece, once it is whole, and takes less processor time; unset,
        it is as the client asked for the run, which streams by default.
        ``options`` (``temperature``, ``response_format``, ``reasoning`` …, see `ModelOptions`) go to the provider. What
        the client asked for holds where the agent says nothing; None leaves an option out.

        Raises:
            BadOption: an option is none, or has words of its own here.
            ModelError: the provider refused or failed; the runner decides whether to try again.
            BudgetExhausted: the call's worst case does not fit a ceiling.
        """
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
        """Begin a call like ``model``, whose text the agent reads while it is written.

        ``async for piece in ctx.model_stream(messages)``, and ``await stream.reply()`` for the whole. A reply that was
        recorded comes in one piece. Calls of one name are told apart by their order, whichever way they are made.
        """
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
                lambda: self.steps.once(name, work, kind="model", fingerprint=fingerprint, nth=use)
            )
        )
        for kind, number in (reply.details or {}).items():
            self.usage_details[kind] = self.usage_details.get(kind, 0) + number
        return reply

    async def emit(self, type: str, data: dict[str, Any]) -> None:
        """Tell watchers something; it is stored within a second.

        Raises:
            Unstorable: the data is no JSON.
        """
        self._log.add(type, data)

    async def history(self, limit: int = 20) -> list[dict[str, Any]]:
        """Return the session's last ``limit`` turns as chat messages, oldest first; ``asked`` goes right behind them.

        Only turns count that were settled before this run started. Tool calls are there with their answers, and those
        that ``asked`` answers. A run that has no session, or begins one, sees none.

        Where the model's context is known, only as many exchanges come as fit beside the instructions, what is asked
        and the answer: an exchange comes whole or not at all. A tool loop that is still open comes from its question.

        A response that goes on from another, or in a conversation, sees all of it, whatever ``limit`` says; what does
        not fit is an error then, unless its client said ``truncation: auto``.

        Raises:
            ConversationTooLong: an open tool loop has more turns than can be read, or a chain is too long.
        """
        if not self.session_id or self.session_id == self.task_id:
            return []
        before = (self._task.started_at or self._task.run_started or now()) + CLOCK_SKEW_SECONDS
        before = float(self._task.params.get("history_before") or before)  # a fork sees what the other run saw
        chain = chains.asked_for(self._task.params)
        if chain is None:
            turns = await persist(sessions.read_whole, self.user, self.session_id, limit=limit, before=before)
        else:
            turns = await persist(chains.read, self.user, self.session_id, last=chain.last, before=before)
        asked = self.asked()
        fitting = conversation.fitting([message for turn in turns for message in turn.messages], asked)
        room = self._history_bytes(asked)
        if room is not None:
            all_of_it = fitting
            fitting = conversation.within(fitting, room, open_loop=not conversation.opens(asked[0]) if asked else False)
            if chain is not None and chain.whole and len(fitting) < len(all_of_it):
                raise sessions.ConversationTooLong(chains.DOES_NOT_FIT)
        return [Remembered(message) for message in fitting]

    def _history_bytes(self, asked: list[dict[str, Any]]) -> int | None:
        """Return how much JSON of history the model has room for; None when nobody knows its context."""
        context = models.context_tokens(self.model_name)
        if context is None:
            return None
        beside = len(dumps([self.instructions, self.tools, asked]).encode())
        return max(0, round((context - self.max_output_tokens) * CONTEXT_BYTES_PER_TOKEN * HISTORY_SHARE) - beside)

    def asked(self) -> list[dict[str, Any]]:
        """Return what the client asked as chat messages: its message list, or its message as one."""
        return self.input if self.input is not None else [{"role": "user", "content": self.message}]

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
