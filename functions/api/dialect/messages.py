"""Between the items of the Responses dialect and the chat messages and tools that agents pass to a model."""

import re
from collections.abc import Callable
from typing import Any

from functions.api.contract.problem import Problem, invalid
from functions.api.dialect import opaque, thoughts
from functions.api.dialect.content import Part, chat_content, text_of, unsupported
from functions.api.dialect.thoughts import Thoughts

type Message = dict[str, Any]

_ROLES = ("user", "assistant", "system", "developer")
"""As they are kept; a provider gets instructions in the role that it knows (the worker's profile of it)."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHOICES = frozenset({"auto", "none", "required"})
NO_OUTPUT = "No tool output found for function call {}."
NO_CALL = "No tool call found for function call output with call_id {}."


def chat_messages(
    items: list[dict[str, Any]],
    *,
    open_calls: frozenset[str] = frozenset(),
    resolve: Callable[[str, str], list[dict[str, Any]]] | None = None,
    recall: Callable[[str], Thoughts | None] | None = None,
    answered: Callable[[], frozenset[str]] = frozenset,
    param: str = "input",
    may_wait: bool = False,
) -> list[Message]:
    """Turn input items into chat messages.

    ``open_calls`` are the calls that the response before left to the client: what answers them comes first, as a
    provider wants an answer right behind its call. ``resolve`` returns the items that a reference (id, place) means,
    ``recall`` what the model of a run (by its id) thought, which goes back to the provider with what it said.
    ``answered`` returns the calls that the conversation so far holds with their answers: one that is sent once more, as
    Semantic Kernel does with all of a loop, is left out. It is asked only then. Where calls ``may_wait``, their outputs
    may come another time, as those of the Agents SDK that a person has to allow.

    Raises:
        Problem: an item is none that agents can read, or a call and its answer do not meet; it is named.
    """
    if not items:
        raise invalid(f"{param} must not be empty", param)
    conversation = _Conversation(open_calls, answered, param, may_wait=may_wait)
    wanted = thoughts.read_again(items) if recall is not None else frozenset()
    for n, item in enumerate(items):
        conversation.recall = recall if n in wanted else None
        place = f"{param}.{n}"
        kind = item.get("type") or ("message" if "role" in item else "item_reference")
        if kind == "item_reference" and resolve is not None:
            for found in resolve(text_of(item, "id", place), f"{place}.id"):
                conversation.take(found, found["type"], place)
        else:
            conversation.take(item, kind, place)
    return conversation.whole()


class _Conversation:
    def __init__(
        self, open_calls: frozenset[str], answered: Callable[[], frozenset[str]], param: str, *, may_wait: bool
    ) -> None:
        self.param = param
        self.may_wait = may_wait
        self.answered = answered
        self.repeated: frozenset[str] | None = None
        """What was answered before, once that is known."""
        self.messages: list[Message] = []
        self.answers: list[Message] = []
        self.before = open_calls
        self.waiting: dict[str, str] = {}
        """Calls of this input without an answer so far, and where they stand."""
        self.seen: set[str] = set()
        self.recall: Callable[[str], Thoughts | None] | None = None
        self.thought: Thoughts | None = None
        """Of what the model says next."""

    def take(self, item: dict[str, Any], kind: Any, place: str) -> None:
        if kind == "message":
            self.messages.append(_message(item, place))
            self._with_thoughts(self.messages[-1])
        elif kind == "function_call":
            self._call(item, place)
        elif kind == "function_call_output":
            self._output(item, place)
        elif kind == "compaction":
            text = opaque.unseal(text_of(item, "encrypted_content", place), "compaction", f"{place}.encrypted_content")
            self.messages.append({"role": "system", "content": f"Summary of the conversation so far:\n{text}"})
        elif kind == "reasoning":  # what is not ours, or is gone, is left out
            task_id = thoughts.task_id_of(item)
            self.thought = self.recall(task_id) if task_id is not None and self.recall is not None else None
        else:
            raise unsupported(f"input items of type {str(kind)[:40]!r}", f"{place}.type")

    def _call(self, item: dict[str, Any], place: str) -> None:
        call = _call(item, place)
        if call["id"] in self.seen:
            raise invalid(f"the call {call['id'][:80]!r} stands twice", f"{place}.call_id")
        self.seen.add(call["id"])
        self.waiting[call["id"]] = place
        last = self.messages[-1] if self.messages else {}
        if last.get("role") == "assistant":  # one turn of the model may speak, and call several
            last.setdefault("tool_calls", []).append(call)
        else:
            self.messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        self._with_thoughts(self.messages[-1])

    def _with_thoughts(self, message: Message) -> None:
        """Put what the model thought with the message that it then wrote."""
        if message["role"] != "assistant":
            self.thought = None
        if self.thought is None:
            return
        message.update(self.thought.message)
        for call in message.get("tool_calls", ()):
            call.update(
                {name: held for name, held in self.thought.calls.get(call["id"], {}).items() if name not in call}
            )

    def _output(self, item: dict[str, Any], place: str) -> None:
        self.thought = None
        call_id = text_of(item, "call_id", place)
        content = chat_content(item.get("output"), f"{place}.output")
        message = {"role": "tool", "tool_call_id": call_id, "content": content}
        if call_id in self.waiting:
            del self.waiting[call_id]
            self.messages.append(message)
        elif call_id in self.before:
            self.before -= {call_id}
            self.answers.append(message)
        elif not self._is_repeated(call_id):
            raise Problem(400, "invalid_request", NO_CALL.format(call_id[:80]), f"{place}.call_id")

    def _is_repeated(self, call_id: str) -> bool:
        if self.repeated is None:
            self.repeated = self.answered()
        return call_id in self.repeated

    def whole(self) -> list[Message]:
        for call_id, place in () if self.may_wait else self.waiting.items():
            raise Problem(400, "invalid_request", NO_OUTPUT.format(call_id[:80]), f"{place}.call_id")
        if self.answers and self.before and not self.may_wait:  # the provider wants all of them, or none
            raise Problem(400, "invalid_request", NO_OUTPUT.format(min(self.before)[:80]), self.param)
        if not self.messages and not self.answers:
            raise invalid(f"{self.param} must hold more than reasoning, and more than was answered before", self.param)
        return [*self.answers, *_behind_their_calls(self.messages)]


def _behind_their_calls(messages: list[Message]) -> list[Message]:
    """Put each answer right behind the message with its call, whatever was sent between the two."""
    ordered: list[Message] = []
    home: dict[str, list[Message]] = {}
    groups: list[list[Message]] = []
    for message in messages:
        if message["role"] == "tool":
            home[message["tool_call_id"]].append(message)
            continue
        group = [message]
        groups.append(group)
        for call in message.get("tool_calls", ()):
            home[call["id"]] = group
    for group in groups:
        ordered += group
    return ordered


def _message(item: dict[str, Any], place: str) -> Message:
    role = item.get("role")
    if role not in _ROLES:
        raise invalid(f"a message's role must be one of {', '.join(_ROLES)}", f"{place}.role")
    return {"role": role, "content": chat_content(item.get("content"), f"{place}.content")}


def _call(item: dict[str, Any], place: str) -> Part:
    function = {"name": text_of(item, "name", place), "arguments": text_of(item, "arguments", place)}
    return {"id": text_of(item, "call_id", place), "type": "function", "function": function}


def chat_tools(tools: list[dict[str, Any]], *, nested: bool) -> list[dict[str, Any]]:
    """Return tool definitions as a chat request has them, ``nested``: with the function in an object of its own.

    Raises:
        Problem: a tool is no function, or is not whole.
    """
    made = []
    for n, tool in enumerate(tools):
        place = f"tools.{n}"
        if tool.get("type") != "function":
            raise unsupported(f"tools of type {str(tool.get('type'))[:40]!r}", f"{place}.type")
        function, place = (tool.get("function"), f"{place}.function") if nested else (tool, place)
        if not isinstance(function, dict):
            raise invalid("must be an object", place)
        made.append({"type": "function", "function": _function(function, place)})
    return made


def _function(tool: dict[str, Any], place: str) -> dict[str, Any]:
    """Return a function's definition, of what a chat request knows."""
    name = text_of(tool, "name", place)
    if not _NAME.fullmatch(name):
        raise invalid("must be 1 to 64 letters, digits, _ or -", f"{place}.name")
    function: dict[str, Any] = {"name": name}
    for field, kind in (("description", str), ("parameters", dict), ("strict", bool)):
        value = tool.get(field)
        if value is not None:
            if not isinstance(value, kind):
                raise invalid("has the wrong type", f"{place}.{field}")
            function[field] = value
    return function


