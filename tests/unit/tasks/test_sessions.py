"""What a session remembers of a run, and who can read it."""

import json
import random
from typing import Any

import pytest

from shared import aws
from shared.errors import DependencyDown
from shared.settings import settings
from shared.tasks import blobs, claims, conversation, sessions, settle, store
from shared.tasks.model import Status, Task
from tests.unit.tasks.test_life import new_task

pytestmark = pytest.mark.usefixtures("fake_aws")

CALL = {"id": "c1", "name": "lookup", "arguments": "{}"}
OUTPUT = [{"role": "tool", "tool_call_id": "c1", "content": "42"}]


def remembered(
    asked: list[dict[str, Any]] | None = None, calls: list[dict[str, Any]] | None = None, *, response: str = "r"
) -> sessions.Turn:
    """Settle a run and read its turn."""
    store.submit(new_task(), "hello")
    task = claims.claim("t1", 0)
    assert isinstance(task, Task)
    outcome = settle.Outcome(status=Status.COMPLETE, response=response, data={"tool_calls": calls} if calls else None)
    settle.settle(task, outcome, message="hello", asked=asked)
    (turn,) = sessions.read("ann", "default", limit=5, with_chat=True)
    return turn


def items() -> dict[str, Any]:
    """Return the turn and the task's blobs as they are stored."""
    found = aws.dynamodb().scan(TableName=settings().table_name)["Items"]
    return {item["sk"]["S"].split("#")[0 if item["sk"]["S"].startswith("TURN") else -1]: item for item in found}


def test_two_texts_are_all_there_is_to_a_plain_turn() -> None:
    turn = remembered()
    assert turn.chat is None
    assert turn.messages == [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "r"}]
    assert "chat" not in items()["TURN"]


def test_tool_calls_are_remembered_beside_the_texts() -> None:
    turn = remembered(calls=[CALL], response="")
    function = {"name": "lookup", "arguments": "{}"}
    assert (turn.user, turn.assistant) == ("hello", "")
    assert turn.messages == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
    ]


def test_data_that_only_looks_like_tool_calls_is_none_of_them() -> None:
    odd: list[Any] = [{"id": 1, "name": "x", "arguments": {}}, "text"]
    for calls in (odd, odd[1:], [{**CALL, "arguments": None}]):
        assert conversation.calls_of({"tool_calls": calls}) == []
    assert conversation.calls_of({"tool_calls": 3}) == []


def test_a_message_list_is_remembered_and_its_texts_shown() -> None:
    turn = remembered(OUTPUT)
    assert (turn.user, turn.assistant) == ("hello", "r")
    assert turn.messages == [*OUTPUT, {"role": "assistant", "content": "r"}]
    (shown,) = sessions.read("ann", "default", limit=5)
    assert (shown.user, shown.chat) == ("hello", None)


@pytest.mark.parametrize("size", [100, blobs.PLAIN_BYTES, sessions.CHAT_BYTES, settle.DATA_BYTES - 100])
def test_messages_of_any_size_come_back_whole_and_an_older_version_reads_the_texts(size: int) -> None:
    """Versions before this attribute took every key of the text as one of the turn's two sides."""
    turn = remembered(calls=[{**CALL, "arguments": "x" * size}])
    assert turn.messages[1]["tool_calls"][0]["function"]["arguments"] == "x" * size
    stored = items()
    assert ("chat" in stored) == (size >= sessions.CHAT_BYTES)
    assert json.loads(blobs.unpack(stored["TURN"])) == {"user": "hello", "assistant": "r"}
    assert stored["TURN"]["v"] == {"N": "1"}


def test_the_texts_are_left_when_the_task_is_gone() -> None:
    remembered(calls=[{**CALL, "arguments": "x" * sessions.CHAT_BYTES}])
    aws.dynamodb().delete_item(TableName=settings().table_name, Key={"pk": {"S": "TASK#t1"}, "sk": {"S": "BLOB#chat"}})
    (turn,) = sessions.read("ann", "default", limit=5, with_chat=True)
    assert [message["content"] for message in turn.messages] == ["hello", "r"]


@pytest.mark.parametrize(("answered", "inline"), [(9_000, True), (sessions.TURN_CHARACTERS, False)])
def test_the_largest_turn_fits_its_item(answered: int, inline: bool) -> None:
    """Text that takes four bytes a character and cannot be compressed much."""
    generator = random.Random(1)
    wide = "".join(chr(generator.randrange(0x10000, 0x10FFFF)) for _ in range(sessions.TURN_CHARACTERS))
    store.submit(new_task(), "hello")
    task = claims.claim("t1", 0)
    assert isinstance(task, Task)
    asked = [{"role": "user", "content": wide[:10_000]}]
    settle.settle(task, settle.Outcome(status=Status.COMPLETE, response=wide[:answered]), message=wide, asked=asked)
    item = items()["TURN"]
    contents = [content for kind in item.values() for content in kind.values()]
    size = sum(len(one if isinstance(one, bytes) else str(one).encode()) for one in contents)
    assert size < 380 * 1024
    assert ("NULL" not in item["chat"]) == inline
    (turn,) = sessions.read("ann", "default", limit=1, with_chat=True)
    assert [message["content"] for message in turn.messages] == [wide[:10_000], wide[:answered]]


def test_a_long_session_is_forgotten_in_few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, a conversation of some thousand turns would outlast its request."""
    for n in range(60):
        sessions.add("ann", "long", f"turn{n}", [{"role": "user", "content": "?"}], at=1_000.0 + n, expires=9e9)
    asked: list[str] = []
    client = aws.dynamodb()
    monkeypatch.setattr(client, "delete_item", lambda **_: pytest.fail("one by one"))
    write = client.batch_write_item
    monkeypatch.setattr(client, "batch_write_item", lambda **what: asked.append("batch") or write(**what))
    assert sessions.delete("ann", "long") == 60
    assert len(asked) == 3
    assert sessions.read("ann", "long", limit=5) == []
    assert sessions.delete("ann", "long") == 0


def test_items_are_not_deleted_while_dynamodb_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    aws.reset()
    with pytest.raises(DependencyDown):
        sessions.delete_items([{"pk": {"S": "a"}, "sk": {"S": "b"}}])
