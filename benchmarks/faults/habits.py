"""What is right for a run that meets a habit of some real provider, habit by habit.

Written by hand, from what each of them means: a reply is taken, a failure that passes is tried again, and one that
stays ends the run with its code. Left out are those which a campaign of minutes cannot meet (`LEFT_OUT`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localstack.llm.habits import answers, refusals, streams, wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

TAKEN, RETRIED = "taken", "retried"
"""The run completes: with the reply as it is, or after another try."""

LEFT_OUT = frozenset(
    {
        *("wait_hour", "wait_reset", "wait_words"),  # six minutes and more
        *("refuses_temperature", "refuses_parallel", "refuses_seed", "refuses_reasoning_effort"),  # not sent here
        *("refuses_reasoning_back", "refuses_high_limit", "refuses_max_completion_tokens"),  # neither
        *("refuses_high_limit_bedrock", "refuses_high_limit_vertex"),
        *("wants_turns_deepseek", "wants_turns_vllm", "wants_turns_llama_cpp", "wants_turns_perplexity"),  # nor are
        *("wants_answer_mistral", "wants_text_deepseek", "wants_text_groq", "wants_no_name_mistral"),  # messages
        *("wants_words_anthropic", "wants_words_bedrock", "wants_words_moonshot"),  # of these shapes
        *("wants_stream_dashscope", "wants_stream_thinking"),
        "end_endless",  # its end is a limit that the campaign's runs do not set
    }
)

_TAKEN = (*answers.HABITS, *streams.ODD, *streams.CALLS, *streams.BACK, *streams.ENDS, *streams.USAGE, "error_empty")
_FIELDS = {name: TAKEN for name in refusals.FIELDS if name.startswith("refuses")}
_EXCEPT = {
    "shape_html": RETRIED,
    "shape_key_echoed": "provider_unauthorized",
    "throttled_tokens": RETRIED,
    "redirect_slash": TAKEN,
    "redirect_slash_308": TAKEN,
    "wants_signature": "invalid_request",
    "whole_error_object": "invalid_request",
    "whole_detail": RETRIED,
    "whole_html": RETRIED,
    "whole_minimax": "provider_insufficient_quota",
    "whole_error_status": RETRIED,
    **dict.fromkeys(("end_safety", "end_prohibited", "end_sensitive", "end_camel_filter"), "content_filter"),
    **dict.fromkeys(("end_calls_lost", "end_null_cut", "error_line", "error_event_text", "error_text_data"), RETRIED),
    **dict.fromkeys(("end_malformed_call", "end_gemini_filter_malformed", "end_error", "end_resource"), RETRIED),
    "end_nothing": RETRIED,
    **dict.fromkeys(("error_code_number", "error_vllm"), "invalid_request"),
    **dict.fromkeys(("error_context", "error_context_code"), "context_too_long"),
    "error_402": "provider_insufficient_quota",
    **dict.fromkeys(("error_429_text", "error_text", "error_event", "error_in_choice"), RETRIED),
    **dict.fromkeys(("error_without_data", "cut_reasoning", "cut_arguments"), RETRIED),
}
_ALL = {
    **dict.fromkeys(refusals.SHAPES, "invalid_request"),
    **dict.fromkeys(refusals.QUOTA, "provider_insufficient_quota"),
    **dict.fromkeys(refusals.CONTEXT, "context_too_long"),
    **dict.fromkeys(refusals.FILTERS, "content_filter"),
    **dict.fromkeys(refusals.WAITS, RETRIED),
    **dict.fromkeys(refusals.REDIRECTS, "provider_redirect"),
    **_FIELDS,
    **dict.fromkeys(wanted.HABITS, TAKEN),  # a campaign's runs are in all these shapes, or come to be
    **dict.fromkeys(_TAKEN, TAKEN),
    **_EXCEPT,
}
RIGHT: Mapping[str, str] = {name: right for name, right in _ALL.items() if name not in LEFT_OUT}
"""By habit: `TAKEN`, `RETRIED`, or the code that a run fails with."""
NAMES = tuple(sorted(RIGHT))
NOT_ALWAYS = frozenset({"redirect_slash", "redirect_slash_308", *(one for one in RIGHT if one.startswith("wants_"))})
"""Habits that a run need not meet: an environment follows a redirect once, and then asks where it led; and what a
provider wants of earlier calls is there or not by what these answered."""
NOBODYS_FAULT = frozenset({"provider_insufficient_quota", "provider_unauthorized"})
"""Codes that stop everybody's calls at once. A run that is taken over from a dead worker finds them stopped, and waits,
as all runs do, until somebody mends it: so it comes to be mended, after `MENDED_AFTER` calls."""
MENDED_AFTER = 3


def directive(name: str, skip: int) -> str:
    """Write the simulator's directive for a habit that a run meets after ``skip`` calls.

    What stays is met for ever, so that a run which asks again after a crash is told the same. What a refusal names is
    left out from then on, by each environment after its first.
    """
    right = RIGHT[name]
    once = right in (TAKEN, RETRIED) and name not in refusals.FIELDS
    times = 1 if once else MENDED_AFTER if right in NOBODYS_FAULT else 0
    return f"habit={name} skip={0 if name in refusals.FIELDS else skip}{f' times={times}' if times else ''}"
