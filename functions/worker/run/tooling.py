"""Tools: each call a step of its own, and where the agent wants it so, only after a person allowed it.

An approval is bound to the call: its name holds the fingerprint of tool and arguments, so that another call asks anew.
"""

import inspect
import json
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any

from functions.worker.record.eventlog import EventLog
from functions.worker.record.persist import persist
from functions.worker.record.steps import Done
from functions.worker.run.waiting import Waiting
from shared import storable
from shared.clock import now
from shared.tasks import approvals, checkpoints
from shared.tasks.events import Event
from shared.tasks.model import Task
from sluice.errors import Denied, WaitTimeout

RESULT_EVENT_CHARACTERS = 2_000
"""How much of a tool's result its event shows; the run sees all of it."""


class Tooling(Waiting):
    """The part of a context that calls tools; see `Context`."""

    _log: EventLog
    _task: Task

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
        """Call a tool once; see `sluice.Context.tool`."""
        storable.check(arguments, f"the arguments of tool {name}")
        takes = _takes_arguments(fn)
        used = arguments
        if approve(arguments) if callable(approve) else approve:
            used = await self._approved(tool or name, arguments, editable=takes, within_s=approve_within)

        async def work(nth: int) -> Done:
            self._log.add("tool_call", {"tool": name, "n": nth, "arguments": used})
            result = await result_of((lambda: fn(used)) if takes else fn, f"tool {name}")
            storable.check(result, f"the result of tool {name}")
            shown = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
            event = Event("tool_result", now(), {"tool": name, "n": nth, "result": shown[:RESULT_EVENT_CHARACTERS]})
            return Done(result, (event,))

        return await self.steps.once(name, work, kind="tool", fingerprint=arguments)

    async def approval(
        self, tool: str, arguments: dict[str, Any], *, editable: bool = False, within: float | None = None
    ) -> dict[str, Any]:
        """Wait until a call is allowed; see `sluice.Context.approval`."""
        storable.check(arguments, f"the arguments of tool {tool}")
        return await self._approved(tool, arguments, editable=editable, within_s=within)

    def wants_approval(self, tool: str) -> bool:
        """Whether the client or its tier wants calls of a tool of this name allowed first."""
        wanted = self._task.params.get("approve")
        return wanted is True or any(fnmatchcase(tool, one) for one in wanted or ())

    async def _approved(
        self, tool: str, arguments: dict[str, Any], *, editable: bool, within_s: float | None
    ) -> dict[str, Any]:
        mark = checkpoints.fingerprint([tool, arguments])
        asked = approvals.Asked(tool, arguments, mark, editable, self._task.micro_usd)
        answer = await self._wait_for(
            approvals.name_of(mark), approvals.KIND, within_s, lambda: persist(approvals.more_of, self._task, asked)
        )
        if answer is None:
            raise WaitTimeout(f"nobody allowed or denied the call of {tool} in time")
        decision: dict[str, Any] = answer["payload"]
        if decision["decision"] != approvals.ALLOW:
            raise Denied(tool, str(decision.get("reason") or ""))
        changed: dict[str, Any] | None = decision.get("arguments")
        return arguments if changed is None else changed


def _takes_arguments(fn: Callable[..., Any]) -> bool:
    try:
        inspect.signature(fn).bind({})
    except TypeError:
        return False
    except ValueError:  # a builtin that does not say
        return False
    return not _takes_nothing(fn)


def _takes_nothing(fn: Callable[..., Any]) -> bool:
    """Whether a function can be called without arguments, as tools always could be: defaults stay as they are."""
    try:
        inspect.signature(fn).bind()
    except TypeError:
        return False
    return True


async def result_of(fn: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Call an agent's function; the mistake that beginners make is told in words that help.

    Raises:
        RuntimeError: it would end the process, in which other runs are, too. Parsers of command lines do.
    """
    try:
        made = fn()
        if not inspect.isawaitable(made):
            raise TypeError(
                f"{what}: its function must be async, and returned {type(made).__name__}; "
                "one that blocks is called as `lambda: asyncio.to_thread(f, x)`"
            )
        return await made
    except SystemExit as error:
        raise RuntimeError(f"{what}: its function called sys.exit({error.code!r})") from error
