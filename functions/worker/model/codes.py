"""Codes of failed model calls as a metric's dimension: each distinct value costs money, so there is a known set."""

KNOWN = frozenset(
    {
        "content_filter", "context_too_long", "invalid_request", "malformed_reply", "model_call_too_long",
        "model_no_answer", "model_not_found", "model_stalled", "pool_timeout", "provider_conflict", "provider_error",
        "provider_forbidden", "provider_insufficient_quota", "provider_timeout", "provider_unauthorized",
        "provider_unreachable", "rate_limit_exceeded", "reply_too_long", "truncated_reply",
    }
)  # fmt: skip
"""Sluice's own codes; within a stream a provider may word one of its own."""
OTHER = "other"


def bounded(code: str) -> str:
    """Return a code if it is one of ours."""
    return code if code in KNOWN else OTHER
