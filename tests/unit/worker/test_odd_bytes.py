"""Answers as servers and what stands before them write them, byte by byte, to the real model client.

A reply that is whole is one, whatever its framing, encoding, numbers or letters; what is none is told apart from it.
"""
# ruff: noqa: E501, UP031 - an answer a line: their shapes are compared by eye

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.retry import ModelError, classify
from sluice import ModelReply
from tests.unit.worker.raw_provider import delta
from tests.unit.worker.wire_provider import PAUSE, RESET, Script, WireProvider, events, http, wire_provider

from .test_model_client import ask, run, use

__all__ = ["use"]

HELLO = "Hello there."
USED = {"prompt_tokens": 10, "completion_tokens": 4}
TEXT, STOP, USAGE = delta(HELLO), delta(finish="stop"), {"choices": [], "usage": USED}
GOOD = events(TEXT, STOP, USAGE)
BODY = {"choices": [{"index": 0, "message": {"content": HELLO}, "finish_reason": "stop"}], "usage": USED}
WHOLE = json.dumps(BODY).encode()
CHUNKED = ("200 OK", "Transfer-Encoding: chunked")


@pytest.fixture(scope="module")
def server() -> Iterator[WireProvider]:
    with wire_provider() as made:
        yield made


def answered(server: WireProvider, use: Callable[..., None], *scripts: Script) -> ModelReply:
    use(server.url)
    server.asked.clear()
    server.scripts = list(scripts)
    return run(lambda: ask("hi"))


def used(**changes: Any) -> Script:
    """Return a good stream whose usage says so."""
    return [http(events(TEXT, STOP, {"choices": [], "usage": USED | changes}))]


def saying(*lines: str) -> Script:
    return [http(events(*lines, USAGE))]


def chunked(body: bytes, extension: str = "", trailer: str = "", size: int = 9) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    made = b"".join(f"{len(one):x}{extension}\r\n".encode() + one + b"\r\n" for one in pieces)
    return made + f"0{extension}\r\n{trailer}\r\n".encode()


def encoded(body: bytes, encoding: str) -> Script:
    return [http(body, "200 OK", f"Content-Encoding: {encoding}")]


def text_of(content: str) -> str:
    """Return an event whose text is written as JSON names it here."""
    return 'data: {"choices": [{"index": 0, "delta": {"content": "%s"}, "finish_reason": "stop"}]}' % content


def numbered(index: int, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, **more}]}


