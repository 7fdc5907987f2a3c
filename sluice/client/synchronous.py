"""The synchronous client; `asynchronous` has the same, call for call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import httpx2

from sluice.client import calls, waits
from sluice.client.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from sluice.client.shapes import Event, Page, Run


class Client:
    """A caller of one Sluice API; one pool of connections. Use it as a context manager, or `close` it."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        patience_s: float = calls.PATIENCE_SECONDS,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Use the API at ``url`` with an API key; both may come from ``SLUICE_URL`` and ``SLUICE_KEY``.

        ``patience_s`` is how long a call is tried again that fails on the way, or is told to wait.

        Raises:
            ValueError: there is no address.
        """
        self._address, headers = calls.settings(url, key)
        self._patience = patience_s
        self._http = httpx2.Client(timeout=calls.TIMEOUT_SECONDS, headers=headers, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        message: str,
        *,
        agent: str | None = None,
        session_id: str | None = None,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> Run:
        """Submit a message and return its run at once. ``more``: any other field of ``POST /agent``.

        It carries an idempotency key, yours or one of its own: sent twice, it is still one run.

        Raises:
            ApiError: the API refused.
        """
        fields = {"agent": agent, "session_id": session_id, **more}
        return cast("Run", self._do(calls.submit(message, self._patience, idempotency_key, fields)))

    def result(self, task_id: str, *, wait_s: float = 0) -> Run:
        """Return a run as it is; with ``wait_s`` as it ended, if that happens in that time.

        Raises:
            ApiError: the API refused.
        """
        return cast("Run", self._do(calls.result(task_id, self._patience, wait_s)))

    def follow(self, task_id: str, *, after: int = 0) -> Iterator[Event]:
        """Yield a run's events as they happen, to its end, each once; goes on by itself where it was cut off.

        Raises:
            ApiError: the API refused, or was away for longer than the client's patience.
        """
        ended = False
        while not ended:
            found, ended = self._do(calls.events(task_id, self._patience, after))
            for event in found:
                after = event.seq
                yield event

    def run(self, message: str, *, timeout_s: float = 600, **fields: Any) -> Run:
        """Submit a message and wait for the end of its run.

        Raises:
            RunError: the run failed or was cancelled.
            TimeoutError: it did not end in ``timeout_s``; it goes on.
            ApiError: the API refused.
        """
        submitted = self.submit(message, **fields)
        ended = self.result(submitted.task_id, wait_s=timeout_s)
        if not ended.ended:
            raise TimeoutError(f"{ended.task_id} is still {ended.status} after {timeout_s} s")
        if ended.status != "complete":
            raise RunError(ended)
        return ended

    def cancel(self, task_id: str) -> Run:
        """Ask for a run's end; asking twice is no error.

        Raises:
            ApiError: the API refused.
        """
        return cast("Run", self._do(calls.cancel(task_id, self._patience)))

    def page(self, *, status: str | None = None, limit: int = 20, cursor: str | None = None) -> Page:
        """Return some of your runs, newest first.

        Raises:
            ApiError: the API refused.
        """
        return cast("Page", self._do(calls.page(self._patience, status, limit, cursor)))

    def runs(self, *, status: str | None = None) -> Iterator[Run]:
        """Yield all of your runs, newest first, page by page.

        Raises:
            ApiError: the API refused.
        """
        cursor: str | None = None
        while True:
            found = self.page(status=status, limit=100, cursor=cursor)
            yield from found.runs
            cursor = found.cursor
            if cursor is None:
                return

    def limits(self) -> dict[str, Any]:
        """Return your limits and what is left of them.

        Raises:
            ApiError: the API refused.
        """
        return cast("dict[str, Any]", self._do(calls.limits(self._patience)))

    def signal(
        self, task_id: str, name: str, payload: Any = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Send a run the signal that it waits for, or will: any JSON. Sent twice, it is still one.

        Raises:
            ApiError: the API refused; the run has ended (409), say.
        """
        call = waits.signal(task_id, name, payload, self._patience, idempotency_key)
        return cast("dict[str, Any]", self._do(call))

    def approvals(self) -> list[dict[str, Any]]:
        """Return what your runs wait to be allowed: calls of tools, and budget.

        Raises:
            ApiError: the API refused.
        """
        return cast("list[dict[str, Any]]", self._do(waits.approvals(self._patience)))

    def allow(self, task_id: str, fingerprint: str, **more: Any) -> dict[str, Any]:
        """Allow what a run waits for. ``more``: other ``arguments``, or by how much to ``raise_usd`` a ceiling.

        Raises:
            ApiError: the API refused; it was answered otherwise before (409), say.
        """
        return cast("dict[str, Any]", self._do(waits.answer(task_id, fingerprint, "allow", self._patience, more)))

    def deny(self, task_id: str, fingerprint: str, *, reason: str | None = None) -> dict[str, Any]:
        """Deny what a run waits for; a model is told the ``reason``.

        Raises:
            ApiError: the API refused.
        """
        call = waits.answer(task_id, fingerprint, "deny", self._patience, {"reason": reason})
        return cast("dict[str, Any]", self._do(call))

    def schedules(self) -> list[dict[str, Any]]:
        """Return your schedules.

        Raises:
            ApiError: the API refused.
        """
        return cast("list[dict[str, Any]]", self._do(waits.schedules(self._patience)))

    def make_schedule(self, run: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """Have a message submitted by the clock: ``run`` is the body of a submit; ``cron`` or ``at``, ``timezone`` ….

        Raises:
            ApiError: the API refused, or did not answer: look at `schedules` then, before you make it again.
        """
        return cast("dict[str, Any]", self._do(waits.make_schedule({"run": run, **fields})))

    def change_schedule(self, schedule_id: str, **fields: Any) -> dict[str, Any]:
        """Change the fields of a schedule that are given; ``paused=True`` pauses it.

        Raises:
            ApiError: the API refused.
        """
        return cast("dict[str, Any]", self._do(waits.change_schedule(schedule_id, fields, self._patience)))

    def delete_schedule(self, schedule_id: str) -> None:
        """Delete a schedule; runs that it began go on.

        Raises:
            ApiError: the API refused.
        """
        self._do(waits.delete_schedule(schedule_id, self._patience))

    def _do(self, call: calls.Call) -> Any:
        """Carry out a call: send what it asks to be sent, wait as it asks."""
        try:
            asked = next(call)
            while True:
                if isinstance(asked, float | int):
                    time.sleep(asked)
                    asked = call.send(None)
                    continue
                try:
                    response = self._http.request(
                        asked.method,
                        self._address + asked.path,
                        json=asked.json,
                        params=asked.params,
                        headers=asked.headers,
                    )
                except httpx2.TransportError as error:
                    asked = call.throw(error)
                else:
                    asked = call.send(response)
        except StopIteration as end:
            return end.value