def chat_tool_choice(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    """Turn a tool choice into a chat request's.

    Raises:
        Problem: it is none of those that exist.
    """
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise invalid(f"must be one of {', '.join(sorted(_CHOICES))} or a function", "tool_choice")
        return choice
    if choice.get("type") == "allowed_tools":
        return _allowed(choice)
    if choice.get("type") != "function":
        raise unsupported(f"tool choices of type {str(choice.get('type'))[:40]!r}", "tool_choice.type")
    return {"type": "function", "function": {"name": text_of(choice, "name", "tool_choice")}}


def _allowed(choice: dict[str, Any]) -> dict[str, Any]:
    mode, tools = choice.get("mode", "auto"), choice.get("tools")
    if mode not in _CHOICES or not isinstance(tools, list):
        raise invalid("must have a mode and a list of tools", "tool_choice")
    named = []
    for n, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise unsupported("tools other than functions", f"tool_choice.tools.{n}")
        named.append({"type": "function", "function": {"name": text_of(tool, "name", f"tool_choice.tools.{n}")}})
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}}


def response_tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn a chat request's tools back into what the client sent; what it left out is null."""
    empty: dict[str, Any] = {"description": None, "parameters": None, "strict": None}
    return [{"type": "function", **empty, **tool["function"]} for tool in tools]


def response_tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any]:
    """Turn a chat request's tool choice back into what the client sent."""
    if not isinstance(choice, dict):
        return choice or "auto"
    if choice["type"] == "allowed_tools":
        allowed = choice["allowed_tools"]
        tools = [{"type": "function", "name": tool["function"]["name"]} for tool in allowed["tools"]]
        return {"type": "allowed_tools", "mode": allowed["mode"], "tools": tools}
    return {"type": "function", "name": choice["function"]["name"]}
