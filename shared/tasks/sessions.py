"""Conversation memory: the settled turns of a user's session, one item a turn.

A turn is put in the transaction that completes its run, so a session holds exactly the runs that completed, once each.
Runs see the turns settled before they started.

A turn holds what its user wrote and what came back, as texts for people. Where messages say more than these (a message
list, tool calls), they stand beside the texts, in an attribute that older code leaves aside: ``chat``, or, when it is
large, the task's blob of that name.
"""

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared import aws
from shared.clock import iso
from shared.errors import NotFound, SluiceError, TooLarge
from shared.settings import settings
from shared.tasks import blobs, conversation, partitions, store, table
from shared.tasks.conversation import TURN_CHARACTERS, Message
from shared.tasks.items import Attributes, attribute, table_key
from shared.tasks.model import Outcome, Task, dumps
from shared.tasks.ranges import under

LOOP_TURNS = 500
"""Most turns of a tool loop that goes on over several runs, a client doing the tools' work."""
LOOP_PAGE = 50
"""How many more turns are read at once in search of the one that opened such a loop."""
RESPONSE_PREFIX = "resp_"
"""What stands before the id of a task that is named as a response."""
CHAT_BYTES = 80 * 1024
"""Largest JSON of a turn's messages that stays in its item, whose texts may take 256 KB of DynamoDB's 400."""

type Kept = list[Message | None]
"""Messages in their places; None stands where one was taken out (`turn_items`), in a message's calls too."""


class ConversationTooLong(SluiceError):
    """A conversation cannot be shown to a model whole, and a part of it would mean something else."""

    code = "conversation_too_long"


class TurnGone(ConversationTooLong):
    """A turn that a chain goes on from is no longer kept."""

    code = "previous_response_not_found"


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange."""

    task_id: str
    at: str
    user: str
    assistant: str
    chat: Kept | None = None
    """Its messages, where they say more than the two texts; read on demand."""
    after: str | None = None
    """The task whose answer it goes on from, where its client said so."""

    @property
    def kept(self) -> Kept:
        """Return its messages in their places."""
        if self.chat is not None:
            return self.chat
        return [{"role": "user", "content": self.user}, {"role": "assistant", "content": self.assistant}]

    @property
    def messages(self) -> list[Message]:
        """Return it as chat messages."""
        return conversation.standing(self.kept)


def partition(user: str, session_id: str) -> str:
    """Return what a session's turns stand under."""
    return f"SESSION#{user}#{session_id}"


def put_ops(
    task: Task, outcome: Outcome, *, message: str, asked: Sequence[Message] | None, at: float, expires: float
) -> list[dict[str, Any]]:
    """Make the Puts that append a turn: ``message`` is its text for people, ``asked`` its message list, if any."""
    response = outcome.response or ""
    text = dumps({"user": message[:TURN_CHARACTERS], "assistant": response[:TURN_CHARACTERS]})
    item: Attributes = {
        "pk": {"S": partition(task.user, task.session_id)},
        "sk": {"S": f"TURN#{iso(at)}#{task.task_id}"},
        "ttl": attribute(int(expires)),
        **blobs.pack(text, f"tasks/{task.task_id}/turn"),
    }
    before = str(task.params.get("previous_response_id") or "").removeprefix(RESPONSE_PREFIX)
    if before:
        item["after"] = attribute(before)
    whole = task.params.get("dialect") == "responses"  # its clients send nothing again: nothing is cut
    answer = conversation.reply(response, outcome.data, whole=whole)
    long = whole and max(len(message), len(response)) > TURN_CHARACTERS
    if asked is None and "tool_calls" not in answer and not long:
        return [table.put_op(item)]
    said = asked if asked is not None else [{"role": "user", "content": message}]
    chat = dumps([*(said if whole else conversation.bounded(said)), answer])
    size = len(chat.encode())
    if size > CHAT_BYTES:
        item["chat"] = {"NULL": True}
        return [table.put_op(item), store.blob_op(task.task_id, "chat", chat, expires=expires)]
    item["chat"] = attribute(chat if size <= blobs.PLAIN_BYTES else zlib.compress(chat.encode(), 6))
    return [table.put_op(item)]


def read(user: str, session_id: str, *, limit: int, before: float | None = None, with_chat: bool = False) -> list[Turn]:
    """Return the newest turns, oldest of them first; ``before`` leaves out those settled at or after that time.

    Their messages come only ``with_chat``: large ones are read one by one.
    """
    limit = min(limit, settings().session_turns)
    if limit < 1:
        return []
    return _page(partition(user, session_id), limit, before=before, with_chat=with_chat)


