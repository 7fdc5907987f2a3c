"""What a provider's words mean where its status and code say too little or the wrong thing.

The phrases stand for whole families: each provider words "your prompt does not fit" and "your account is empty" in its
own way, with any status. A word list is never whole; what it misses is classified by its status.
"""

import re
from typing import Literal

Meaning = Literal["context_too_long", "quota", "filter", "unauthorized", "malformed", "invalid", "busy"]

CODES: dict[str, Meaning] = {
    **dict.fromkeys(
        (
            "context_length_exceeded", "context_too_long", "exceed_context_size_error",
            "request_too_large", "context_window_exceeded", "contextwindowexceedederror", "prompt_too_long",
            "max_context_length_exceeded", "input_too_long", "model_context_window_exceeded", "tokens_limit_reached",
            "model_max_prompt_tokens_exceeded",
        ),
        "context_too_long",
    ),
    **dict.fromkeys(
        (
            "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "exceeded_current_quota_error",
            "insufficient_balance", "insufficient_user_quota", "insufficient_credits", "not_enough_balance",
            "arrearage", "billing_error", "payment_required", "credits_exhausted", "account_deactivated",
            "access_terminated", "invalid_billing", "quota_not_enough", "insufficient_funds", "account_suspended",
            "budget_exceeded",
        ),
        "quota",
    ),
    **dict.fromkeys(
        (
            "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "data_inspection_failed",
            "datainspectionfailed", "content_moderation", "content_filtered", "moderation_blocked",
            "sensitivecontentdetected", "inputtextsensitivecontentdetected", "outputtextsensitivecontentdetected",
        ),
        "filter",
    ),
    # What the model wrote was no call, or no JSON, and another try may well be one (Groq).
    **dict.fromkeys(("tool_use_failed", "json_validate_failed", "output_parse_failed"), "malformed"),
    **dict.fromkeys(("invalid_api_key", "api_key_invalid", "incorrect_api_key"), "unauthorized"),
}  # fmt: skip
"""Codes and types, in small letters."""


def _phrases(text: str) -> re.Pattern[str]:
    """Compile alternatives that are written on lines of their own."""
    return re.compile(re.sub(r"\n\s*", "", text), re.I | re.S)


_CONTEXT = _phrases(
    r"""context (?:length|window|size|limit)\b.{0,80}?(?:exceed|too (?:long|large|small)|is only|overflow|reached)
    |exceed(?:s|ed|ing|)\b.{0,60}?(?:context|max(?:imum)? (?:allowed )?(?:input|prompt|sequence|message)
      \x20(?:length|tokens?)|max_seq_len|max_model_len|token limit\s*:|max length|input limit
      |model'?s? (?:max(?!\w* (?:output|completion))|token|limit)
      |maximum (?:number of )?(?:input )?tokens)
    |maximum (?:context|prompt|input|sequence) (?:length|size|tokens?)
    |(?:prompt|input|message|conversation|request|messages|inputs)(?:'s length| you (?:sent|submitted))?
      (?: is| are| was)?\x20too (?:long|large|big)\b
    |(?:sequence|input|prompt|token)s? (?:token )?(?:length|count)(?: is)? too (?:long|large|high)
    |\b(?:input|prompt|sequence|messages?|tokens)\b[^.]{0,60}\bexceed\w* (?:the )?max(?:imum)?(?: allowed)? length
    |string too long\. expected .{0,20}maximum length \d{6}
    |supports (?:at most|up to|only) [\d,]{3,9} tokens|max_(?:completion_)?tokens must be at least 1, got -
    |too many (?:input |prompt )?tokens\b(?!.{0,20}per)
    |reduce the (?:length|size) of (?:the|your)|reduce your prompt|shorten (?:the|your) (?:prompt|input|messages)
    |longer than (?:the )?(?:model'?s? )?(?:maximum|context|max)
    |larger than (?:the )?(?:model'?s? )?(?:maximum |max )?context
    |range of input length should be|requested tokens .{0,30}exceed|greater than the context length
    |tokens? to keep from the initial prompt|input token count\b.{0,60}(?:exceed|only supports)
    |inputs?`? tokens? \+ `?max_new_tokens`? must be|must have less than \d+ tokens
    |request too large for |request entity too large|payload too large|max(?:imum)? tokens? limit .{0,20}prompt
    |prompt (?:contains|has|length|tokens?\b(?: count)?).{0,60}(?:exceed|maximum|limit|greater|larger)
    |available context|context overflow|context_length_exceeded|n_keep: \d{1,9} >= n_ctx
    |tokens but the (?:max(?:imum)?|limit) is|(?:can|is able to) only handle (?:up to )?[\d,]{3,9} tokens
    |\b(?:prompt|input)[ _](?:length|size|tokens)\b[^.]{0,20}> ?max
    |tokens in the (?:prompt|input|messages|request)\b.{0,30}exceed|max(?:imum)? input tokens [\d,]{1,9} exceeded
    |number of input tokens\b.{0,20}greater than|length of input tokens\b.{0,30}must be within
    |(?:request|prompt|input|messages?) exceeds? the max(?:imum)? (?:allowed )?number of tokens
    |(?:\u8f93\u5165|\u4e0a\u4e0b\u6587|\u63d0\u793a|prompt|token).{0,20}
      (?:\u8d85\u51fa|\u8d85\u8fc7|\u8d85\u957f|\u8fc7\u957f|\u592a\u957f)"""
)
_LIMITED = re.compile(
    r"rate.?limit|too many requests|throttl|per (?:second|minute|hour|day|month)\b|please wait|try again (?:in|later)"
    r"|slow down",
    re.I,
)
"""Words that speak of a rate: what they say of tokens passes by waiting."""
_FOR_GOOD = re.compile(
    r"request too large for |must be reduced|reduce (?:the|your) (?:length|prompt|message)(?!.{0,60}or try again)",
    re.I,
)
_QUOTA = _phrases(
    r"""\b(?:insufficient|not enough|no|low|negative|zero|out of|depleted|exhausted|used (?:up )?all)\b.{0,40}?\b
      (?:balance|credits?|quota|funds)\b
    |(?:balance|credits?|funds)\b.{0,40}?(?:insufficient|too low|not enough|exhausted|depleted|used up|negative|run out)
    |exceeded (?:your|the) (?:current |monthly |account |included ){0,2}(?:quota|spend|budget|billing|credits)
    |add a payment method|free trial (?:has )?(?:ended|expired)|\b0 credits\b
    |quota (?:has been |is )?(?:exhausted|used up|insufficient|not enough)
    |free (?:allocated )?(?:tier|quota)\b.{0,40}(?:exhausted|exceeded|used up)|key limit exceeded
    |(?:weekly|monthly|specified (?:workspace )?api|your api|its api) usage limits?|over budget|exceeded ?budget
    |spend(?:ing)? (?:limit|cap)|budget (?:has been |is |was )?(?:exceeded|exhausted)
    |billing (?:hard )?limit|check your plan and billing|billing details|payment (?:is )?required
    |billing to be enabled|billing account\b.{0,60}(?:disabled|not found)|(?:plan|subscription) (?:has |is )?expired
    |account (?:is |has been |was )?(?:terminated|suspended|deactivated|overdue|in arrears|not active)
    |overdue (?:payment|bill)|recharge|top.?up your|\u4f59\u989d\u4e0d\u8db3|\u6b20\u8d39
    |\u989d\u5ea6.{0,8}(?:\u7528\u5c3d|\u4e0d\u8db3|\u5931\u8d25)"""
)
_FILTER = re.compile(
    r"content (?:management|filter|moderation|policy|safety)|contentpolicyviolation|content exists risk"
    r"|inappropriate (?:or illegal )?content|unsafe content|safety (?:system|filter|polic)|guardrail"
    r"|usage (?:polic|guideline)"
    r"|flagged (?:for|as|by|content)|input was flagged|requires moderation|prohibited[ _](?:content|use)|responsible ai"
    r"|sensitive (?:content|information|words?)|(?:prompt|response) (?:was |is |has been )?blocked|considered high risk"
    r"|\u654f\u611f|\u8fdd\u89c4|\u4e0d\u5b89\u5168"
    r"|blocked by .{0,30}(?:safety|polic|filter|moderation)",
    re.I,
)
_KEY = re.compile(
    r"(?:incorrect|invalid|wrong|missing|no|expired) (?:\w+ )?api.?key"
    r"|api.?key (?:\w+ ){0,2}(?:not valid|invalid|expired|missing|disabled|revoked)",
    re.I,
)

