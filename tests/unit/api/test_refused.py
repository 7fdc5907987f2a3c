"""A model's refusal has a field of its own, so that no client reads it as the structured answer that it asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from functions.api.contract.problem import Problem
from functions.api.dialect.chat_answer import completion_of
from functions.api.dialect.chat_request import checked_messages
from functions.api.dialect.response import response_of

from .test_response_stream import COMPLETE, QUEUED, STARTED, chunks, ended, log, step, stream, types

WHY = "I cannot help with that."
DATA = {"refused": True}


def piece(text: str) -> tuple[str, dict[str, Any]]:
    return "token", {"call": "model-1.1", "refusal": True, "text": text}


SHOWN = log(QUEUED, STARTED, piece(WHY[:8]), piece(WHY[8:]), step("model-1.1"), COMPLETE)
UNSEEN = log(QUEUED, STARTED, step("model-1.1"), COMPLETE)


@pytest.mark.parametrize("events", [SHOWN, UNSEEN])
def test_a_response_streams_it_as_a_refusal_and_holds_the_same(events: Any) -> None:
    blocks = stream(events, ended(WHY, DATA))
    assert "".join(block["delta"] for block in blocks if block["type"] == "response.refusal.delta") == WHY
    assert not any("output_text" in block["type"] for block in blocks)
    assert types(blocks)[-4:] == ["refusal.done", "content_part.done", "output_item.done", "completed"]
    assert blocks[-4]["refusal"] == WHY
    part = {"type": "refusal", "refusal": WHY}
    item = blocks[-2]["item"]
    assert item["content"] == [blocks[-3]["part"]] == [part]
    assert blocks[-1]["response"]["output"] == [item]
    read = Response.model_validate(response_of(ended(WHY, DATA)))
    assert (read.output_text, read.output[0].to_dict()["content"]) == ("", [part])


@pytest.mark.parametrize("events", [SHOWN, UNSEEN])
def test_so_do_a_completion_and_its_chunks(events: Any) -> None:
    read = ChatCompletion.model_validate(completion_of(ended(WHY, DATA))).choices[0].message
    assert (read.content, read.refusal) == (None, WHY)
    state: Any = ChatCompletionStreamState()
    for chunk in chunks(events, ended(WHY, DATA)):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    built = state.get_final_completion().choices[0].message
    assert (built.content or None, built.refusal) == (None, WHY)


def test_a_client_sends_a_refusal_back_as_it_had_it() -> None:
    message = completion_of(ended(WHY, DATA))["choices"][0]["message"]
    sent = [{"role": "user", "content": "a"}, json.loads(json.dumps(message)), {"role": "user", "content": "b"}]
    assert checked_messages(sent)[1] == {"role": "assistant", "content": WHY}


@pytest.mark.parametrize("message", [{"content": None}, {"content": None, "refusal": None}, {"refusal": 7}])
def test_a_message_that_says_nothing_is_still_invalid(message: dict[str, Any]) -> None:
    with pytest.raises(Problem) as raised:
        checked_messages([{"role": "assistant", **message}])
    assert (raised.value.status, raised.value.code) == (422, "invalid_request")
