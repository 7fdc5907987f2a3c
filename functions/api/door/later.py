"""Routes that are built when a path that may be theirs is first asked for.

Building one takes a millisecond, and the API has eighty: a cold start that answers one request needs those of one file.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from types import ModuleType
from typing import Any

from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

_CHOSEN = "sluice.route"


class Later(BaseRoute):
    """The routes of a file, standing where they would stand among an application's."""

    def __init__(self, pattern: re.Pattern[str], load: Callable[[], ModuleType]) -> None:
        """Note where they are; ``pattern`` matches the beginning of each of their paths, and may match others'."""
        self._pattern = pattern
        self._load = load

    @cached_property
    def routes(self) -> list[BaseRoute]:
        """The routes themselves."""
        found: list[BaseRoute] = self._load().router.routes
        return found

    def may_have(self, path: str) -> bool:
        """Whether a path may be one of theirs."""
        return self._pattern.match(path) is not None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as the best of them does: the first that has the method, too, else the first that has the path."""
        best: tuple[Match, dict[str, Any]] = (Match.NONE, {})
        if scope["type"] != "http" or not self.may_have(get_route_path(scope)):
            return best
        for route in self.routes:
            match, child = route.matches(scope)
            if match is not Match.NONE and (match is Match.FULL or best[0] is Match.NONE):
                best = match, {**child, _CHOSEN: route}
            if match is Match.FULL:
                break
        return best

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand over to the route that matched."""
        route: BaseRoute = scope.pop(_CHOSEN)
        scope["route"] = route
        await route.handle(scope, receive, send)


def every(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Return routes one by one, those that are still to be built, too."""
    for route in routes:
        if isinstance(route, Later):
            yield from route.routes
        else:
            yield route
