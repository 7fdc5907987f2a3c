"""Model calls with the real client over real sockets: what comes back, what fails how, and what is never repeated."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest

from functions.worker.environment import clients
from functions.worker.model import exchange as exchanges
from functions.worker.model import profile
from functions.worker.model.call import call
from shared.retry import ModelError, classify
from shared.settings import settings
from sluice import ModelReply

Serve = Callable[["Exchange"], Awaitable[None]]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Point the worker's clients at a provider."""

    def point(url: str, **more: str) -> None:
        for name, value in {
            "OPENAI_BASE_URL": url,
            "OPENAI_API_KEY": "sk-secret",
            "POOL_PROFILE": "low",
            **more,
        }.items():
            monkeypatch.setenv(name, value)
        for cached in (settings, clients.http, clients.model):
            cached.cache_clear()
        profile.forget()
        clients.forget_moves()

    yield point
    for cached in (settings, clients.http, clients.model):
        cached.cache_clear()


async def ask(text: str, deltas: list[str] | None = None, *, timeout_s: float = 600, **more: Any) -> ModelReply:
    seen = deltas if deltas is not None else []
    return await call(
        more.pop("model", "m"), more.pop("messages", [{"role": "user", "content": text}]),
        **{"tools": None, "max_output_tokens": 50, "timeout_s": timeout_s, "on_delta": seen.append, **more},
    )  # fmt: skip


def run[T](main: Callable[[], Awaitable[T]]) -> T:
    async def whole() -> T:
        try:
            return await main()
        finally:
            await clients.http().aclose()

    return asyncio.run(whole())


# With the simulator: an OpenAI-compatible provider that fails on request.


def test_a_reply_comes_whole_and_in_pieces(simulator: str, use: Callable[..., None]) -> None:
    use(f"{simulator}/v1")
    deltas: list[str] = []
    reply = run(lambda: ask("[[sim words=12]] hi", deltas))
    assert "".join(deltas) == reply.content
    assert len(deltas) == 12
    assert (reply.usage.output_tokens, reply.model, reply.finish_reason) == (12, "m", "stop")
    assert (reply.tool_calls, reply.estimated) == ([], False)


def test_parallel_tool_calls_are_put_together(simulator: str, use: Callable[..., None]) -> None:
    use(f"{simulator}/v1")
    parameters = {"type": "object", "properties": {"expression": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "calculator", "parameters": parameters}}]
    reply = run(
        lambda: ask('[[sim tool=calculator parallel=2 args={"expression": "1+1"}]]', tools=tools, tool_choice="auto")
    )
    assert [(one.name, json.loads(one.arguments)) for one in reply.tool_calls] == [
        ("calculator", {"expression": "1+1"})
    ] * 2
    assert len({one.id for one in reply.tool_calls}) == 2
    assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("directive", "kind", "code", "wait"),
    [
        ("fail=429 retry_after=7", "transient", "rate_limit_exceeded", 7),
        ("fail=429 retry_after_ms=250", "transient", "rate_limit_exceeded", 0.25),
        ("fail=quota", "permanent", "provider_insufficient_quota", None),
        ("fail=filter", "permanent", "content_filter", None),
        ("fail=filtered", "permanent", "content_filter", None),
        ("fail=400", "permanent", "invalid_request", None),
        ("fail=401", "permanent", "provider_unauthorized", None),
        ("fail=402", "permanent", "provider_insufficient_quota", None),
        ("fail=404", "permanent", "model_not_found", None),
        ("fail=500", "transient", "provider_error", None),
        ("fail=garbage", "transient", "malformed_reply", None),
        ("fail=mojibake", "transient", "malformed_reply", None),
        ("fail=truncate", "transient", "truncated_reply", None),
        ("fail=drop", "transient", "provider_unreachable", None),
        ("fail=reset", "transient", "provider_unreachable", None),
        ("fail=error_event", "transient", "provider_error", None),
        ("hang=60", "transient", "model_no_answer", None),
        ("fail=stall hang=60", "transient", "model_stalled", None),
    ],
)
def test_failures(
    simulator: str, use: Callable[..., None], directive: str, kind: str, code: str, wait: float | None
) -> None:
    short = {"MODEL_TIMEOUT_SECONDS": "1", "MODEL_STALL_SECONDS": "1"} if "hang" in directive else {}
    use(f"{simulator}/v1", **short)
    key = directive.replace(" ", "-").replace("=", "-")
    with pytest.raises(ModelError) as caught:
        run(lambda: ask(f"[[sim key={key} {directive}]] hi"))
    verdict = classify(caught.value)
    assert (verdict.kind, verdict.code, verdict.retry_after_s) == (kind, code, wait)
    with httpx2.Client() as admin:
        stats = admin.get(f"{simulator}/_sim/stats", params={"prefix": key}).json()
    assert stats["by_key"][key]["started"] == 1  # a failure on a fresh connection is not tried again here


