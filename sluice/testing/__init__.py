"""The test world of a project's agents. pytest finds the plugin by itself; a test asks for the fixture ``world``.

from sluice.testing import World

def test_it_answers(world: World) -> None:
run = world.submit("[[sim key=a]] Say hello", agent="hello")
world.die_after(1)
world.work_until_quiet()
assert world.result(run).status == "complete"
assert world.calls("a").completed == 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sluice.testing.world import Calls, Clock, World

__all__ = ["Calls", "Clock", "World"]


def __getattr__(name: str) -> Any:
    """Load the world when it is asked for: the plugin is loaded in every test run of the user's environment."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from sluice.testing import world
    except (ImportError, SyntaxError) as error:  # SyntaxError: an older Python
        raise ImportError(
            "the test world runs in the project's own environment, which `python -m pytest` goes on in by itself"
        ) from error

    return getattr(world, name)
