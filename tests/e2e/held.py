"""Requests of a page that stand until a test answers them, in whatever order it likes: no test waits for a slow one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Self

from playwright.sync_api import Page, Route

POLLS = "document.dispatchEvent(new Event('visibilitychange'))"
"""Has a page ask now for what it asks for every few seconds."""
PATIENCE = 3000
"""How often it is looked whether a request is there, ten milliseconds apart."""


class Held:
    """What a page asks for at addresses that fit, for a while. What then stands is never answered."""

    def __init__(self, page: Page, address: str, method: str = "GET") -> None:
        self.page, self.address = page, re.compile(address)
        self.routes: list[Route] = []
        self.taken = 0
        self._take = self._takes(method)
        page.route(self.address, self._take)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.unroute(self.address, self._take)

    def _takes(self, method: str) -> Callable[[Route], None]:
        def take(route: Route) -> None:
            if route.request.method == method:
                self.routes.append(route)
            else:
                route.fallback()

        return take

    def next(self) -> Route:
        """Return the first request that was not returned before, once it is there."""
        for _ in range(PATIENCE):
            if len(self.routes) > self.taken:
                self.taken += 1
                return self.routes[self.taken - 1]
            self.page.wait_for_timeout(10)
        raise AssertionError("the page does not ask")

    def answer(self, content: Any) -> str:
        """Answer it; returns its address."""
        route = self.next()
        route.fulfill(json=content)
        return route.request.url


def is_answered(page: Page) -> None:
    """Have the page ask for something: what it was answered before has been seen by then."""
    assert page.evaluate("fetch('health').then(answer => answer.status)") == 200
