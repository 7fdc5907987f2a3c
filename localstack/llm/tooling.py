"""Which tools the simulated model asks for, and with what arguments."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from localstack.llm.directives import Directives
from localstack.llm.request import ChatRequest, Tool
from localstack.llm.tokens import text_of


class ToolCall(NamedTuple):
    """A call that the model asks for; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


class ToolResult(NamedTuple):
    """What a tool answered since the last user message."""

    name: str
    content: str


_SPOKEN = (
    (" plus ", " + "),
    (" minus ", " - "),
    (" times ", " * "),
    (" multiplied by ", " * "),
    (" divided by ", " / "),
)
_NUMBER = r"\(*-?\d+(?:\.\d+)?\)*"
_OPERATOR = r"\s*+(?:(?:\*\*|[+*\u00d7\u00f7^%])\s*+|(?<=\s)[-/]\s++)"
_ARITHMETIC = re.compile(rf"{_NUMBER}(?:{_OPERATOR}{_NUMBER})+")
_TIME = re.compile(
    r"\bwhat(?:'s|\s+is)?\s+(?:the\s+)?(?:current\s+)?(?:time|date|day)\b|\bcurrent\s+(?:time|date)\b", re.I
)
_URL = re.compile(r"https?://[^\s<>\"'\])]+")


def _find_arithmetic(text: str) -> str | None:
    # The digits of an address are no sum.
    text = _URL.sub(" ", text)
    for spoken, sign in _SPOKEN:
        text = text.replace(spoken, sign)
    found = _ARITHMETIC.search(text)
    if found is None:
        return None
    expression = found[0].strip()
    surplus = expression.count("(") - expression.count(")")
    # A bracket of the sentence around the sum is not part of the sum.
    while surplus > 0 and expression.startswith("("):
        expression, surplus = expression[1:], surplus - 1
    while surplus < 0 and expression.endswith(")"):
        expression, surplus = expression[:-1], surplus + 1
    return expression


def _find_time(text: str) -> str | None:
    return "" if _TIME.search(text) else None


def _find_url(text: str) -> str | None:
    found = _URL.search(text)
    return found[0].rstrip(".,;:!?") if found else None


# What in a message calls for a tool, what such a tool's name contains, and its argument where the schema
# names none.
_NEEDS = (
    (_find_url, ("fetch", "page", "http", "url", "browse", "web"), "url"),
    (_find_arithmetic, ("calc", "math", "arith"), "expression"),
    (_find_time, ("time", "clock", "date"), "timezone"),
)


def results(request: ChatRequest) -> list[ToolResult]:
    """The tool results that follow the last user message, in the order of their calls."""
    names: dict[str, str] = {}
    found: list[ToolResult] = []
    for message in request.messages[request.last_user() + 1 :]:
        for call in message.get("tool_calls") or ():
            names[call["id"]] = call["function"]["name"]
        if message["role"] == "tool":
            found.append(ToolResult(names[message["tool_call_id"]], text_of(message.get("content"))))
    return found


def rounds_done(request: ChatRequest) -> int:
    """How many rounds of tool calls follow the last user message."""
    after = request.messages[request.last_user() + 1 :]
    return sum(1 for message in after if message.get("tool_calls"))


def choose(request: ChatRequest, wish: Directives, salt: str) -> list[ToolCall]:
    """The tool calls of this turn, empty when the model answers with text.

    A directive may name a tool that was not offered: models do that as well. ``salt`` makes the ids of the
    calls.
    """
    done = rounds_done(request)
    wanted: list[tuple[str, str]]
    if wish.tools and (not request.tools or request.tool_choice != "none"):
        wanted = _by_directive(request, wish, done)
    elif not request.tools or request.tool_choice == "none":
        wanted = []
    elif request.tool_choice.startswith("=") or request.tool_choice == "required":
        wanted = _forced(request, wish) if done == 0 else []
    else:
        wanted = _by_message(request, wish.text)
    return [
        ToolCall(_call_id(f"{salt}/{done}/{index}"), name, arguments) for index, (name, arguments) in enumerate(wanted)
    ]


def _call_id(seed: str) -> str:
    return f"call_{hashlib.blake2b(seed.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


def _by_directive(request: ChatRequest, wish: Directives, done: int) -> list[tuple[str, str]]:
    if done >= (len(wish.tools) if wish.rounds is None else wish.rounds):
        return []
    offered = {tool.name: tool for tool in request.tools}
    wanted: list[tuple[str, str]] = []
    for step in range(done * wish.parallel, (done + 1) * wish.parallel):
        name = wish.tools[step % len(wish.tools)]
        if wish.args:
            arguments: Mapping[str, Any] = wish.args[step % len(wish.args)]
        else:
            arguments = _arguments(offered.get(name, Tool(name, {})), *_subject(name, wish.text))
        wanted.append((name, json.dumps(arguments)))
    return wanted


def _forced(request: ChatRequest, wish: Directives) -> list[tuple[str, str]]:
    natural = _by_message(request, wish.text)
    if request.tool_choice == "required" and natural:
        return natural
    name = request.tool_choice.removeprefix("=")
    tool = next((tool for tool in request.tools if tool.name == name), request.tools[0])
    return [(tool.name, json.dumps(_arguments(tool, *_subject(tool.name, wish.text))))]


def _by_message(request: ChatRequest, text: str) -> list[tuple[str, str]]:
    asked = {result.name for result in results(request)}
    wanted: list[tuple[str, str]] = []
    for find, marks, argument in _NEEDS:
        subject = find(text)
        tool = _matching(request.tools, marks) if subject is not None else None
        if tool is not None and subject is not None and tool.name not in asked:
            wanted.append((tool.name, json.dumps(_arguments(tool, subject, argument))))
    return wanted if request.parallel_tool_calls else wanted[:1]


def _matching(tools: Sequence[Tool], marks: Sequence[str]) -> Tool | None:
    return next((tool for tool in tools if any(mark in tool.name.lower() for mark in marks)), None)


def _subject(name: str, text: str) -> tuple[str, str]:
    for find, marks, argument in _NEEDS:
        if any(mark in name.lower() for mark in marks):
            return find(text) or "", argument
    return text, "input"


def _arguments(tool: Tool, subject: str, argument: str) -> dict[str, Any]:
    """Arguments that fit the tool's schema: the subject as first string, samples for the rest."""
    properties = tool.parameters.get("properties")
    required = tool.parameters.get("required")
    if not isinstance(properties, dict) or not properties:
        return {argument: subject} if subject else {}
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    if not names and subject:
        names = [argument if argument in properties else next(iter(properties))]
    arguments: dict[str, Any] = {}
    for name in names:
        value = _sample(properties.get(name), subject)
        arguments[name] = value
        # Only the first string is the subject; an id or a unit beside it would make nonsense of it.
        subject = "sample" if value == subject else subject
    return arguments


def _sample(schema: object, subject: str) -> object:
    if not isinstance(schema, dict):
        return subject
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    samples: dict[str, object] = {
        "integer": 1,
        "number": 1.0,
        "boolean": True,
        "array": [],
        "object": {},
        "null": None,
    }
    kind = schema.get("type")
    return samples.get(kind, subject) if isinstance(kind, str) else subject
