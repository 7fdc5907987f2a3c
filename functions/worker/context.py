"""What an agent sees of Sluice: its input, its session, and steps that are done once.

Everything that costs or has effects goes through ``step``, ``model`` or ``tool``. A finished step is recorded; a
retried, taken-over or continued run gets the recorded value instead of doing it again. Agent code between steps must
therefore be repeatable: same input, same steps.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from functions.worker import model_step
from functions.worker.ledger import Ledger
from functions.worker.persist import persist
from functions.worker.signals import Continue, ReplayMismatch
from shared.clock import now
from shared.errors import LeaseLost, TooLarge
from shared.tasks import checkpoints, sessions
from shared.tasks.events import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    import httpx2

    from functions.worker.environment import Environment
    from functions.worker.eventlog import EventLog
    from functions.worker.heartbeat import Beat
    from functions.worker.types import ModelReply
    from shared.tasks.checkpoints import Step
    from shared.tasks.model import Task, Usage

STEP_NAME_CHARACTERS = 64
DEFAULT_OUTPUT_TOKENS = 1024
"""Output tokens of a model call that sets no limit; it bounds what the call can cost."""
_inside: ContextVar[str | None] = ContextVar("inside_step", default=None)
"""The step whose function runs, in this asyncio task and those that it starts."""
RESULT_EVENT_CHARACTERS = 2_000
"""How much of a tool's result its event shows; the run sees all of it."""


class Remembered(dict[str, Any]):
    """A message out of the session's memory: no part of a step's fingerprint, as a session may be deleted meanwhile."""


