"""Messages and tools that a provider refuses for their shape: the call is made again in the shape that its words ask for.

What words teach is known from then on; words that sound alike teach nothing.
"""

# ruff: noqa: E501 - a refusal a line

import json
from collections.abc import Callable
from typing import Any

import pytest

from functions.worker.model import message_shapes
from localstack.llm.habits import wanted
from shared.retry import ModelError, classify
from sluice import ModelReply
from tests.unit.worker.raw_provider import Answer, RawProvider, delta, refused, sse

from .test_model_client import ask, run, use
from .test_provider_shapes import provider, server

__all__ = ["provider", "server", "use"]

OK = sse(delta("Hello"), delta(finish="stop"), {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4}})
LONG = "call_" + "a" * 24
PROPERTIES = {"a": {"type": "string", "title": "A", "default": "x"}, "title": {"type": "string"}}
SCHEMA = {"type": "object", "properties": PROPERTIES, "additionalProperties": False, "$schema": "http://x/draft-07#"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def assistant(content: Any = None, *ids: str, **more: Any) -> dict[str, Any]:
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {}), **more}


def tool(call_id: str, content: str = "x") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


LOOP = [user("hi"), assistant(None, LONG), tool(LONG)]
NEIGHBOURS = [user("a"), user("b"), assistant("c"), assistant("d"), user("e")]
EMPTY = [user("hi"), assistant(""), user("go on"), assistant("", "a"), tool("a", "")]
PARTS = [
    {"role": "system", "content": [{"type": "text", "text": "S"}]},
    user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
]


def said(message: str, status: int = 400, **more: Any) -> Answer:
    return refused(status, {"error": {"message": message, "type": "invalid_request_error", **more}})


def again(provider: RawProvider, message: str, status: int = 400, **more: Any) -> dict[str, Any]:
    """Refuse a call once; returns the body of the second request, which the next call has from the start."""
    provider.answers = [said(message, status), OK]

    async def twice() -> list[ModelReply]:
        return [await ask("", **more) for _ in range(2)]

    assert [one.content for one in run(twice)] == ["Hello", "Hello"]
    _, second, third = provider.asked
    assert second == third
    return second


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("deepseek-reasoner does not support successive user or assistant messages (messages[0] and messages[1])", 400),
        ("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...", 400),
        ("Conversation roles must alternate user/assistant/user/assistant/... at row 1", 500),
        ('Error rendering prompt with jinja template: "Conversation roles must alternate user/assistant/..."', 400),
        ("After the (optional) system message(s), user or tool message(s) should alternate with assistant ones.", 400),
        (
            'messages: roles must alternate between "user" and "assistant", but found multiple "user" roles in a row',
            400,
        ),
    ],
)
def test_neighbours_of_one_role_become_one_message(provider: RawProvider, message: str, status: int) -> None:
    body = again(provider, message, status, messages=NEIGHBOURS)
    assert [(one["role"], one["content"]) for one in body["messages"]] == [
        ("user", "a\n\nb"),
        ("assistant", "c\n\nd"),
        ("user", "e"),
    ]


def test_neighbours_keep_their_parts_and_calls() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    made = message_shapes.shaped(
        [user("a"), user([image]), assistant("b", "x"), assistant(None, "y")], frozenset({message_shapes.MERGED})
    )
    assert made[0]["content"] == [{"type": "text", "text": "a"}, image]
    assert (made[1]["content"], [call["id"] for call in made[1]["tool_calls"]]) == ("b", ["x", "y"])


def test_a_user_that_may_not_follow_a_tool_is_answered_first(provider: RawProvider) -> None:
    body = again(provider, "Unexpected role 'user' after role 'tool'", messages=[*LOOP, user("and?")])
    assert [one["role"] for one in body["messages"]] == ["user", "assistant", "tool", "assistant", "user"]


