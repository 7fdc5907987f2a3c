"""What a page of a list or a search costs does not grow with what is stored, whatever is searched for."""

from __future__ import annotations

import time

import pytest

from benchmarks import growth_search
from shared.tasks import search
from sluice.testing.account import account

LOOKED_AT = 100
"""Tasks that a page of a search looks at here; 500 otherwise."""


def test_every_search_of_an_operator_is_a_bounded_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LOOKED_AT_ONCE", LOOKED_AT)
    most = 2 * (LOOKED_AT + growth_search.listing.LIST_PAGE)
    at = time.time()
    with account(monkeypatch):
        meter = growth_search.Meter()
        growth_search.write(0, 500, at, 1_500)
        few = {name: meter.of(page) for name, page in growth_search.pages(at).items()}
        growth_search.write(500, 1_500, at, 1_500)
        many = {name: meter.of(page) for name, page in growth_search.pages(at).items()}
    assert {name: cost for name, cost in many.items() if cost["items"] > most} == {}
    for name in growth_search.LISTS:
        assert many[name]["items"] <= 2 * growth_search.PAGE
    assert few["by_text_that_nobody_wrote"]["items"] >= LOOKED_AT, "the search ended before its bound"