WHOLE_REPLIES: dict[str, Script] = {
    # how an answer is framed
    "http_1_0": [http(GOOD, version="1.0", length=False)],
    "chunk_extensions": [http(chunked(GOOD, ";a=b"), *CHUNKED, length=False)],
    "chunk_size_padded": [http(chunked(GOOD, "   "), *CHUNKED, length=False)],
    "trailers": [http(chunked(GOOD, trailer="X-Cost: 1\r\nGrpc-Status: 0\r\n"), *CHUNKED, length=False)],
    "no_last_chunk": [http(chunked(GOOD)[:-5], *CHUNKED, length=False)],
    "longer_than_told": [http(GOOD, "200 OK", f"Content-Length: {len(GOOD) - 16}", length=False)],
    "shorter_than_told": [http(GOOD, "200 OK", f"Content-Length: {len(GOOD) + 50}", length=False)],
    "reset_behind_it": [http(events(TEXT, STOP, USAGE, done=False), length=False), PAUSE, RESET],
    "informed_before": [b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + http(GOOD)],
    "no_words_in_status": [http(GOOD, "200")],
    "accepted": [http(GOOD, "202 Accepted")],
    "byte_by_byte": [http(b"", length=False), *[bytes([one]) for one in GOOD]],
    "in_drops": [http(b"", length=False), *[one for at in range(0, len(GOOD), 60) for one in (GOOD[at : at + 60], PAUSE)]],
    # how it is encoded
    "gzip": encoded(gzip.compress(GOOD), "gzip"),
    "gzip_in_capitals": encoded(gzip.compress(GOOD), "GZIP"),
    "x_gzip": encoded(gzip.compress(GOOD), "x-gzip"),
    "gzip_twice": encoded(gzip.compress(gzip.compress(GOOD)), "gzip, gzip"),
    "gzip_member_by_member": encoded(b"".join(gzip.compress(GOOD[at : at + 40]) for at in range(0, len(GOOD), 40)), "gzip"),
    "gzip_without_its_end": encoded(gzip.compress(GOOD)[:-6], "gzip"),
    "deflate": encoded(zlib.compress(GOOD), "deflate"),
    "identity": encoded(GOOD, "identity"),
    "no_encoding_of_that_name": encoded(GOOD, "UTF-8"),
    # what it is said to be
    "stream_as_json": [http(GOOD, "200 OK", "Content-Type: application/json")],
    "stream_as_html": [http(GOOD, "200 OK", "Content-Type: text/html")],
    "json_as_text": [http(WHOLE, "200 OK", "Content-Type: text/plain")],
    "json_in_one_event": [http(b"data: " + WHOLE + b"\n\n")],
    "json_behind_a_mark": [http(b"\xef\xbb\xbf" + WHOLE)],
    "stream_behind_a_mark": [http(b"\xef\xbb\xbf" + GOOD)],
    "an_array_of_chunks": [http(json.dumps([TEXT, STOP, USAGE]).encode())],
    "lines_of_json": [http("\n".join(map(json.dumps, (TEXT, STOP, USAGE))).encode())],
    # events
    "returns_only": [http(events(TEXT, STOP, USAGE, end="\r\r"))],
    "comments_and_ids": [http(events(": hi", "retry: 10", "id: 7", TEXT, ":", STOP, "data", USAGE))],
    "no_space": [http(events(f"data:{json.dumps(TEXT)}", f"data:\t{json.dumps(STOP)}", USAGE))],
    "no_done": [http(events(TEXT, STOP, USAGE, done=False))],
    "done_twice": [http(events(TEXT, STOP, USAGE, "data: [DONE]"))],
    "nonsense_behind_done": [http(GOOD + b"data: {oops\n\n<html>")],
    "an_error_behind_it": [http(events(TEXT, STOP, USAGE, 'event: error\ndata: {"message": "late"}'))],
    "two_objects_in_one_event": [http(events(f"data: {json.dumps(TEXT)} {json.dumps(STOP)}", USAGE))],
    "another_word_for_done": [http(events(TEXT, USAGE, "data: [END]", done=False))],
    "done_and_a_point": [http(events(TEXT, USAGE, "data: [Done].", done=False))],
    "an_end_beside_no_choice": [http(events(TEXT, {"choices": [], "finish_reason": "stop"}, USAGE, done=False))],
    "packed_as_data": [http(json.dumps({"code": 0, "data": BODY}).encode(), "200 OK", "Content-Type: application/json")],
    "packed_as_a_result": [http(json.dumps({"success": True, "result": BODY}).encode(), "200 OK", "Content-Type: application/json")],
    "chunks_packed": [http(events(*({"response": one} for one in (TEXT, STOP, USAGE))))],
    "nothing_before_it": [http(events(numbered(0, delta={"content": False}), TEXT, STOP, USAGE))],
    "said_aloud": [http(events(delta(audio={"id": "a", "transcript": "Hello "}), delta(audio={"data": "UklGRg=="}), delta(audio={"transcript": "there."}), STOP, USAGE))],
    # letters and numbers
    "duplicated_keys": saying(f'data: {{"choices": null, "choices": {json.dumps(TEXT["choices"])}}}', f"data: {json.dumps(STOP)}"),
    "five_thousand_digits": saying(f'data: {{"created": {"9" * 5_000}, "choices": {json.dumps(TEXT["choices"])}}}', f"data: {json.dumps(STOP)}"),
    "no_number": saying(f'data: {{"created": NaN, "choices": {json.dumps(TEXT["choices"])}}}', f"data: {json.dumps(STOP)}"),
    "strings": used(prompt_tokens="10", completion_tokens="4.0"),
    "floats": used(prompt_tokens=10.0, completion_tokens=4.0),
    "null_details": used(prompt_tokens_details=None, completion_tokens_details={"reasoning_tokens": None}),
    "a_total_below_zero": used(total_tokens=-3),
    "a_total_below_its_parts": used(total_tokens=3),
    "null_then_usage": [http(events(TEXT | {"usage": None}, STOP | {"usage": None}, USAGE))],
    "usage_then_null": [http(events(TEXT | {"usage": USED}, STOP | {"usage": None}, {"choices": [], "usage": None}))],
    "usage_that_grows": [http(events(TEXT | {"usage": {"prompt_tokens": 10, "completion_tokens": 1}}, STOP, USAGE))],
    # choices
    "one_by_another_number": [http(events(numbered(1, delta={"content": HELLO}), numbered(1, delta={}, finish_reason="stop"), USAGE))],
    "two_of_which_one_was_asked_for": [http(events(TEXT, numbered(1, delta={"content": "No."}), STOP, USAGE))],
    "the_other_one_first": [http(events({"choices": [{"index": 1, "delta": {"content": "No."}}, TEXT["choices"][0]]}, STOP, USAGE))],
    "one_without_a_list": [http(events({"choices": TEXT["choices"][0]}, STOP, USAGE))],
    "null_and_empty_deltas": [http(events(numbered(0, delta=None), numbered(0, delta=[]), TEXT, STOP, USAGE))],
    "goes_on_behind_its_end": [http(events(delta("Hello "), STOP, delta("there."), STOP, USAGE))],
    "an_end_that_is_an_object": [http(events(TEXT, numbered(0, delta={}, finish_reason={"type": "stop"}), USAGE))],
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE_REPLIES)
def test_a_whole_reply_is_taken_once_and_charged_as_told(
    server: WireProvider, use: Callable[..., None], name: str
) -> None:
    reply = answered(server, use, WHOLE_REPLIES[name])
    assert (reply.content, len(server.asked)) == (HELLO, 1)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (10, 4)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (r"a\ud83d\ude00b", "a😀b"),
        ("a\u2028\x85b", "a\u2028\x85b"),
        (r"a\u0000b", "a\x00b"),
    ],
)
def test_letters_of_all_kinds_come_through(
    server: WireProvider, use: Callable[..., None], content: str, text: str
) -> None:
    assert answered(server, use, saying(text_of(content))).content.replace("\ufffd", "\x00") == text