_INVALID = re.compile(
    r"\bvalidation errors?\b.{0,400}?\bloc\b.{0,10}\bbody\b|\broles? must alternate|\bjinja\b|templateerror"
    r"|chat template\b.{0,80}(?:error|fail|exception)|role not supported|only user and assistant roles",
    re.I | re.S,
)
"""What servers say of a request with status 500: FastAPI of a field, llama.cpp of what a template refuses."""
_SPENT_RATE = re.compile(
    r"e\.g\. check quota|\b(?:for|in) this minute\b|quota exceeded for (?:quota )?metric .{0,200}per[ _-]?minute",
    re.I | re.S,
)
"""What sounds like an empty account, and is a rate (Google)."""
_ASKED_TOO_MUCH = re.compile(r"can only afford \d|fewer max_tokens|prompt tokens limit exceeded", re.I)

_BUSY = re.compile(
    r"overloaded|over capacity|at capacity|no (?:available )?capacity|temporarily unavailable"
    r"|(?:server|model|system|service|engine) is (?:too )?busy"
    r"|(?:server|model) is (?:still |currently )?(?:loading|starting up|warming up)",
    re.I,
)
"""What passes, though its status says that the request is wrong."""

_MALFORMED = re.compile(r"repeating the same chunk", re.I)
"""What a gateway says that ends a reply because the model says one thing over and over (LiteLLM)."""


def of_code(code: str | None) -> Meaning | None:
    """Return what a code means by itself."""
    return CODES.get(code.lower().rpartition("#")[2]) if code else None


def of_message(message: str, status: int | None, *, waits: bool) -> Meaning | None:
    """Return what a message means that came with a status; ``waits`` tells that it asks to wait, so that it passes."""
    limited = _LIMITED.search(message) is not None
    if _CONTEXT.search(message) and (not limited or _FOR_GOOD.search(message)):
        return "context_too_long"
    if not waits and status != 404 and _QUOTA.search(message) and not _SPENT_RATE.search(message):
        return "quota"
    if status in (400, 401, 403) and _KEY.search(message):
        return "unauthorized"
    if status in (400, 403, 422, 424, 446, 451) and _FILTER.search(message):
        return "filter"
    if status in (400, 403, 404, 421, 424) and _BUSY.search(message):
        return "busy"
    if status is not None and status >= 500 and _INVALID.search(message):
        return "invalid"
    if _MALFORMED.search(message):
        return "malformed"
    return None


def is_of_its_size(message: str) -> bool:
    """Tell whether an account is too empty for one call only, while a smaller one may be paid (OpenRouter)."""
    return _ASKED_TOO_MUCH.search(message) is not None
