"""Limits as headers."""

from __future__ import annotations

import pytest

from shared.limits.headers import duration, rate_limit_headers
from shared.limits.verdict import Verdict, Window

REQUESTS = Window("requests", 60, 3600, 58, 1800.2, 3599.5)
TOKENS = Window("tokens_per_day", 100_000, 86_400, 90_000, 4000.0, 4000.0)
MONEY = Window("usd_per_day", 5_000_000, 86_400, 4_500_000, 4000.0, 4000.0)


def test_admitted() -> None:
    assert rate_limit_headers(Verdict(True, windows=(REQUESTS, TOKENS, MONEY))) == {
        "RateLimit-Policy": '"requests";q=60;qu="requests";w=3600, "tokens_per_day";q=100000;w=86400, '
        '"micro_usd_per_day";q=5000000;w=86400',
        "RateLimit": '"requests";r=58;t=1801, "tokens_per_day";r=90000;t=4000, "micro_usd_per_day";r=4500000;t=4000',
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "58",
        "x-ratelimit-reset-requests": "1h0m0s",
        "x-ratelimit-limit-tokens": "100000",
        "x-ratelimit-remaining-tokens": "90000",
        "x-ratelimit-reset-tokens": "1h6m40s",
    }


def test_refused_shows_the_refusing_limit_and_rounds_up() -> None:
    empty = Window("requests", 60, 3600, 0, 0.2, 3000.0)
    headers = rate_limit_headers(Verdict(False, "requests", 0.2, windows=(empty, TOKENS)))
    assert headers["Retry-After"] == "1"
    assert headers["RateLimit"] == '"requests";r=0;t=1'
    assert headers["RateLimit-Policy"].count(";q=") == 2


def test_a_budget_refuses_with_something_left() -> None:
    headers = rate_limit_headers(Verdict(False, "tokens_per_day", 4000.0, windows=(REQUESTS, TOKENS)))
    assert headers["RateLimit"] == '"tokens_per_day";r=0;t=4000'
    assert headers["Retry-After"] == "4000"


def test_a_queue_has_no_window() -> None:
    headers = rate_limit_headers(Verdict(False, "queued", 5.0, windows=(Window("queued", 10, 0, 0, 5.0),)))
    assert headers == {"RateLimit-Policy": '"queued";q=10', "RateLimit": '"queued";r=0', "Retry-After": "5"}


def test_no_limits_no_headers() -> None:
    assert rate_limit_headers(Verdict(True)) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0201, "21ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (59.1, "1m0s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86_399.5, "24h0m0s"),
        (0.1 + 0.2, "300ms"),
    ],
)
def test_durations_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
