"""What providers want of a conversation's messages and tools: each refuses what is not in its shape, in its own words."""
# ruff: noqa: E501 - a habit a line: their shapes are compared by eye

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

from localstack.llm.habits.shape import Habit


def _wants(source: str, shape: str, message: str, status: int = 400, body: object = None) -> Habit:
    error = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return Habit(source, status, body or error, when=f"shape:{shape}")


HABITS = {
    "wants_turns_deepseek": _wants("deepseek-ai/DeepSeek-R1", "neighbours", "deepseek-reasoner does not support successive user or assistant messages (messages[1] and messages[2] in your input). You should interleave the user/assistant messages in the message sequence."),
    "wants_turns_vllm": _wants("vllm-project/vllm", "neighbours", "After the optional system message, conversation roles must alternate user/assistant/user/assistant/..."),
    "wants_turns_llama_cpp": _wants("ggml-org/llama.cpp", "neighbours", "Conversation roles must alternate user/assistant/user/assistant/... at row 12, column 34", 500),
    "wants_turns_perplexity": _wants("docs.perplexity.ai", "neighbours", "After the (optional) system message(s), user or tool message(s) should alternate with assistant message(s)."),
    "wants_answer_mistral": _wants("mistralai/mistral-common", "unanswered", "Unexpected role 'user' after role 'tool'"),
    "wants_ids_mistral": _wants("mistralai/client-python", "long_ids", "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9."),
    "wants_ids_openai": _wants("openai/openai-python", "long_ids", "", 400, {"error": {"message": "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a string with length 64 instead.", "type": "invalid_request_error", "param": "messages[1].tool_calls[0].id", "code": "string_above_max_length"}}),
    "wants_ids_bedrock": _wants("docs.aws.amazon.com/bedrock/latest/APIReference", "long_ids", "1 validation error detected: Value at 'messages.2.member.content.1.member.toolUse.toolUseId' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"),
    "wants_text_deepseek": _wants("deepseek-ai/DeepSeek-V3", "parts", "Failed to deserialize the JSON body into the target type: messages[0]: invalid type: sequence, expected a string at line 1 column 60", 422),
    "wants_text_groq": _wants("groq/groq-python", "parts", "'messages.0.content' must be a string"),
    "wants_no_null_vllm": _wants("vllm-project/vllm", "null", "[{'type': 'string_type', 'loc': ('body', 'messages', 1, 'content'), 'msg': 'Input should be a valid string', 'input': None}]"),
    "wants_no_null_dashscope": _wants("help.aliyun.com/zh/model-studio/error-code", "null", "<400> InternalError.Algo.InvalidParameter: The content field is a required field."),
    "wants_words_anthropic": _wants("docs.anthropic.com/en/api/openai-sdk", "blank", "messages: text content blocks must be non-empty"),
    "wants_words_bedrock": _wants("docs.aws.amazon.com/bedrock", "blank", "The text field in the ContentBlock object at messages.1.content.0 is blank. Add text to the text field, and try again."),
    "wants_words_moonshot": _wants("MoonshotAI/kimi-cli", "blank", "Invalid request: message at position 1 with role 'assistant' must not be empty"),
    "wants_thoughts_moonshot": _wants("earendil-works/pi#4178; BerriAI/litellm#22374", "thoughtless", "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1"),
    "wants_thoughts_deepseek": _wants("api-docs.deepseek.com/guides/thinking_mode", "thoughtless", "The `reasoning_content` in the thinking mode must be passed back to the API."),
    "wants_signature_gemini": _wants("Gitlawb/openclaude#76; jeremychone/rust-genai#115", "unsigned", "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly."),
    "wants_no_name_mistral": _wants("mistralai/client-python", "named", "", 422, {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "messages", 0, "user", "name"], "msg": "Extra inputs are not permitted", "input": "bob"}]}}),
    "wants_no_schema_key_gemini": _wants("google-gemini/gemini-cli", "keyword", "Invalid JSON payload received. Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters': Cannot find field."),
    "wants_stream_dashscope": _wants("help.aliyun.com/zh/model-studio/error-code", "unstreamed", "This model only support stream mode, please enable the stream parameter to access the model. "),
    "wants_stream_thinking": _wants("QwenLM/Qwen3", "unstreamed", "parameter.enable_thinking must be set to false for non-streaming calls"),
}  # fmt: skip
"""Each can be had: Sluice makes the call again in the shape that is asked for."""

type Request = Mapping[str, Any]


def _contents(request: Request) -> list[Any]:
    return [message.get("content") for message in request["messages"]]


def _replies(request: Request) -> list[dict[str, Any]]:
    return [message for message in request["messages"] if message.get("role") == "assistant"]


def _pairs(request: Request) -> list[tuple[str, str]]:
    roles = [message.get("role") for message in request["messages"]]
    return list(itertools.pairwise(roles))


def _long_id(call: dict[str, Any]) -> bool:
    return len(call["id"]) != 9 or not call["id"].isalnum()


def _is_unsigned(reply: dict[str, Any]) -> bool:
    calls = reply.get("tool_calls")
    return bool(calls) and "thought_signature" not in json.dumps(calls[0])


_SHAPES: Mapping[str, Callable[[Request], bool]] = {
    "neighbours": lambda of: any(one == other and one in ("user", "assistant") for one, other in _pairs(of)),
    "unanswered": lambda of: ("tool", "user") in _pairs(of),
    "long_ids": lambda of: any(_long_id(call) for reply in _replies(of) for call in reply.get("tool_calls") or ()),
    "parts": lambda of: any(isinstance(content, list) for content in _contents(of)),
    "null": lambda of: any(content is None for content in _contents(of)),
    "blank": lambda of: any(isinstance(content, str) and not content.strip() for content in _contents(of)),
    "thoughtless": lambda of: any(one.get("tool_calls") and not one.get("reasoning_content") for one in _replies(of)),
    "unsigned": lambda of: any(_is_unsigned(one) for one in _replies(of)),
    "named": lambda of: any("name" in message for message in of["messages"] if message.get("role") == "user"),
    "keyword": lambda of: "additionalProperties" in json.dumps(of.get("tools")),
    "unstreamed": lambda of: not of.get("stream"),
}


def meets(shape: str, request: Request) -> bool:
    """Tell whether a request has a shape that a habit refuses."""
    return _SHAPES[shape](request)