@pytest.mark.parametrize(
    "message",
    [
        "Tool call id was call_aaa but must be a-z, A-Z, 0-9, with a length of 9.",
        "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40.",
        "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
        "Value 'x' at 'messages.2.member.toolUse.toolUseId' failed: Member must satisfy pattern: [a-zA-Z0-9_-]+",
    ],
)
def test_ids_of_calls_are_short_and_still_belong_together(provider: RawProvider, message: str) -> None:
    messages = [*LOOP[:1], assistant(None, LONG, "abcDEF123"), tool(LONG), tool("abcDEF123")]
    made = again(provider, message, messages=messages, tools=TOOLS)["messages"]
    ids = [call["id"] for call in made[1]["tool_calls"]]
    assert ids == [made[2]["tool_call_id"], made[3]["tool_call_id"]]
    assert ids[1] == "abcDEF123", "what is right already stays"
    assert len(ids[0]) == 9
    assert ids[0].isalnum()


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("<400> InternalError.Algo.InvalidParameter: The content field is a required field.", 400),
        ("[{'type': 'string_type', 'loc': ('body', 'messages', 1, 'content'), 'msg': 'Input should be a valid string'}]", 400),
        ("Failed to deserialize the JSON body: messages[1].content: invalid type: null, expected a string", 422),
        ("'messages.1' : the following must be satisfied[('messages.1.content' : value must be a string)]", 400),
        ("Invalid value for 'content': expected a string, got null.", 400),
    ],
)  # fmt: skip
def test_null_becomes_an_empty_text(provider: RawProvider, message: str, status: int) -> None:
    body = again(provider, message, status, messages=LOOP, tools=TOOLS)
    assert [one["content"] for one in body["messages"]] == ["hi", "", "x"]


@pytest.mark.parametrize(
    "message",
    [
        "The text field in the ContentBlock object at messages.1.content.0 is blank. Add text to the text field.",
        "messages: text content blocks must be non-empty",
        "messages.1: all messages must have non-empty content except for the optional final assistant message",
        "Invalid request: message at position 1 with role 'assistant' must not be empty",
        "Assistant message must have either content or tool_calls, but not none.",
        "Unable to submit request because it must include at least one parts field, which describes the prompt input.",
        "invalid params, chat content is empty (2013)",
        "messages[1].content \u4e0d\u80fd\u4e3a\u7a7a",
    ],
)
def test_messages_that_say_nothing_say_so(provider: RawProvider, message: str) -> None:
    body = again(provider, message, messages=EMPTY, tools=TOOLS)
    assert [one["content"] for one in body["messages"]] == ["hi", "(empty)", "go on", None, "(empty)"]


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("Failed to deserialize the JSON body: messages[0]: invalid type: sequence, expected a string", 422),
        ("'messages.0.content' must be a string", 400),
        ("Input should be a valid string (messages, 0, content)", 400),
        ("[{'type': 'string_type', 'loc': ('body', 'messages', 0, 'content'), 'msg': 'Input should be a valid string'}]", 500),
    ],
)  # fmt: skip
def test_parts_that_are_texts_become_one_text(provider: RawProvider, message: str, status: int) -> None:
    body = again(provider, message, status, messages=PARTS)
    assert [one["content"] for one in body["messages"]] == ["S", "a\nb"]


@pytest.mark.parametrize(
    "message",
    [
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 3",
        "Missing `reasoning_content` field in the assistant message at message index 3.",
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
    ],
)
def test_thoughts_that_are_missed_are_put_in_and_no_others_left_out(provider: RawProvider, message: str) -> None:
    mixed = [user("hi"), assistant(None, "a", reasoning_content="hm"), tool("a"), assistant(None, "b"), tool("b")]
    made = again(provider, message, messages=mixed, tools=TOOLS)["messages"]
    assert [one["reasoning_content"] for one in (made[1], made[3])] == ["hm", " "]


def test_calls_that_nobody_signed_say_so(provider: RawProvider) -> None:
    words = "Function call is missing a thought_signature in functionCall parts."
    signed = assistant(None, "b")
    signed["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "real"}}
    body = again(provider, words, messages=[*LOOP, signed, tool("b")], tools=TOOLS)
    shown = [one["tool_calls"][0]["extra_content"]["google"]["thought_signature"] for one in body["messages"][1::2]]
    assert shown == ["skip_thought_signature_validator", "real"]


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters': Cannot find field.", "additionalProperties"),
        ("Unknown name \"$schema\" at 'tools[0].function_declarations[0].parameters': Cannot find field.", "$schema"),
        ("Unsupported JSON schema fields: {'title'}", "title"),
        ("In context=('properties', 'a'), 'default' is not permitted.", "default"),
    ],
)  # fmt: skip
def test_keywords_that_a_tool_can_do_without_are_left_out(provider: RawProvider, message: str, name: str) -> None:
    schema = again(provider, message, messages=[user("hi")], tools=TOOLS)["tools"][0]["function"]["parameters"]
    assert schema == message_shapes._schema(SCHEMA, frozenset({name}))
    assert schema != SCHEMA
    assert "title" in schema["properties"], "a property of that name is none"


