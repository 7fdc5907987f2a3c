"""One call of ``POST /v1/chat/completions``, from its body to its last byte or its failure."""

import asyncio
import json
import time
import uuid
from dataclasses import dataclass

from localstack.llm import faults, habits, http, plan, replies, request, wire
from localstack.llm.connections import Connection
from localstack.llm.faults import ApiError
from localstack.llm.http import Headers, Send
from localstack.llm.plan import Plan
from localstack.llm.replies import Reply
from localstack.llm.request import ChatRequest
from localstack.llm.state import Call, State

# Tokens due soon after one another share a write: within 5 ms, and the longer the more calls are in flight,
# up to 0.2 s. A write costs about 0.1 ms of a core, so 500 streams of 20 tokens a second would fill it.
_MERGE = 0.005
_MERGE_PER_CALL = 0.0005
_MERGE_MOST = 0.2
_DEFAULT_RPM = 10_000
_DEFAULT_TPM = 2_000_000
_EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
_BROKEN = {
    "garbage": b'{"id": "chatcmpl-broken", "choices": [{"index": 0, "delta": {"content": ',
    "mojibake": b'{"id": "chatcmpl-broken", "choices": [{"index": 0, "delta": {"content": "\xf0\x9f',
}


async def serve(state: State, connection: Connection, body: bytes, send: Send, path: str) -> None:
    """Answers one request, recording it from start to end."""
    began = asyncio.get_running_loop().time()
    connection.use()
    try:
        asked = request.read(body)
        planned = plan.make(state, asked)
    except ApiError as error:
        call = state.begin("(invalid)", "", "", stream=False, named=False)
        call.status = error.refusal.status
        state.end(call)
        await http.send_error(send, error)
        return
    named = planned.wish.key is not None
    call = state.begin(planned.key, asked.model, planned.fingerprint, stream=asked.stream, named=named)
    try:
        exchange = _Exchange(state, connection, send, began, asked, planned, call)
        if not await exchange.by_habit(body, path):
            await exchange.run()
    finally:
        state.end(call)