class Context:
    """One run, as its agent sees it."""

    def __init__(
        self,
        task: Task,
        message: str,
        recorded: dict[tuple[str, int], Step],
        log: EventLog,
        beat: Beat,
        environment: Environment,
        deadline: float,
    ) -> None:
        """Bind to a claimed task; ``deadline`` is when the function ends, epoch seconds."""
        params = task.params
        self.task_id = task.task_id
        self.user = task.user
        self.session_id = task.session_id
        self.model_name = task.model
        self.metadata: dict[str, str] = params.get("metadata") or {}
        self.instructions: str | None = params.get("instructions")
        self.tools: list[dict[str, Any]] = params.get("tools") or []
        self.tool_choice: Any = params.get("tool_choice")
        self.max_output_tokens: int = params.get("max_output_tokens") or DEFAULT_OUTPUT_TOKENS
        self.input: list[dict[str, Any]] | None = json.loads(message) if params.get("input_json") else None
        self.message = message if self.input is None else _last_user_text(self.input)
        self.deadline = deadline
        self._task = task
        self._recorded = recorded
        self._ledger = Ledger.of(task)
        self._log = log
        self._beat = beat
        self._environment = environment
        self._uses: Counter[str] = Counter()
        self._open: set[asyncio.Future[Any]] = set()
        self.progressed = False
        """Whether this worker recorded a step."""

    @property
    def http(self) -> httpx2.AsyncClient:
        """The environment's pooled HTTP client for pages and APIs."""
        return self._environment.pages

    async def step(self, name: str, fn: Callable[[], Awaitable[Any]], *, fingerprint: Any = None) -> Any:
        """Do something once in the life of this task and return its result, which must be JSON.

        ``fn`` is a coroutine function; what blocks goes to a thread: ``lambda: asyncio.to_thread(f, x)``.
        ``name`` and how often it was used before identify the step; steps that run in parallel need distinct names.
        ``fingerprint`` is any JSON that the result depends on.

        Raises:
            ReplayMismatch: the recorded step of that name had another fingerprint, or this one is inside another step.
            LeaseLost: another worker has the task now.
            TooLarge: the result fits nowhere.
        """

        async def work(_nth: int) -> tuple[Any, list[Event], Usage | None, str | None]:
            return await _result(fn, f"step {name}"), [], None, None

        return await self.recorded_step(name, work, kind="step", fingerprint=fingerprint)

    async def tool(self, name: str, fn: Callable[[], Awaitable[Any]], arguments: dict[str, Any]) -> Any:
        """Call a tool once: a step with ``tool_call`` and ``tool_result`` events. See ``step`` for the errors."""

        async def work(nth: int) -> tuple[Any, list[Event], Usage | None, str | None]:
            self._log.add("tool_call", {"tool": name, "n": nth, "arguments": arguments})
            result = await _result(fn, f"tool {name}")
            shown = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
            event = Event("tool_result", now(), {"tool": name, "n": nth, "result": shown[:RESULT_EVENT_CHARACTERS]})
            return result, [event], None, None

        return await self.recorded_step(name, work, kind="tool", fingerprint=arguments)

    async def model(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: Any = None,
        model: str | None = None,
        max_output_tokens: int | None = None,
        name: str = "model",
    ) -> ModelReply:
        """Call the language model once: streamed to watchers, metered, within every budget; see ``step`` for the rest.

        ``tool_choice`` is the provider's (``"required"`` …); unset, the client's own goes with the client's own tools.

        Raises:
            ModelError: the provider refused or failed; the runner decides whether to try again.
            BudgetExhausted: the call's worst case does not fit a ceiling.
        """
        call = model_step.Call(
            model=model or self.model_name,
            messages=messages,
            tools=tools,
            tool_choice=self.tool_choice if tool_choice is None and tools and tools is self.tools else tool_choice,
            max_output_tokens=max_output_tokens or self.max_output_tokens,
        )

        async def work(nth: int) -> tuple[Any, list[Event], Usage | None, str | None]:
            call_id = f"{name}-{nth}.{self._task.lease_no}"
            self.check_time(call.timeout_s)
            reply, usage = await model_step.perform(
                call, call_id, self._task, self._ledger, self._log, self._environment, self.check_time
            )
            data = {"call": call_id, "model": reply.model, "tokens": usage.tokens}
            return (
                model_step.pack(reply, call_id),
                [Event("step", now(), {"step": name, "n": nth, **data})],
                usage,
                reply.model,
            )

        asked = [message for message in messages if not isinstance(message, Remembered)]
        fingerprint = {"model": call.model, "messages": asked, "tools": tools}
        if tool_choice is not None:  # no key of its own otherwise: what was recorded before there was one stays valid
            fingerprint["tool_choice"] = tool_choice
        value = await self.recorded_step(name, work, kind="model", fingerprint=fingerprint)
        return model_step.unpack(value)

    async def emit(self, type: str, data: dict[str, Any]) -> None:
        """Tell watchers something; it is stored within a second."""
        self._log.add(type, data)

    async def history(self, limit: int = 20) -> list[dict[str, Any]]:
        """Return the session's last ``limit`` turns as chat messages, oldest first.

        Only turns count that were settled before this run started.
        """
        started = self._task.started_at or self._task.run_started
        turns = await persist(sessions.read, self.user, self.session_id, limit=limit, before=started)
        messages: list[dict[str, Any]] = []
        for turn in turns:
            messages += [
                Remembered(role="user", content=turn.user),
                Remembered(role="assistant", content=turn.assistant),
            ]
        return messages

    def asked(self) -> list[dict[str, Any]]:
        """Return what the client asked as chat messages: its message list, or its message as one."""
        return self.input if self.input is not None else [{"role": "user", "content": self.message}]

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

    async def recorded_step(
        self,
        name: str,
        work: Callable[[int], Awaitable[tuple[Any, list[Event], Usage | None, str | None]]],
        *,
        kind: str,
        fingerprint: Any,
    ) -> Any:
        """Replay or do and record one step; the base of ``step``, ``tool`` and ``model``."""
        if not name or len(name) > STEP_NAME_CHARACTERS:
            raise TooLarge(f"a step's name has 1 to {STEP_NAME_CHARACTERS} characters")
        self._uses[name] += 1
        nth = self._uses[name]
        mark = checkpoints.fingerprint([kind, fingerprint])
        recorded = self._recorded.pop((name, nth), None)
        if recorded is not None:
            if recorded.fingerprint != mark:
                raise ReplayMismatch(f"step {name} #{nth} was recorded with another input")
            return recorded.value
        outer = _inside.get()
        if outer is not None:
            raise ReplayMismatch(f"step {name} is inside step {outer}, whose replay would not ask for it")
        self.check_time(0)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open.add(done)
        try:
            began = time.monotonic()
            inside = _inside.set(name)
            try:
                value, events, usage, model_used = await work(nth)
            finally:
                _inside.reset(inside)
            if kind != "model":
                data = {"step": name, "n": nth, "ms": round((time.monotonic() - began) * 1000)}
                events = [*events, Event("step", now(), data)]
            step = checkpoints.Step(name, nth, mark, value)
            await self._record_whatever_comes(self._record(step, events, usage, model_used))
            return value
        finally:
            self._open.discard(done)
            done.set_result(None)

    async def _record_whatever_comes(self, write: Coroutine[Any, Any, None]) -> None:
        """Record what was paid for even while the run is being cancelled."""
        recording = asyncio.ensure_future(write)
        try:
            await asyncio.shield(recording)
        except asyncio.CancelledError:
            await asyncio.wait([recording])
            raise

    async def _record(self, step: Step, events: list[Event], usage: Usage | None, model_used: str | None) -> None:
        async with self._log.lock:
            batch = [*self._log.take(), *events]
            await persist(checkpoints.record, self._task, step, batch, use=usage, model_used=model_used)
            self.progressed = True
            if isinstance(step.value, dict) and "call" in step.value:
                self._log.stands(step.value["call"])
        await self._log.stored(batch)

    async def drain(self, until: float) -> None:
        """Wait for the steps that are still under way, at most until the given time."""
        if self._open:
            await asyncio.wait(self._open, timeout=max(0.0, until - now()))

    def check_replayed(self) -> None:
        """Make sure that a run which ends used every recorded step.

        Raises:
            ReplayMismatch: it did not; its code changed shape.
        """
        if self._recorded:
            name, nth = next(iter(self._recorded))
            raise ReplayMismatch(f"the run ended without its recorded step {name} #{nth}")


async def _result(fn: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Call an agent's function; the mistake that beginners make is told in words that help."""
    made = fn()
    if not inspect.isawaitable(made):
        raise TypeError(
            f"{what}: its function must be async, and returned {type(made).__name__}; "
            "one that blocks is called as `lambda: asyncio.to_thread(f, x)`"
        )
    return await made


def _last_user_text(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            if isinstance(content, list):
                return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""
