"""The tests of the Open Responses suite that need no WebSocket, asked of the running local system.

Each answer, and each event of each stream, is held against the document of 2026-04-24, which the package
`openresponses-py` carries. The requests are worded anew after that suite's.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema

STATE = Path(os.environ.get("SLUICE_STATE", ".local"))
OUTPUTS: dict[str, Any] = json.loads((STATE / "outputs.json").read_text())
DOCUMENT: dict[str, Any] = json.loads((files("openresponses") / "openapi/2026-04-24.json").read_text())
MODEL = "gpt-4o-mini"
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
CALL = '[[sim tool=get_weather args={"place":"Oslo"}]] the weather?'
DOT = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"


def user(content: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": content}


def ask(path: str, **body: Any) -> str:
    request = urllib.request.Request(
        OUTPUTS["openai_base_url"] + path,
        json.dumps({"model": MODEL, **body}).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {OUTPUTS['api_keys']['load']}"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return str(answer.read().decode())


def valid(value: dict[str, Any], name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)
    return value


def whole(kind: str = "message", **body: Any) -> dict[str, Any]:
    response = valid(json.loads(ask("/responses", **body)), "ResponseResource")
    assert response["status"] == "completed", response["status"]
    assert kind in [item["type"] for item in response["output"]]
    return response


EVENTS = {
    schema["properties"]["type"]["enum"][0]: name
    for name, schema in DOCUMENT["components"]["schemas"].items()
    if name.endswith("StreamingEvent")
}


def streamed(kind: str, **body: Any) -> list[str]:
    types = []
    for block in ask("/responses", stream=True, **body).split("\n\n"):
        data = next((line[6:] for line in block.splitlines() if line.startswith("data: ")), None)
        if data is None or data == "[DONE]":
            continue
        event = json.loads(data)
        valid(event, EVENTS[event["type"]])
        assert event["sequence_number"] == len(types)
        types.append(event["type"])
    assert types[-1] == "response.completed"
    assert valid(event["response"], "ResponseResource")["output"][0]["type"] == kind
    return types


def round_trip() -> None:
    first = whole("function_call", input=CALL, tools=[WEATHER])
    call = first["output"][-1]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
    whole(input=[user(CALL), call, output], tools=[WEATHER])


def previous() -> None:
    first = whole(input="The word is papaya.")
    second = whole(input="[[sim recall]] which word?", previous_response_id=first["id"])
    assert "papaya" in json.dumps(second["output"])


def compact() -> None:
    compacted = valid(json.loads(ask("/responses/compact", input=[user("I am Ann.")])), "CompactResource")
    assert compacted["output"][-1]["type"] == "compaction"
    whole(input=[*compacted["output"], user("Who am I?")])


def arguments() -> None:
    types = streamed("function_call", input=[user(CALL)], tools=[WEATHER])
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= set(types)


IMAGE = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": DOT}]
FILE = [
    {"type": "input_text", "text": "Its title?"},
    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
]
TESTS = {
    "basic response": lambda: whole(input=[user("Say hello.")]),
    "streaming": lambda: streamed("message", input=[user("Count to five.")]),
    "system prompt": lambda: whole(
        input=[{"type": "message", "role": "system", "content": "Be brief."}, user("Say hello.")]
    ),
    "tool calling": lambda: whole("function_call", input=[user(CALL)], tools=[WEATHER]),
    "tool calling, streamed": arguments,
    "function call round trip": round_trip,
    "image": lambda: whole(input=[user(IMAGE)]),
    "file": lambda: whole(input=[user(FILE)]),
    "several turns": lambda: whole(
        input=[user("I am Ann."), {"type": "message", "role": "assistant", "content": "Hello."}, user("Who am I?")]
    ),
    "previous_response_id": previous,
    "compaction": compact,
}


def main() -> int:
    """Run all; returns 1 if one failed."""
    failed = 0
    for name, test in TESTS.items():
        try:
            test()
            print(f"{name:26} passes", flush=True)
        except Exception as error:
            failed += 1
            print(f"{name:26} FAILS {type(error).__name__}: {str(error)[:300]}", flush=True)
    print(f"{len(TESTS) - failed} of {len(TESTS)}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
