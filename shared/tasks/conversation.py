"""Chat messages that a session remembers: cut to size, and put so that a model provider takes them.

A provider refuses a whole request for one tool message without its call right before it, or one call without its
answer. So messages are kept and dropped together with what they answer, and calls that nobody answered are left out.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from shared.tasks.model import dumps

Message = dict[str, Any]
"""A message as chat completions take it."""

TURN_CHARACTERS = 32_000
"""Longest text of one message that a session remembers; the rest is cut."""
ASKED_BYTES = 64 * 1024
"""Most JSON of what one run was asked that a session remembers; see ``bounded``."""
SHORTEST_CHARACTERS = 500
"""Texts are not cut shorter than this to make room; then the oldest messages go."""


def bounded(messages: Sequence[Message]) -> list[Message]:
    """Cut what a run was asked to ``ASKED_BYTES``: first its longest texts, then its oldest exchanges.

    A call's arguments are never cut: what is left would be no JSON. Of the last exchange the question always stays, and
    the oldest of the calls that followed it go.
    """
    room = TURN_CHARACTERS
    kept = [_cut(message, room) for message in messages]
    while sum(map(_size, kept)) > ASKED_BYTES and room > SHORTEST_CHARACTERS:
        room //= 2
        kept = [_cut(message, room) for message in kept]
    exchanges = list(_exchanges(kept))
    size = sum(map(_size, kept))
    while size > ASKED_BYTES and len(exchanges) > 1:
        size -= sum(map(_size, exchanges.pop(0)))
    groups = [group for exchange in exchanges for group in _groups(exchange)]
    first = 1 if groups and groups[0][0].get("role") not in ("assistant", "tool") else 0
    while size > ASKED_BYTES and len(groups) > first:
        size -= sum(map(_size, groups.pop(first)))
    return [message for group in groups for message in group]


def reply(response: str, data: dict[str, Any] | None, *, whole: bool = False) -> Message:
    """Return what a run answered, with the calls that it left to the client; its text cut, if not asked ``whole``."""
    text = response if whole else response[:TURN_CHARACTERS]
    calls = calls_of(data)
    held = (data or {}).get("extra")
    extra = held if isinstance(held, dict) else {}
    if not calls:
        return {"role": "assistant", "content": text, **extra}
    return {"role": "assistant", "content": text or None, **extra, "tool_calls": calls}


def calls_of(data: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the tool calls of a result's data as a message holds them; an agent may mean something else by the key."""
    found = (data or {}).get("tool_calls")
    calls = []
    for call in found if isinstance(found, list) else ():
        parts = [call.get(name) for name in ("id", "name", "arguments")] if isinstance(call, dict) else []
        if not parts or not all(isinstance(part, str) for part in parts):
            return []
        extra = call.get("extra")
        function = {"name": parts[1], "arguments": parts[2]}
        held = extra if isinstance(extra, dict) else {}  # a provider's signature …: it goes back as it came
        calls.append({"id": parts[0], "type": "function", "function": function, **held})
    return calls


def fitting(remembered: Sequence[Message], asked: Sequence[Message]) -> list[Message]:
    """Return what of a session's messages a provider takes before those that the client asks now.

    Where these answer tool calls, the conversation goes on from the calls: what came after them is another branch.
    """
    answers = _leading_answers(asked)
    groups = list(_groups(remembered))
    if answers:
        for n in range(len(groups) - 1, -1, -1):
            if answers & _call_ids(groups[n][0]):
                groups = groups[: n + 1]
                break
    fit: list[Message] = []
    for n, group in enumerate(groups):
        fit += _answered(group, answers if n == len(groups) - 1 else frozenset())
    return fit


def standing(kept: Sequence[Message | None]) -> list[Message]:
    """Return a turn's messages without what was taken out of it."""
    left = []
    for message in kept:
        if message is None:
            continue
        calls = message.get("tool_calls")
        if calls and None in calls:
            message = {name: value for name, value in message.items() if name != "tool_calls"}
            if standing_calls := [call for call in calls if call is not None]:
                message["tool_calls"] = standing_calls
        left.append(message)
    return left


def opens(message: Message) -> bool:
    """Tell whether a turn that begins with this message stands for itself; else it answers an earlier one's calls."""
    return message.get("role") != "tool"


def within(messages: Sequence[Message], room_bytes: int, *, open_loop: bool) -> list[Message]:
    """Return the newest messages whose JSON fits in ``room_bytes``, by whole exchanges.

    An exchange is what a user asked, with all that followed up to the next time they asked: cut within, a model would
    see answers without their question. With ``open_loop`` the last one is still going on, its calls being answered now:
    it is kept whatever its size.
    """
    exchanges = list(_exchanges(messages))
    kept: list[list[Message]] = []
    if open_loop and exchanges:
        kept.append(exchanges.pop())
        room_bytes -= sum(map(_size, kept[0]))
    while exchanges and (size := sum(map(_size, exchanges[-1]))) <= room_bytes:
        room_bytes -= size
        kept.append(exchanges.pop())
    return [message for exchange in reversed(kept) for message in exchange]


def _exchanges(messages: Sequence[Message]) -> Iterator[list[Message]]:
    exchange: list[Message] = []
    for message in messages:
        asks = message.get("role") not in ("assistant", "tool")
        if asks and exchange and exchange[-1].get("role") in ("assistant", "tool"):
            yield exchange
            exchange = []
        exchange.append(message)
    if exchange:
        yield exchange


def _answered(group: list[Message], answers: frozenset[str]) -> list[Message]:
    """Return a message with the answers to its calls, without calls that neither these nor ``answers`` answer."""
    first, *tools = group
    if first.get("role") == "tool":
        return []
    calls = first.get("tool_calls")
    if not calls:
        return [first]
    wanted = _call_ids(first) - answers
    given: dict[str, Message] = {}
    for tool in tools:
        if tool.get("tool_call_id") in wanted:
            given.setdefault(tool["tool_call_id"], tool)
    kept = [call for call in calls if call["id"] in given or call["id"] in answers]
    if kept:
        return [{**first, "tool_calls": kept}, *given.values()]
    if first.get("content"):
        return [{name: value for name, value in first.items() if name != "tool_calls"}]
    return []


def _groups(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Put tool messages to the message that they follow."""
    group: list[Message] = []
    for message in messages:
        if message.get("role") != "tool" and group:
            yield group
            group = []
        group.append(message)
    if group:
        yield group


def _leading_answers(messages: Sequence[Message]) -> frozenset[str]:
    ids = set()
    for message in messages:
        if message.get("role") != "tool":
            break
        ids.add(str(message.get("tool_call_id")))
    return frozenset(ids)


def _call_ids(message: Message) -> set[str]:
    return {call["id"] for call in message.get("tool_calls") or ()}


def _cut(message: Message, characters: int) -> Message:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [_cut_part(part, characters) for part in content]}
    if not isinstance(content, str) or len(content) <= characters:
        return message
    return {**message, "content": content[:characters]}


def _cut_part(part: Any, characters: int) -> Any:
    """Cut a part of a message: a text to size; of a picture or a file, which cannot be cut, only the kind is kept."""
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return {**part, "text": part["text"][:characters]}
    if len(dumps(part)) <= characters:
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    return {"type": "text", "text": f"[{kind if isinstance(kind, str) else 'a part'} left out]"}


def _size(message: Message) -> int:
    return len(dumps(message).encode()) + 1


def last_user_text(messages: Sequence[Message]) -> str:
    """Return the text of the last message that is the user's; empty: there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            if isinstance(content, list):
                return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""
