"""Which failures of a model provider pass and which stay, and how long to wait: one table, one formula."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from shared import asked_waits, provider_words, storable
from sluice import errors

MAX_RETRY_AFTER_SECONDS = asked_waits.MOST_SECONDS
"""Longest wait taken from a provider's ``Retry-After``. SQS delays a message by 15 minutes at most; one that comes
before its time is hidden for the rest."""
SPREAD_SECONDS = 60.0
"""Callers that a provider asked to wait come back spread over this at most."""
MAX_BACKOFF_SECONDS = 900.0


class ModelError(errors.ModelError):
    """A model call that brought no usable reply, with what retrying it needs to know."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        own_fault: bool = False,
        unseen: bool = False,
        had_s: float | None = None,
        param: str | None = None,
    ) -> None:
        """Describe it; ``own_fault`` means that the provider was not even asked (our pool was full).

        ``unseen`` means that it was, and may have written, and bill, a reply of which nothing is known.
        ``param`` is what the provider blames. ``had_s`` is the time that a call had on the whole which ran into a
        limit. The texts may be the provider's own, with half characters in them.
        """
        own_code = None if code is None else storable.text(code)
        super().__init__(storable.text(message), status=status, code=own_code, retry_after_s=retry_after_s)
        self.own_fault = own_fault
        self.unseen = unseen
        self.had_s = had_s
        self.param = param


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed call means."""

    kind: Literal["transient", "permanent"]
    code: str
    message: str
    retry_after_s: float | None
    counts_for_breaker: bool
    opens_breaker: bool


_TOO_LONG = frozenset({"reply_too_long"})
"""Asking again costs as much and ends the same."""
_OWN_LIMITS = frozenset({"model_stalled", "model_call_too_long"})
"""Limits of ours that say nothing about the provider: a slow reply is one prompt's."""
_TRANSIENT_STATUSES = frozenset({408, 409, 421, 423, 424, 425, 429, 449, 498, 499})
_FATAL_STATUSES = frozenset({401, 402, 403, 429})
"""Statuses whose words about money or keys are the provider's own: no prompt of a user stands in them."""

_CODES = {
    400: "invalid_request",
    401: "provider_unauthorized",
    403: "provider_forbidden",
    404: "model_not_found",
    408: "provider_timeout",
    499: "provider_timeout",
    409: "provider_conflict",
    413: "context_too_long",
    422: "invalid_request",
    429: "rate_limit_exceeded",
}


def classify(error: ModelError) -> Failure:
    """Say whether a failed call may be tried again and what it says about the provider.

    Transient: 408, 409, 421 (another connection will do), 423, 424 (a model that failed, at Bedrock, SageMaker and
    text-generation-inference), 425, 429, 449, 498 (Groq's, without capacity), 499, 5xx, timeouts, broken connections,
    malformed or cut-off replies. Permanent: every other 4xx, a redirect, spent credit, a prompt that does not fit, a
    content filter, an endless reply. For the last ones providers have many words (`shared.provider_words`), and any
    status.
    """
    code, status = error.code, error.status
    meaning = provider_words.of_code(code)
    said = meaning is not None
    if meaning is None and status is not None and code not in _TOO_LONG:
        meaning = provider_words.of_message(error.message, status, waits=error.retry_after_s is not None)
    if meaning == "quota" or status == 402:
        opens = (said or status in _FATAL_STATUSES) and not provider_words.is_of_its_size(error.message)
        return _failure(error, "permanent", "provider_insufficient_quota", opens=opens)
    if meaning == "filter":
        return _failure(error, "permanent", "content_filter")
    if meaning == "malformed":
        return _failure(error, "transient", "malformed_reply")
    if meaning == "busy":
        return _failure(error, "transient", "provider_error")
    if meaning == "invalid":
        return _failure(error, "permanent", "invalid_request")
    if meaning == "context_too_long":
        return _failure(error, "permanent", "context_too_long")
    if meaning == "unauthorized":
        return _failure(error, "permanent", "provider_unauthorized", opens=said or status in _FATAL_STATUSES)
    if code in _TOO_LONG:
        return _failure(error, "permanent", str(code))
    if error.own_fault:
        return _failure(error, "transient", "pool_timeout")
    if code in _OWN_LIMITS:
        return _failure(error, "transient", str(code))
    if status is None:
        return _failure(error, "transient", code or "provider_unreachable", counts=True)
    if status >= 500:
        return _failure(error, "transient", "provider_error", counts=True)
    if 300 <= status < 400:
        return _failure(error, "permanent", "provider_redirect")
    if status < 400:  # an answer, but no usable one: what one prompt can cause says nothing about the provider
        return _failure(error, "transient", code or "malformed_reply")
    if status in _TRANSIENT_STATUSES:
        return _failure(error, "transient", _CODES.get(status, "provider_error"))
    return _failure(error, "permanent", _CODES.get(status, "invalid_request"), opens=status == 401)


def _failure(
    error: ModelError, kind: Literal["transient", "permanent"], code: str, *, counts: bool = False, opens: bool = False
) -> Failure:
    return Failure(kind, code, error.message, error.retry_after_s, counts or opens, opens)


def backoff(attempt: int, base_s: float, retry_after_s: float | None, random: Callable[[], float]) -> float:
    """Return how long to wait before try number ``attempt`` + 1, s.

    Exponential with equal jitter, half fixed and half random, so that a wait is never near zero
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). What the provider asked for wins, with
    a little on top so that its callers do not all come back at once.
    """
    if retry_after_s is not None:
        return min(retry_after_s + min(0.1 * retry_after_s, SPREAD_SECONDS) * random(), MAX_RETRY_AFTER_SECONDS)
    top = min(base_s * 2.0 ** (attempt - 1), MAX_BACKOFF_SECONDS)
    return top / 2 + top / 2 * random()
