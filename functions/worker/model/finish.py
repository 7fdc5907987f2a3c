"""Why a reply ended, in OpenAI's words, whatever the provider calls it."""

from __future__ import annotations

from shared import storable

STOP, LENGTH, TOOLS, FILTER, BROKEN = "stop", "length", "tool_calls", "content_filter", "error"

_WORDS = {
    STOP: "stop end_turn eos eos_token end stop_sequence complete completed done finish finished stopped normal "
    "stop_string pause_turn",
    LENGTH: "length max_tokens model_length max_output_tokens max_token token_limit "
    "too_long model_context_window_exceeded max_length token_limit_reached error_limit repetition_truncation",
    TOOLS: "tool_calls tool_call tool_use function_call",
    FILTER: "content_filter content_filtered safety recitation prohibited_content blocklist spii image_safety language "
    "sensitive refusal guardrail_intervened content_policy content_policy_violation moderation error_toxic filtered",
    BROKEN: "error malformed_function_call unexpected_tool_call too_many_tool_calls "
    "network_error abort aborted cancelled insufficient_system_resource other "
    "finish_reason_unspecified malformed_response malformed_tool_call timeout load missing_thought_signature no_image "
    "image_other user_cancel",
}
KINDS = frozenset(_WORDS)
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}


def known(reason: object) -> str | None:
    """Return a reason in OpenAI's words; None for none yet. One that nobody knows stands as it is."""
    if not reason or not isinstance(reason, str):
        return None
    text = storable.text(reason)
    # "content_filter: PROHIBITED_CONTENT" and "function_call_filter: MALFORMED_FUNCTION_CALL" are Gemini's.
    parts = [
        part.strip().lower().replace("-", "_").removeprefix("finishreason.").removeprefix("finish_reason_")
        for part in text.split(":")
    ]
    for part in reversed(parts):
        if part in _KINDS:
            return _KINDS[part]
    return text