@dataclass(slots=True)
class _Exchange:
    state: State
    connection: Connection
    send: Send
    began: float
    asked: ChatRequest
    plan: Plan
    call: Call

    async def by_habit(self, body: bytes, path: str) -> bool:
        """Answers as some real provider does, where a directive asks so; false if that leaves the call alone."""
        name = self.plan.wish.habit
        if name is None or self.state.config.is_out(self.call.model):
            return False
        found = habits.answer(habits.HABITS[name], json.loads(body), path)
        if found is None or not self._in_turn():
            return False
        self.call.fault, self.call.status = f"habit {name}", found.status
        headers = [(key.encode(), value.encode()) for key, value in found.headers.items()]
        await http.start(self.send, found.status, headers)
        await http.write(self.send, found.body, more=found.cut)
        if found.cut:
            await self.connection.close()
        elif found.status < 300:
            self._finish()
        return True

    def _in_turn(self) -> bool:
        """Count a call that would meet its habit; false for those before ``skip`` and after ``times``."""
        count, wish = self.state.key_count(self.call.key), self.plan.wish
        turn = count.habit_turns - wish.skip
        count.habit_turns += 1
        return turn >= 0 and (wish.times is None or turn < wish.times)

    async def run(self) -> None:
        call = self.call
        count = self.state.key_count(call.key)
        fault = plan.choose_fault(self.state, self.plan, call.model, count)
        reply = replies.make(self.asked, self.plan.wish, self.plan.words, f"{call.key}/{self.plan.fingerprint}", call.n)
        call.prompt_tokens = reply.prompt_tokens
        headers, over = self._rate_limit(reply)
        if fault is None and over is not None:
            fault, call.fault = "429", "rate_limit"
        else:
            call.fault = fault
        refusal = None if fault is None else faults.refusal(fault)
        if fault == "error_event" and not self.asked.stream:
            refusal = faults.refusal("500")
        if refusal is not None:
            retry = plan.retry_headers(self.state, self.plan, refusal.status)
            if over is not None and call.fault == "rate_limit":
                retry = faults.retry_headers(over, None)
            await self._refuse(ApiError(refusal, retry), headers)
            return
        if fault == "filtered":
            reply, fault = replies.filtered(reply), None
        call.completion_tokens = reply.completion_tokens
        if fault == "hang":
            await self._hang(self.began + self.plan.hang)
        elif fault == "reset":
            if not await self._pause(self.plan.ttft):
                await self.connection.abort()
        elif self.asked.stream:
            await self._stream(reply, fault, headers)
        else:
            await self._whole(reply, fault, headers)

    def _rate_limit(self, reply: Reply) -> tuple[Headers, float | None]:
        """The ``x-ratelimit-*`` headers, and the seconds to wait when a configured limit is passed."""
        config, window = self.state.config, self.state.window
        left = window.add(reply.prompt_tokens)
        requests, tokens = config.rpm or _DEFAULT_RPM, config.tpm or _DEFAULT_TPM
        over = (config.rpm and window.requests > requests) or (config.tpm and window.tokens > tokens)
        headers = http.common_headers()
        for name, limit, used in (("requests", requests, window.requests), ("tokens", tokens, window.tokens)):
            headers += [
                (f"x-ratelimit-limit-{name}".encode(), b"%d" % limit),
                (f"x-ratelimit-remaining-{name}".encode(), b"%d" % max(limit - used, 0)),
                (f"x-ratelimit-reset-{name}".encode(), f"{left:.3f}s".encode()),
            ]
        return headers, left if over else None

    async def _pause(self, seconds: float) -> bool:
        """Waits until so many seconds after the request, or the key is hurried; true, and noted, if the client left."""
        haste = self.state.haste
        if self.call.key in haste:
            left = self.connection.gone
        else:
            with haste.wakes(self.call.key, self.connection.wake):
                left = await self.connection.wait_until(self.began + seconds)
        self.call.aborted |= left
        return self.call.aborted

    async def _refuse(self, error: ApiError, headers: Headers) -> None:
        slow = self.plan.wish.given & {"latency", "ttft"}
        if slow and await self._pause(self.plan.latency if "latency" in slow else self.plan.ttft):
            return
        self.call.status = error.refusal.status
        await http.send_error(self.send, error, headers)

    async def _hang(self, until: float) -> None:
        if await self.connection.wait_until(until):
            self.call.aborted = True
        else:
            await self.connection.close()

    def _identity(self) -> tuple[str, int, str]:
        return f"chatcmpl-{uuid.uuid4().hex[:29]}", int(time.time()), self.asked.model

    def _timing(self, headers: Headers, seconds: float) -> Headers:
        return [*headers, (b"openai-processing-ms", b"%d" % (seconds * 1000))]

    async def _whole(self, reply: Reply, fault: str | None, headers: Headers) -> None:
        if await self._pause(self.plan.latency):
            return
        self.call.status = 200
        headers = self._timing(headers, self.plan.latency)
        body = wire.completion(reply, *self._identity())
        half = body[: len(body) // 2]
        if fault in _BROKEN:
            await http.send_whole(self.send, 200, _BROKEN[fault], headers)
        elif fault == "truncate":
            await http.send_whole(self.send, 200, half, headers)
        elif fault is None:
            await http.send_whole(self.send, 200, body, headers)
            self._finish()
        else:
            length = (b"content-length", b"%d" % len(body))
            await http.start(self.send, 200, [(b"content-type", b"application/json"), length, *headers])
            await http.write(self.send, half, more=True)
            await self._break_off(fault)

    async def _break_off(self, fault: str) -> None:
        if fault == "stall":
            await self._hang(asyncio.get_running_loop().time() + self.plan.hang)
        else:
            await self.connection.close()

    def _finish(self) -> None:
        if self.connection.gone:
            self.call.aborted = True
        else:
            self.call.completed = True

    async def _stream(self, reply: Reply, fault: str | None, headers: Headers) -> None:
        if await self._pause(self.plan.ttft):
            return
        self.call.status = 200
        await http.start(self.send, 200, [_EVENT_STREAM, *self._timing(headers, self.plan.ttft)])
        made = wire.stream(reply, *self._identity(), include_usage=self.asked.include_usage)
        events = made.events if fault is None else made.events[: (len(made.events) + 1) // 2]
        if await self._send_in_time(events, len(made.events)):
            return
        if fault is None:
            if await self._pause(self.plan.latency):
                return
            await http.write(self.send, b"".join(made.ending))
            self._finish()
        elif fault == "truncate":
            await http.write(self.send, b"")
        elif fault in _BROKEN:
            await http.write(self.send, b"data: " + _BROKEN[fault] + b"\n\n" + wire.DONE)
        elif fault == "error_event":
            refusal = faults.refusal("500")
            if refusal is not None:
                await http.write(self.send, b"data: " + wire.error_body(refusal) + b"\n\n")
        else:
            await self._break_off(fault)

    async def _send_in_time(self, events: list[bytes], total: int) -> bool:
        """Sends events spread from the first token to the end; true if the client left meanwhile."""
        ttft = self.plan.ttft
        step = (self.plan.latency - ttft) / max(total - 1, 1)
        loop = asyncio.get_running_loop()
        sent = 0
        while sent < len(events):
            # The event that names the role goes out with the first token.
            if await self._pause(ttft + step * max(sent - 1, 0)):
                return True
            merge = min(max(_MERGE, _MERGE_PER_CALL * self.state.in_flight), _MERGE_MOST)
            elapsed = loop.time() - self.began + merge
            if step <= 0 or self.call.key in self.state.haste:
                due = len(events)
            else:
                due = min(len(events), max(sent + 1, 2 + int((elapsed - ttft) / step)))
            if self.call.first_sent is None and due > 1:
                self.call.first_sent = time.time()
            await http.write(self.send, b"".join(events[sent:due]), more=True)
            sent = due
            self.call.sent_tokens = min(self.call.completion_tokens, max(0, sent - 1))  # the first names the role
        return False