def test_a_letter_that_is_cut_in_two_by_the_stream_is_put_together(
    server: WireProvider, use: Callable[..., None]
) -> None:
    halves = [r'data: {"choices": [{"delta": {"content": "%s"}}]}' % one for one in (r"a\ud83d", r"\ude00b")]
    assert answered(server, use, [http(events(*halves, STOP, USAGE))]).content == "a😀b"


def test_letters_of_thoughts_and_arguments_are_put_together_too(server: WireProvider, use: Callable[..., None]) -> None:
    lines = [
        r'data: {"choices": [{"delta": {"reasoning_content": "a\ud83d"}}]}',
        r'data: {"choices": [{"delta": {"reasoning_content": "\ude00b"}}]}',
        r'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "add", "arguments": "{\"a\": \"\ud83d"}}]}}]}',
        r'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "\ude00\"}"}}]}}]}',
    ]
    reply = answered(server, use, [http(events(*lines, delta(finish="tool_calls"), USAGE))])
    assert reply.reasoning == "a😀b"
    assert reply.tool_calls[0].arguments == '{"a": "😀"}'


def test_calls_of_one_id_and_no_number_are_told_apart_by_their_names(
    server: WireProvider, use: Callable[..., None]
) -> None:
    calls = [delta(tool_calls=[{"id": "x", "function": {"name": name, "arguments": "{}"}}]) for name in ("add", "sub")]
    reply = answered(server, use, [http(events(*calls, delta(finish="tool_calls"), USAGE))])
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("add", "{}"), ("sub", "{}")]
    assert len({call.id for call in reply.tool_calls}) == 2


