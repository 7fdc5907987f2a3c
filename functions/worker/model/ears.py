"""Who is told of the pieces of a reply as they come."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from functions.worker.model.telling import CallPiece, ShownCall


class Ears(NamedTuple):
    """Who is told of the pieces of a reply as they come."""

    text: Callable[[str], None]
    reasoning: Callable[[str], None]
    tool: Callable[[str], None]
    """Of names and arguments of tool calls, to count them."""
    call: Callable[[CallPiece], None] | None = None
    """Of the arguments of tool calls, to show them."""
    before: Mapping[int, ShownCall] = {}
    """What was shown of the tool calls of an attempt that died, by their numbers."""


def _nothing(_: str) -> None:
    """Take no notice."""


DEAF = Ears(_nothing, _nothing, _nothing)
"""Nobody."""
