"""The retry table and its formula."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import retry
from shared.asked_waits import from_headers as retry_after
from shared.retry import ModelError, backoff, classify


@pytest.mark.parametrize(
    ("status", "code", "own", "kind", "name", "counts", "opens"),
    [
        (429, None, False, "transient", "rate_limit_exceeded", False, False),
        (429, "insufficient_quota", False, "permanent", "provider_insufficient_quota", True, True),
        (500, None, False, "transient", "provider_error", True, False),
        (503, None, False, "transient", "provider_error", True, False),
        (529, None, False, "transient", "provider_error", True, False),
        (408, None, False, "transient", "provider_timeout", False, False),
        (409, None, False, "transient", "provider_conflict", False, False),
        (421, None, False, "transient", "provider_error", False, False),
        (424, None, False, "transient", "provider_error", False, False),
        (400, None, False, "permanent", "invalid_request", False, False),
        (402, None, False, "permanent", "provider_insufficient_quota", True, True),
        (200, "reply_too_long", False, "permanent", "reply_too_long", False, False),
        (400, "content_filter", False, "permanent", "content_filter", False, False),
        (401, None, False, "permanent", "provider_unauthorized", True, True),
        (403, None, False, "permanent", "provider_forbidden", False, False),
        (404, None, False, "permanent", "model_not_found", False, False),
        (422, None, False, "permanent", "invalid_request", False, False),
        (200, None, False, "transient", "malformed_reply", False, False),
        (200, "truncated_reply", False, "transient", "truncated_reply", False, False),
        (200, "content_filter", False, "permanent", "content_filter", False, False),
        (None, "model_no_answer", False, "transient", "model_no_answer", True, False),
        (None, "model_stalled", False, "transient", "model_stalled", False, False),
        (None, "model_call_too_long", False, "transient", "model_call_too_long", False, False),
        (None, None, False, "transient", "provider_unreachable", True, False),
        (None, "pool_timeout", True, "transient", "pool_timeout", False, False),
    ],
)
def test_table(
    status: int | None, code: str | None, own: bool, kind: str, name: str, counts: bool, opens: bool
) -> None:
    found = classify(ModelError("x", status=status, code=code, own_fault=own))
    assert (found.kind, found.code, found.counts_for_breaker, found.opens_breaker) == (kind, name, counts, opens)


@given(st.integers(1, 40), st.floats(0, 900), st.floats(0, 1, exclude_max=True))
def test_backoff_doubles_within_bounds(attempt: int, base: float, chance: float) -> None:
    delay = backoff(attempt, base, None, lambda: chance)
    top = min(base * 2.0 ** (attempt - 1), retry.MAX_BACKOFF_SECONDS)
    assert top / 2 <= delay <= top


def test_the_providers_wait_wins_and_is_bounded() -> None:
    assert backoff(1, 30, 7, lambda: 0.0) == 7
    assert backoff(1, 30, 1e9, lambda: 0.0) == retry.MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0),
        ({"retry-after": "3600"}, 3600),
        ({"retry-after": "99999999"}, 86_400),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now_s=60) == seconds


@given(st.text(max_size=40))
def test_any_header_is_understood_or_ignored(text: str) -> None:
    found = retry_after({"retry-after": text}, now_s=0)
    assert found is None or 0 <= found <= retry.MAX_RETRY_AFTER_SECONDS