def test_a_keyword_of_the_answers_own_schema_stays(provider: RawProvider) -> None:
    words = "Invalid schema for response_format 'x': 'additionalProperties' is not permitted."
    provider.answers = [said(words), OK]
    with pytest.raises(ModelError):
        run(lambda: ask("hi", tools=TOOLS, options={"response_format": {"type": "json_object"}}))
    assert len(provider.asked) == 1


def test_names_of_those_who_speak_are_left_out(provider: RawProvider) -> None:
    words = "Extra inputs are not permitted (['body', 'messages', 0, 'user', 'name'])"
    assert "name" not in again(provider, words, messages=[user("hi", name="bob")])["messages"][0]


def test_what_stands_in_a_call_besides_is_left_out(provider: RawProvider) -> None:
    reply = assistant(None, "abcdefghi")
    reply["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "x"}}
    words = "Unknown parameter: 'messages[1].tool_calls[0].extra_content'."
    body = again(provider, words, messages=[user("hi"), reply, tool("abcdefghi")], tools=TOOLS)
    assert "extra_content" not in json.dumps(body)


@pytest.mark.parametrize(
    "message",
    [
        "This model only support stream mode, please enable the stream parameter to access the model. ",
        "parameter.enable_thinking must be set to false for non-streaming calls",
        "Streaming is required for operations that may take longer than 10 minutes.",
        "Requests with max_tokens > 4096 must have stream=true",
    ],
)
def test_who_answers_in_a_stream_only_is_asked_for_one(provider: RawProvider, message: str) -> None:
    body = again(provider, message, messages=[user("hi")], stream=False)
    assert (body["stream"], body["max_tokens"]) == (True, 50)


def test_a_stream_of_nothing_is_not_explained_by_who_only_streams(provider: RawProvider) -> None:
    """It is asked for its reason in one piece, refuses that, and is asked as before."""
    provider.answers = [sse(delta(finish="stop")), said("This model only support stream mode."), OK]
    assert run(lambda: ask("hi")).content == "Hello"
    assert ["stream" in body for body in provider.asked] == [True, False, True]


def test_two_shapes_are_learned_one_after_the_other(provider: RawProvider) -> None:
    turns = said("Conversation roles must alternate user/assistant/user/assistant/...")
    provider.answers = [turns, said("System role not supported"), OK]
    messages = [{"role": "system", "content": "S"}, *NEIGHBOURS]
    assert run(lambda: ask("", messages=messages)).content == "Hello"
    assert [one["content"] for one in provider.asked[2]["messages"]] == ["S\n\na\n\nb", "c\n\nd", "e"]


@pytest.mark.parametrize(
    "message",
    [
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        "The following tool_call_ids did not have response messages: call_x",
        "Invalid 'tools[0].function.name': string does not match pattern '^[a-zA-Z0-9_-]+$'.",
        "Invalid schema for function 'f': In context=(), 'additionalProperties' is required to be supplied.",
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        "Invalid image: messages content must be a valid image URL",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "messages: text content blocks must be non-empty",
    ],
)
def test_words_that_sound_alike_or_ask_for_what_is_so_teach_nothing(provider: RawProvider, message: str) -> None:
    provider.answers = [said(message), OK]
    with pytest.raises(ModelError) as caught:
        run(lambda: ask("", messages=LOOP, tools=TOOLS))
    assert classify(caught.value).code == "invalid_request"
    assert len(provider.asked) == 1


@pytest.mark.parametrize("name", wanted.HABITS)
def test_each_habit_of_the_simulator_has_its_shape(simulator: str, use: Callable[..., None], name: str) -> None:
    use(f"{simulator}/v1")
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        user("hello", name="bob"),
        assistant(None, LONG),
        tool(LONG, ""),
        user("a"),
        user(f"[[sim key={name} habit={name} words=3]] hi"),
    ]
    more = {"messages": messages, "tools": TOOLS, "stream": "stream" not in name}
    replies = run(lambda: ask("", **more))
    assert replies.content