def test_half_a_letter_at_the_end_stays_something(server: WireProvider, use: Callable[..., None]) -> None:
    assert answered(server, use, saying(text_of(r"a\ud83d"))).content == "a?"


def test_bytes_that_are_no_text_cost_a_letter_and_not_the_reply(server: WireProvider, use: Callable[..., None]) -> None:
    reply = answered(server, use, [http(GOOD.replace(b"there", b"th\xff\xfere"))])
    assert reply.content.startswith("Hello th")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -5, "completion_tokens": -1},
        {"prompt_tokens": 10**30, "completion_tokens": 10**30},
        {"prompt_tokens": True, "completion_tokens": True},
        {"prompt_tokens": [10], "completion_tokens": {}},
        {"prompt_tokens": "NaN", "completion_tokens": "inf"},
        {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
        {"prompt_tokens": 0, "completion_tokens": 0},
        "none",
        [USED],
    ],
)
def test_a_usage_that_cannot_be_is_estimated_upwards(
    server: WireProvider, use: Callable[..., None], usage: Any
) -> None:
    reply = answered(server, use, [http(events(TEXT, STOP, {"choices": [], "usage": usage}))])
    assert reply.content == HELLO
    assert 1 <= reply.usage.input_tokens < 100
    assert 3 <= reply.usage.output_tokens < 20


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([http(b"<html>Welcome</html>", "200 OK", "Content-Type: text/html")], "malformed_reply"),
        ([http(b"upstream connect error")], "malformed_reply"),
        (encoded(GOOD, "gzip"), "malformed_reply"),
        ([http(events(TEXT, 'event: error\ndata: {"message": "overloaded", "code": 529}', done=False))], "provider_error"),
        ([http(events(TEXT, done=False), length=False), PAUSE, RESET], "provider_unreachable"),
        ([http(chunked(events(TEXT, done=False))[:-5], *CHUNKED, length=False)], "provider_unreachable"),
        ([b"BANANA\r\n\r\n"], "provider_unreachable"),
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"], "provider_unreachable"),
        ([http(events("data: " + "[" * 100_000, done=False))], "malformed_reply"),
        *[([http(b'{"error": {"message": "busy"}}', f"{status} X", "Content-Type: application/json")], None)
          for status in (408, 409, 421, 425, 429, 499, 500, 502, 503, 504, 520, 522, 524, 529, 530, 598, 999)],
    ],
)  # fmt: skip
def test_what_passes_is_told_apart_from_a_reply(
    server: WireProvider, use: Callable[..., None], script: Script, code: str | None
) -> None:
    with pytest.raises(ModelError) as caught:
        answered(server, use, script)
    verdict = classify(caught.value)
    assert verdict.kind == "transient", verdict
    assert code is None or verdict.code == code


@pytest.mark.parametrize(
    "wait",
    ["0", "-1", "NaN", "1, 2", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "0.3", "Infinity", "1e-1", "", "1s", "+1", "9" * 30],
)  # fmt: skip
def test_a_wait_in_any_words_is_no_wait_without_end(server: WireProvider, use: Callable[..., None], wait: str) -> None:
    with pytest.raises(ModelError) as caught:
        answered(server, use, [http(b'{"error": {"message": "busy"}}', "429 X", f"Retry-After: {wait}")])
    assert 0 <= (classify(caught.value).retry_after_s or 0) <= 86_400