def _page(
    pk: str, limit: int, *, before: float | None = None, older_than: Turn | None = None, with_chat: bool
) -> list[Turn]:
    high = f"TURN#{iso(before)}" if before is not None else "TURN#~"
    start = table_key(pk, f"TURN#{older_than.at}#{older_than.task_id}") if older_than is not None else None
    asked = under(pk, between=("TURN#", high), after=start, ConsistentRead=True, Limit=limit)
    rows = table.query_page(**asked, ScanIndexForward=False)["Items"]
    return [of_row(row, with_chat=with_chat) for row in reversed(rows)]


def of_row(row: Attributes, *, with_chat: bool) -> Turn:
    """Return the turn of an item."""
    _, at, task_id = row["sk"]["S"].split("#", 2)
    texts = json.loads(blobs.unpack(row))
    chat = _chat(row, task_id) if with_chat else None
    return Turn(task_id, at, texts["user"], texts["assistant"], chat, row["after"]["S"] if "after" in row else None)


def page_back(user: str, session_id: str, *, before: float, older_than: Turn | None) -> list[Turn]:
    """Return the ``LOOP_PAGE`` turns before a turn, oldest first, with their messages; without one, the newest."""
    return _page(partition(user, session_id), LOOP_PAGE, before=before, older_than=older_than, with_chat=True)


def read_all(user: str, session_id: str, *, most: int, before: float) -> list[Turn]:
    """Return a session's turns with their messages, oldest first, the newest ``most`` at least."""
    turns = _page(partition(user, session_id), LOOP_PAGE, before=before, with_chat=True)
    full = len(turns) == LOOP_PAGE
    while full and len(turns) < most:
        older = _page(partition(user, session_id), LOOP_PAGE, before=before, older_than=turns[0], with_chat=True)
        full = len(older) == LOOP_PAGE
        turns = [*older, *turns]
    return turns


def read_whole(user: str, session_id: str, *, limit: int, before: float | None = None) -> list[Turn]:
    """Return the newest turns with their messages, and as many more as it takes to begin with a question.

    A turn that only answers the calls of the one before makes no sense without it, so ``limit`` counts to the turn that
    opened such a loop.

    Raises:
        ConversationTooLong: the loop has more than ``LOOP_TURNS`` turns.
    """
    turns = read(user, session_id, limit=limit, before=before, with_chat=True)
    while turns and not conversation.opens(turns[0].messages[0]):
        if len(turns) >= LOOP_TURNS:
            why = f"a tool loop of more than {LOOP_TURNS} turns: begin a new conversation with what matters of it"
            raise ConversationTooLong(why)
        older = _page(partition(user, session_id), LOOP_PAGE, before=before, older_than=turns[0], with_chat=True)
        if not older:
            break  # the opening turn was kept no longer
        turns = [*older, *turns]
    # Pages come whole: of what stands before the opening turn only what is within the limit is wanted.
    start = max(0, len(turns) - max(limit, 1))
    while start and not conversation.opens(turns[start].messages[0]):
        start -= 1
    return turns[start:]


def _chat(row: Attributes, task_id: str) -> Kept | None:
    kind, content = next(iter(row.get("chat", {}).items()), ("", None))
    try:
        if kind == "NULL":
            content = store.read_blob(task_id, "chat")
    except NotFound:  # its task was erased; the texts are left
        return None
    messages: Kept | None = None
    if content is not None:
        messages = json.loads(zlib.decompress(content) if kind == "B" else content)
    return messages


def add(user: str, session_id: str, name: str, messages: Sequence[Message], *, at: float, expires: float) -> None:
    """Append messages to a session that no run has made, as a turn called ``name``.

    Raises:
        TooLarge: they fit no item.
    """
    chat = dumps(list(messages)).encode()
    packed = zlib.compress(chat, 6)
    if len(packed) > blobs.ITEM_BYTES:
        raise TooLarge(f"the messages have {len(chat)} bytes of JSON, which is too much for one turn")
    item: Attributes = {
        "pk": {"S": partition(user, session_id)},
        "sk": {"S": f"TURN#{iso(at)}#{name}"},
        "ttl": attribute(int(expires)),
        "chat": attribute(packed),
        **blobs.pack(dumps({"user": "", "assistant": ""}), f"sessions/{name}"),
    }
    table.put(table.put_op(item))


def delete(user: str, session_id: str) -> int:
    """Forget a session; returns how many turns it held."""
    return partitions.delete(partition(user, session_id))


def delete_turn(user: str, session_id: str, *, at: str, name: str) -> None:
    """Forget one turn, which ended ``at`` (as `clock.iso` writes it); harmless if there is none."""
    delete_items([turn_key(user, session_id, at=at, name=name)])


def turn_key(user: str, session_id: str, *, at: str, name: str) -> Attributes:
    """Return the key of a turn's item."""
    return table_key(partition(user, session_id), f"TURN#{at}#{name}")


def delete_items(keys: Iterable[dict[str, Any]]) -> None:
    """Delete items one by one; a few dozen at most, and each is safe to repeat."""
    with table.calling():
        for key in keys:
            aws.dynamodb().delete_item(TableName=settings().table_name, Key=key)
