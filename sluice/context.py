"""What an agent sees of its run: its input, its session, and steps that are done once.

Everything that costs or has effects goes through ``step``, ``model`` or ``tool``. A finished step is recorded; a
retried, taken-over or continued run gets the recorded value instead of doing it again, and where its code went on after
a failure, that failure. Agent code between steps must therefore be repeatable: same input, same steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, Unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime

    import httpx2

    from sluice.types import AgentResult, ModelOptions, ModelReply


class ModelStream(Protocol):
    """A model call under way: its pieces of text, and then the whole reply."""

    def __aiter__(self) -> AsyncIterator[str]:
        """Iterate over the pieces that come from now on; a recorded reply comes in one."""
        ...

    async def reply(self) -> ModelReply:
        """Wait for the whole reply. Whoever does not, and returns, has the call cut off and charged."""
        ...


class Context(Protocol):
    """One run, as its agent sees it. The worker makes it; an agent's ``run(ctx)`` is called with it."""

    task_id: str
    """The run's id, which its client knows."""
    user: str
    """Whose run it is."""
    session_id: str | None
    """The conversation it belongs to; None where the client named none, and nothing is remembered."""
    model_name: str
    """The model that the client asked for."""
    message: str
    """What the user wrote."""
    input: list[dict[str, Any]] | None
    """The client's message list, where it sent one."""
    instructions: str | None
    """The client's instructions to the model."""
    metadata: dict[str, str]
    """The client's own notes about the run."""
    tools: list[dict[str, Any]]
    """Tools that the client answers itself."""
    tool_choice: Any
    """The client's choice among them."""
    options: dict[str, Any]
    """The client's options of every model call, by name: see `ModelOptions`."""
    max_output_tokens: int
    """Output tokens of one model call, unless it sets its own."""
    stream: bool
    """Whether the client wants to see text while it is written."""
    deadline: float
    """When this environment's time ends, epoch seconds; a longer run goes on in another one."""

    @property
    def http(self) -> httpx2.AsyncClient:
        """A pooled HTTP client for pages and APIs; on AWS it reaches no private address."""
        ...

    @property
    def traceparent(self) -> str | None:
        """The ``traceparent`` header for requests of the agent's own clients; None where the run is part of no trace.

        Inside a tool or a step it names that. Requests through ``http`` have it already.
        """
        ...

    async def step(self, name: str, fn: Callable[[], Awaitable[Any]], *, fingerprint: Any = None) -> Any:
        """Do something once in the life of this task and return its result, which must be JSON.

        ``fn`` is a coroutine function; what blocks goes to a thread: ``lambda: asyncio.to_thread(f, x)``.
        ``name`` and how often it was used before identify the step; steps that run in parallel need distinct names.
        ``fingerprint`` is any JSON that the result depends on.

        What ``fn`` raises comes out, and comes out again in a replay if the run goes on after it (docs/agents.md).

        Raises:
            ReplayMismatch: the recorded step of that name had another fingerprint, or this one is inside another step.
            TooLarge, Unstorable: the result fits nowhere, or is no JSON; unless caught, they end the run for good.
        """
        ...

    async def tool(
        self,
        name: str,
        fn: Callable[..., Awaitable[Any]],
        arguments: dict[str, Any],
        *,
        approve: bool | Callable[[dict[str, Any]], bool] = False,
        approve_within: float | None = None,
        tool: str | None = None,
    ) -> Any:
        """Call a tool once: a step with ``tool_call`` and ``tool_result`` events. See ``step`` for the errors.

        With ``approve`` (or where it says so of the arguments) the run waits before the call until its owner allows it
        (docs/waits.md), for ``approve_within`` seconds at most. A ``fn`` that takes one argument gets the arguments,
        which whoever allows the call may have changed. ``tool`` is what they are told it is called, where ``name`` is
        made up to tell parallel calls apart.

        Raises:
            Unstorable: the arguments are no JSON; nothing was done.
            Denied: the call was not allowed; says why.
            WaitTimeout: nobody answered in time.
        """
        ...

    async def approval(
        self, tool: str, arguments: dict[str, Any], *, editable: bool = False, within: float | None = None
    ) -> dict[str, Any]:
        """Wait until a call is allowed that something else makes, like a framework's own loop.

        It is asked for as by ``tool`` with ``approve``, and returns the arguments to make the call with: others than
        asked for only if they are ``editable``. The call itself belongs into a step of its own.

        Raises:
            Unstorable: the arguments are no JSON.
            Denied: the call was not allowed; says why.
            WaitTimeout: nobody answered ``within`` so many seconds.
        """
        ...

    def wants_approval(self, tool: str) -> bool:
        """Whether the client or its tier wants calls of a tool of this name allowed first."""
        ...

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
        ``options`` (``temperature``, ``response_format``, ``reasoning`` …) go to the provider. What the client asked
        for holds where the agent says nothing; None leaves an option out.

        Raises:
            BadOption: an option is none, or has words of its own here.
            ModelError: the provider refused or failed; left alone, the run is tried again where that may help.
            BudgetExhausted: the call's worst case does not fit a ceiling.
        """
        ...

    async def sleep(
        self, seconds: float | None = None, *, until: datetime | float | None = None, name: str = "sleep"
    ) -> None:
        """Wait for so many seconds, or until a time (epoch seconds, or a datetime with a zone); a year at most.

        The time counts from when the run first came here, whatever happens to it meanwhile. It costs nothing: the run
        holds no slot and no environment. Several at the same time need distinct names.

        Raises:
            ValueError: not one of the two was given, or it is no such time.
        """
        ...

    async def wait(
        self,
        name: str,
        timeout: float | None = None,  # noqa: ASYNC109 - of a wait that outlives this process
        schema: dict[str, Any] | None = None,
    ) -> Any:
        """Wait for the next signal of a name (``POST /agent/{id}/signals/{name}``) and return its payload.

        A signal that came before is taken at once, the oldest first, each by one wait only. ``timeout`` is in seconds;
        without one the wait ends after a year. ``schema`` is a JSON schema of a few words (docs/waits.md): what does
        not fit is refused where it is sent, and passed over where it came early.

        Raises:
            WaitTimeout: no signal came in time; it is a ``TimeoutError``.
            ValueError: the name, the timeout or the schema is none.
        """
        ...

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
        """Run an agent as a task of its own and return its result; the run waits for it, holding nothing.

        Raises:
            ChildFailed: it failed or was cancelled.
            NotFound: no agent has this name, or the tier may not run it.
            TooLarge: this run has started too many, or is itself too deep.
            BudgetExhausted: nothing is left for it.
        """
        ...

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
        """Run an agent once for each message and return the results in their order.

        At most ``at_once`` run at the same time (else as many as the running cap allows). All run to their end; then
        the first `ChildFailed` is raised, or with ``on_error="return"`` stands where a result would. ``max_cost_usd``
        is for each; together they have what is left of this run's own. See ``run`` for the errors.
        """
        ...

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

        ``async for piece in ctx.model_stream(messages)``, and ``await stream.reply()`` for the whole, which is
        recorded. A reply that was recorded comes in one piece. Calls of one name are told apart by their order,
        whichever way they are made.
        """
        ...

    async def emit(self, type: str, data: dict[str, Any]) -> None:
        """Tell watchers something; it is stored within a second.

        Raises:
            Unstorable: the data is no JSON.
            ValueError: the type is one that Sluice tells of runs itself (docs/agents.md).
        """
        ...

    async def history(self, limit: int = 20) -> list[dict[str, Any]]:
        """Return the session's last ``limit`` turns as chat messages, oldest first; ``asked`` goes behind them."""
        ...

    def asked(self) -> list[dict[str, Any]]:
        """Return what the client asked as chat messages: its message list, or its message as one."""
        ...


class Agent(Protocol):
    """A module in the agents' folder: its file's name is the agent's name."""

    async def run(self, ctx: Context) -> AgentResult:
        """Run one task."""
        ...
