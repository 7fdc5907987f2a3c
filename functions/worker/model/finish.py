"""Why a reply ended, in OpenAI's words, whatever the provider calls it."""

import re

from shared import storable

STOP, LENGTH, TOOLS, FILTER, BROKEN = "stop", "length", "tool_calls", "content_filter", "error"

_WORDS = {
    STOP: "stop end_turn eos eos_token eos_found end stop_sequence complete completed done finish finished stopped "
    "normal stop_string stop_string_found stop_token pause_turn end_of_text endoftext matched_stop",
    LENGTH: "length max_tokens model_length max_output_tokens max_completion_tokens max_new_tokens max_token "
    "token_limit too_long model_context_window_exceeded max_length token_limit_reached error_limit "
    "repetition_truncation limit max_predicted_tokens_reached context_length_reached context_length "
    "time_limit incomplete",
    TOOLS: "tool_calls tool_call tool_use function_call tool tools",
    FILTER: "content_filter content_filtered safety recitation prohibited_content blocklist spii image_safety language "
    "sensitive refusal guardrail_intervened content_policy content_policy_violation moderation error_toxic filtered "
    "model_armor",
    BROKEN: "error malformed_function_call unexpected_tool_call too_many_tool_calls "
    "network_error abort aborted cancelled insufficient_system_resource other "
    "finish_reason_unspecified malformed_response malformed_tool_call timeout load missing_thought_signature no_image "
    "image_other user_cancel user_stopped model_unloaded failed interrupted",
}
KINDS = frozenset(_WORDS)
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_STEMS = (
    (FILTER, re.compile(r"filter|safety|prohibited|guardrail|moderat|block(?:ed|list)|recitation")),
    (BROKEN, re.compile(r"error|fail|abort|cancel|malformed|interrupt")),
    (LENGTH, re.compile(r"length|max|limit")),
)
"""By which a word that stands in no table is told, in this order."""
_NOT_YET = frozenset({"", "null", "none", "not_finished", "in_progress", "unfinished", "undefined"})
"""With which some say in each chunk that it is not the last."""
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def word(reason: object) -> str | None:
    """Return the word of a reason: some give an object that names it, or a list of one; None for none yet."""
    if isinstance(reason, list):
        reason = reason[0] if reason else None
    if isinstance(reason, dict):
        reason = next((reason[name] for name in ("type", "reason", "name") if reason.get(name)), None)
    return storable.text(reason) if reason and isinstance(reason, str) else None


def known(reason: object) -> str | None:
    """Return a reason in OpenAI's words; None for none yet. One that nobody knows stands as it is."""
    text = word(reason)
    if text is None:
        return None
    # "content_filter: PROHIBITED_CONTENT" and "function_call_filter: MALFORMED_FUNCTION_CALL" are Gemini's.
    parts = [
        _CAMEL.sub("_", part.strip().removeprefix("FinishReason."))
        .lower()
        .replace("-", "_")
        .removeprefix("finish_reason.")
        .removeprefix("finish_reason_")
        for part in text.split(":")
    ]
    for part in reversed(parts):
        if part in _KINDS:
            return _KINDS[part]
    if parts[-1] in _NOT_YET:
        return None
    return next((kind for kind, stem in _STEMS if stem.search(parts[-1])), text)
