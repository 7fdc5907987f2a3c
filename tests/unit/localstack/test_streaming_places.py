"""The local streaming address takes as many requests at once as the function has concurrency reserved."""

from __future__ import annotations

import pytest

from localstack import streaming


@pytest.mark.parametrize(
    ("variables", "each"),
    [
        ({"API_RESERVED_CONCURRENCY": "170"}, 85),
        ({"API_RESERVED_CONCURRENCY": "1"}, 1),
        ({"API_RESERVED_CONCURRENCY": "0"}, 200),
        ({}, 200),
    ],
)
def test_both_processes_share_what_is_reserved(variables: dict[str, str], each: int) -> None:
    assert streaming._at_once(variables) == each
