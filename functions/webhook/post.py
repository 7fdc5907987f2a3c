"""One signed POST to a receiver, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import httpx2

from shared import asked_waits, traceparent, webhooks
from shared.clock import iso, now
from shared.errors import Gone, NotFound
from shared.guarded_http import GuardedTransport, no_cookies, was_forbidden
from shared.netguard import Forbidden
from shared.tasks import settle, store
from shared.tasks.model import Status, Task, dumps
from shared.tasks.sessions import RESPONSE_PREFIX

TIMEOUT_SECONDS = 10.0
"""For the whole exchange, from resolving the name to the last byte read."""
ANSWER_BYTES = 16_384
"""How much of an answer's body is taken off the receiver's hands; nothing in it is used."""
RESPONSE_BYTES = 262_144
"""A longer response, or longer data, is left out of the webhook; ``GET /result`` has it."""
GONE = 410
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try. ``status`` is None when no answer came; ``final`` means that trying again is pointless."""

    status: int | None = None
    error: str | None = None
    final: bool = False
    retry_after_s: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


@cache
def _client() -> httpx2.Client:
    return httpx2.Client(
        transport=GuardedTransport(TIMEOUT_SECONDS),
        timeout=TIMEOUT_SECONDS,
        headers={"user-agent": "Sluice-Webhooks", "accept-encoding": "identity", "connection": "close"},
        cookies=no_cookies(),
        follow_redirects=False,
        trust_env=False,
    )


def post(task: Task, url: str) -> Answer:
    """Send a task's webhook once. No answer is an answer, too: nothing is raised for what the receiver does."""
    place = traceparent.outgoing(task)
    more = {} if place is None else {traceparent.HEADER: place}
    return send(url, payload(task), webhooks.message_id(task), webhooks.secrets_for(task.key_id), more)


def send(
    url: str, content: dict[str, Any], message: str, secrets: list[str], more: Mapping[str, str] = NO_HEADERS
) -> Answer:
    """Send a webhook once, with the id ``message``, signed by all ``secrets``; ``more`` headers go with it."""
    if not secrets:
        return Answer(error="not signed: this deployment has no WEBHOOK_SECRET", final=True)
    body, at = dumps(content).encode(), int(now())
    headers = {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": str(at),
        "webhook-signature": webhooks.signatures(secrets, message, at, body),
        **more,
    }
    try:
        webhooks.check_target(url)
        with _client().stream("POST", url, content=body, headers=headers) as answer:
            _drain(answer)
            return _judge(answer)
    except Forbidden as error:
        return Answer(error=f"refused: {error.message}", final=True)
    except httpx2.InvalidURL:
        return Answer(error="refused: this is no URL", final=True)
    except httpx2.HTTPError as error:
        if was_forbidden(error):
            return Answer(error="refused: its address cannot be reached from here", final=True)
        return Answer(error=f"{type(error).__name__}: {error}"[:200])


def _drain(answer: httpx2.Response) -> None:
    """Read a little, so that a receiver can finish its answer; the status has come, so failing here means nothing."""
    read = 0
    try:
        for chunk in answer.iter_raw():
            read += len(chunk)
            if read >= ANSWER_BYTES:
                return
    except httpx2.HTTPError:
        return


def _judge(answer: httpx2.Response) -> Answer:
    status = answer.status_code
    if 200 <= status < 300:
        return Answer(status)
    if status == GONE:
        return Answer(status, "the receiver wants no more", final=True)
    if 300 <= status < 400:
        return Answer(status, "redirects are not followed")
    return Answer(
        status, f"the receiver answered {status}", retry_after_s=asked_waits.from_headers(answer.headers, now())
    )


def payload(task: Task) -> dict[str, Any]:
    """Return what a webhook says, the same on every try.

    That is the task as ``GET /result`` shows it; for one that was made through OpenAI's dialect and has ended, OpenAI's
    event, with nothing but the response's id (`openai.webhooks.unwrap` reads it).
    """
    if task.params.get("dialect") and task.status.terminal:
        return openai_event(task)
    data: dict[str, Any] = {"metadata": {}, **store.public(task)}
    try:
        result = settle.result_of(task)
    except (NotFound, Gone):  # erased meanwhile, or its object is
        result = {**(task.result or {}), "response": None}
    if result is not None:
        texts = {"response": result["response"] or "", "data": dumps(result.get("data"))}
        large = [name for name, text in texts.items() if len(text.encode()) > RESPONSE_BYTES]
        if large:
            result = {**result, **dict.fromkeys(large), "truncated": True}
        data["result"] = result
    return {
        "type": f"task.{task.status}",
        "timestamp": iso(task.ended_at or task.waiting_since or task.created),
        "data": data,
    }


def openai_event(task: Task) -> dict[str, Any]:
    """Return OpenAI's event of a response's end."""
    kind = {Status.COMPLETE: "completed", Status.CANCELLED: "cancelled"}.get(task.status, "failed")
    if task.status is Status.COMPLETE and _cut(task):
        kind = "incomplete"
    return {
        "id": f"evt_{task.task_id}",
        "object": "event",
        "type": f"response.{kind}",
        "created_at": int(task.ended_at or task.created),
        "data": {"id": f"{RESPONSE_PREFIX}{task.task_id}"},
    }


def _cut(task: Task) -> bool:
    """Whether the model's reply ended at its limit."""
    try:
        data = (settle.result_of(task) or {}).get("data") or {}
    except (NotFound, Gone):  # erased meanwhile, or its object is
        return False
    return bool(data.get("finish_reason") == "length")
