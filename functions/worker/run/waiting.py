"""What an agent may wait for: each a step, which a replay finds done."""

import math
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from functions.worker.record.steps import Done, Steps
from functions.worker.run.waits import TAKEN, Waits
from shared import json_schema
from shared.clock import iso, now
from shared.errors import TooLarge
from shared.tasks.inbox import Signal
from shared.tasks.model import dumps
from shared.tasks.waits import LONGEST_SECONDS
from sluice.errors import WaitTimeout

SIGNAL_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._:-]{1,64}")
"""What a signal's name may be: it stands in an address, where ``.`` and ``..`` mean something else."""


class Waiting:
    """The part of a context that waits; see `Context`."""

    steps: Steps
    waits: Waits

    async def sleep(
        self, seconds: float | None = None, *, until: datetime | float | None = None, name: str = "sleep"
    ) -> None:
        """Wait for a time; see `sluice.Context.sleep`."""
        wake_at = _time(seconds, until)

        async def ready(nth: int) -> None:
            await self.waits.until(self.waits.begin("sleep", name, nth, wake_at))

        async def work(_nth: int) -> Done:
            return Done({"woke": iso(now())})

        await self.steps.once(name, work, kind="sleep", fingerprint=None, ready=ready)

    async def wait(
        self,
        name: str,
        timeout: float | None = None,  # noqa: ASYNC109 - of a wait that outlives this process
        schema: dict[str, Any] | None = None,
    ) -> Any:
        """Wait for a signal; see `sluice.Context.wait`."""
        if not SIGNAL_NAME.fullmatch(name):
            raise ValueError(
                f"a signal's name has 1 to 64 letters, digits and . _ : - and is not . or ..; {name[:80]!r} is none"
            )
        more = {"schema": _checked(schema)} if schema else None

        async def about() -> dict[str, Any] | None:
            return more

        value = await self._wait_for(name, "signal", timeout, about)
        if value is None:
            raise WaitTimeout(f"no signal {name} came in time")
        return value["payload"]

    async def _wait_for(
        self,
        name: str,
        kind: str,
        timeout_s: float | None,
        about: Callable[[], Awaitable[dict[str, Any] | None]],
        raises: Callable[[Any], dict[str, int] | None] = lambda _payload: None,
    ) -> dict[str, Any] | None:
        """Wait for a signal and return what is recorded of it, or None after the time.

        ``raises`` says what ceilings its payload raises, which is recorded with it.
        """
        until = _time(LONGEST_SECONDS if timeout_s is None else timeout_s, None)
        came: Signal | None = None

        async def ready(nth: int) -> None:
            nonlocal came
            came = await self.waits.signal(self.waits.begin(kind, name, nth, until, await about()))

        async def work(_nth: int) -> Done:
            if came is None:
                return Done({TAKEN: None})
            taken = {TAKEN: came.id, "payload": came.payload, "at": iso(came.at), "by": came.by}
            return Done(taken, raised=raises(came.payload))

        value: dict[str, Any] = await self.steps.once(name, work, kind=kind, fingerprint=None, ready=ready)
        return value if value[TAKEN] is not None else None


def _time(seconds: float | None, until: datetime | float | None) -> float:
    """Return the time at which to go on."""
    if (seconds is None) == (until is None):
        raise ValueError("say either for how many seconds to wait, or until when")
    if not isinstance(seconds, int | float | None) or not isinstance(until, datetime | int | float | None):
        raise TypeError("a wait takes seconds as a number, or `until` as a datetime or epoch seconds")
    if seconds is not None:
        if not 0 <= seconds <= LONGEST_SECONDS:  # NaN fails, too
            raise ValueError(f"a wait takes 0 to {LONGEST_SECONDS:.0f} seconds")
        return now() + seconds
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise ValueError("the time to wait until must have a time zone")
        until = until.timestamp()
    if until is None or not math.isfinite(until) or until > now() + LONGEST_SECONDS:
        raise ValueError(f"a wait takes {LONGEST_SECONDS:.0f} seconds at most")
    return float(until)


def _checked(schema: dict[str, Any]) -> dict[str, Any]:
    json_schema.check_schema(schema)
    if len(dumps(schema).encode()) > json_schema.SCHEMA_BYTES:
        raise TooLarge(f"a schema has {json_schema.SCHEMA_BYTES} bytes at most")
    return schema