def test_cancelling_closes_the_stream_at_once(simulator: str, use: Callable[..., None]) -> None:
    use(f"{simulator}/v1")

    async def main() -> dict[str, int]:
        calling = asyncio.create_task(ask("[[sim key=cancelled fail=stall hang=600]] hi", deltas))
        while not deltas:  # noqa: ASYNC110 - the call tells nobody else that text came
            await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        async with httpx2.AsyncClient(base_url=simulator) as admin:
            while True:
                found = (await admin.get("/_sim/stats", params={"prefix": "cancelled"})).json()["by_key"]["cancelled"]
                if found["aborted"]:
                    return dict(found)
                await asyncio.sleep(0.01)

    deltas: list[str] = []
    assert run(main)["aborted"] == 1


# With a provider that sends exactly the bytes it is told to.


class Exchange:
    """One request as the provider sees it, and the means to answer."""

    def __init__(self, asked: dict[str, Any], writer: asyncio.StreamWriter, number: int, on_connection: int):
        self.asked = asked
        """The request's body."""
        self.writer = writer
        self.number = number
        self.on_connection = on_connection
        """The how-manieth request of its connection, from 1."""

    async def send(self, *pieces: bytes, end: bool = True) -> None:
        self.writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in pieces:
            self.writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if end:
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def refuse(self, status: int, body: bytes) -> None:
        self.writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await self.writer.drain()

    def cut(self) -> None:
        self.writer.transport.abort()


def talk[T](use: Callable[..., None], serve: Serve, main: Callable[[], Awaitable[T]], **more: str) -> T:
    """Run ``main`` against a provider that answers each request with ``serve``."""

    async def whole() -> T:
        count = 0

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            on_connection = 0
            try:
                while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                    length = next(line for line in head.lower().splitlines() if line.startswith("content-length"))
                    asked = json.loads(await reader.readexactly(int(length.partition(":")[2])))
                    count += 1
                    on_connection += 1
                    await serve(Exchange(asked, writer, count, on_connection))
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        use(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", **more)
        try:
            return await main()
        finally:
            await clients.http().aclose()
            server.close()
            await server.wait_closed()

    return asyncio.run(whole())


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    value = {"model": "m-2", "choices": choices, **more}
    return b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = chunk(usage={"prompt_tokens": 7, "completion_tokens": 2})


def answer(use: Callable[..., None], *pieces: bytes) -> ModelReply:
    return talk(use, lambda exchange: exchange.send(*pieces), lambda: ask("hello"))


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "a\x0bb\x1cc", "é😀"])
def test_characters_that_end_lines_elsewhere_are_text_here(use: Callable[..., None], text: str) -> None:
    reply = answer(use, chunk({"content": text}, "stop"), USAGE, DONE)
    assert reply.content == text
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.model) == (7, 2, "m-2")


def test_any_cut_of_the_bytes_gives_the_same_reply(use: Callable[..., None]) -> None:
    whole = (
        b": keep-alive\r\n" + chunk({"content": "é€"}).replace(b"\n", b"\r\n") + chunk({"content": "!"}, "stop") + DONE
    )
    reply = answer(use, *(whole[n : n + 1] for n in range(len(whole))))
    assert reply.content == "é€!"


@pytest.mark.parametrize(
    "usage",
    [None, {}, {"prompt_tokens": -5, "completion_tokens": 1}, {"prompt_tokens": "9", "completion_tokens": None},
     {"prompt_tokens": True, "completion_tokens": 1}, {"prompt_tokens": 10**12, "completion_tokens": 1}, [7], "7"],
)  # fmt: skip
def test_use_that_is_not_told_or_not_to_be_believed_is_estimated_and_flagged(
    use: Callable[..., None], usage: Any
) -> None:
    reply = answer(use, chunk({"content": "abcdefgh"}, "stop", usage=usage), DONE)
    assert reply.estimated
    assert reply.usage.output_tokens == 2
    assert reply.usage.input_tokens > 0


def test_an_error_field_of_null_is_no_error(use: Callable[..., None]) -> None:
    assert answer(use, chunk({"content": "ok"}, "stop", error=None), USAGE, DONE).content == "ok"


@pytest.mark.parametrize(
    ("error", "code"),
    [({"code": 429, "message": "slow"}, "rate_limit_exceeded"), ("bad", "provider_error"),
     ({"type": "insufficient_quota"}, "provider_insufficient_quota")],
)  # fmt: skip
def test_an_error_in_the_stream_is_one_whatever_its_shape(use: Callable[..., None], error: Any, code: str) -> None:
    with pytest.raises(ModelError) as caught:
        answer(use, chunk({"content": "x"}), chunk(error=error), DONE)
    assert classify(caught.value).code == code


@pytest.mark.parametrize(
    "piece",
    [b"data: nonsense\n\n", b"data: []\n\n", b'data: {"choices": [{"delta": 3}]}\n\n',
     b'data: {"choices": [{"delta": {"content": 3}}]}\n\n', b"data: " + b"[" * 100_000 + b"\n\n", b"data: \xff\n\n"],
)  # fmt: skip
def test_a_malformed_chunk_is_the_providers_passing_fault(use: Callable[..., None], piece: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        answer(use, piece, chunk({}, "stop"), DONE)
    assert (classify(caught.value).kind, classify(caught.value).code) == ("transient", "malformed_reply")


@pytest.mark.parametrize("pieces", [(), (DONE,), (chunk(), USAGE, DONE), (chunk({"content": "x"}),)])
def test_a_stream_without_an_end_of_the_reply_is_cut_off(use: Callable[..., None], pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        answer(use, *pieces)
    assert classify(caught.value).code == "truncated_reply"


def test_a_refusal_is_the_answer(use: Callable[..., None]) -> None:
    assert answer(use, chunk({"refusal": "I cannot."}), chunk({}, "stop"), DONE).content == "I cannot."


def test_half_characters_become_something_that_can_be_stored(use: Callable[..., None]) -> None:
    reply = answer(use, b'data: {"choices": [{"delta": {"content": "a\\ud83d"}, "finish_reason": "stop"}]}\n\n', DONE)
    assert reply.content == "a?"
    assert reply.content.encode()


def test_tool_calls_without_numbers_are_kept_apart(use: Callable[..., None]) -> None:
    calls = [{"id": f"c{n}", "function": {"name": "f", "arguments": "{}"}} for n in (1, 2)]
    reply = answer(use, chunk({"tool_calls": calls}, "tool_calls"), DONE)
    assert [one.id for one in reply.tool_calls] == ["c1", "c2"]


@pytest.mark.parametrize(
    "piece",
    [b"data: " + b"x" * 5_000_000, chunk({"content": "x" * 2_000_000}) * 3,
     chunk({"tool_calls": [{"index": n, "id": "c"} for n in range(200)]})],
)  # fmt: skip
def test_an_endless_reply_is_stopped(use: Callable[..., None], piece: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        talk(
            use,
            lambda exchange: exchange.send(piece, chunk({}, "stop"), DONE),
            lambda: ask("hello", max_output_tokens=10**9),
        )
    assert classify(caught.value).code in ("malformed_reply", "reply_too_long")


def test_a_whole_reply_stands_though_its_stream_breaks_off(use: Callable[..., None]) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.send(chunk({"content": "paid"}, "stop"), end=False)
        exchange.writer.close()

    reply = talk(use, serve, lambda: ask("hello"))
    assert (reply.content, reply.estimated) == ("paid", True)


def test_a_whole_reply_stands_though_its_stream_never_ends(
    use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "DRAIN_SECONDS", 0.05)
    reply = talk(
        use,
        lambda exchange: exchange.send(chunk({"content": "x"}, "stop"), USAGE, DONE, end=False),
        lambda: ask("hello"),
    )
    assert (reply.content, reply.estimated) == ("x", False)


def test_our_key_is_taken_out_of_the_providers_words(use: Callable[..., None]) -> None:
    body = json.dumps({"error": {"message": "Incorrect API key sk-secret", "code": "invalid_api_key"}}).encode()
    with pytest.raises(ModelError) as caught:
        talk(use, lambda exchange: exchange.refuse(401, body), lambda: ask("hello"))
    assert caught.value.message == "Incorrect API key [key]"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "x"}', b'{"error": null}', b"[" * 100_000])
def test_a_refusal_without_words_goes_by_its_status(use: Callable[..., None], body: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        talk(use, lambda exchange: exchange.refuse(503, body), lambda: ask("hello"))
    assert (caught.value.status, classify(caught.value).code) == (503, "provider_error")


def test_a_kept_connection_that_died_is_replaced_once(use: Callable[..., None]) -> None:
    served: list[int] = []

    async def serve(exchange: Exchange) -> None:
        served.append(exchange.on_connection)
        if exchange.on_connection > 1:  # the request meets a connection that is just being closed
            exchange.cut()
            return
        await exchange.send(chunk({"content": "x"}, "stop"), USAGE, DONE)

    async def main() -> list[str]:
        return [(await ask("hello")).content for _ in range(2)]

    assert talk(use, serve, main) == ["x", "x"]
    assert served == [1, 2, 1]


def test_a_call_that_was_perhaps_worked_on_is_not_repeated(use: Callable[..., None]) -> None:
    served: list[int] = []

    async def serve(exchange: Exchange) -> None:
        served.append(exchange.on_connection)
        if exchange.on_connection == 1 and exchange.number == 1:
            await exchange.send(chunk({"content": "x"}, "stop"), USAGE, DONE)
        elif exchange.on_connection == 2:  # half an answer on the reused connection
            await exchange.send(chunk({"content": "y"}), end=False)
            exchange.cut()
        else:  # nothing on a fresh one
            exchange.cut()

    async def main() -> list[str]:
        codes = []
        await ask("hello")
        for _ in range(2):
            with pytest.raises(ModelError) as caught:
                await ask("hello")
            codes.append(classify(caught.value).code)
        return codes

    assert talk(use, serve, main) == ["provider_unreachable"] * 2
    assert served == [1, 2, 1]


def test_a_full_pool_is_our_own_fault(use: Callable[..., None]) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.send(chunk({"content": "x"}), end=False)  # and never ends

    async def main() -> ModelError:
        most = settings().pool_limits[0]
        deltas: list[str] = []
        holding = [asyncio.create_task(ask("hello", deltas)) for _ in range(most)]
        while len(deltas) < most:  # noqa: ASYNC110 - until each holds a connection
            await asyncio.sleep(0.01)
        with pytest.raises(ModelError) as caught:
            await ask("one too many", timeout_s=0.2)
        for one in holding:
            one.cancel()
        await asyncio.gather(*holding, return_exceptions=True)
        return caught.value

    verdict = classify(talk(use, serve, main))
    assert (verdict.kind, verdict.code, verdict.counts_for_breaker) == ("transient", "pool_timeout", False)


def test_nobody_there(use: Callable[..., None]) -> None:
    use("http://127.0.0.1:1/v1")
    with pytest.raises(ModelError) as caught:
        run(lambda: ask("hello"))
    assert classify(caught.value).code == "provider_unreachable"
