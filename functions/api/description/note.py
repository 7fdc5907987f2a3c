"""What the API's description says of a route beside what its signature does: noted here, made of it in `openapi`.

Building the models of all answers costs a tenth of a second, and nearly no environment is ever asked for them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

TAKEN_ON = {
    202: {
        "description": "Taken on. A repeat with the same `Idempotency-Key` and body returns the same task.",
        "headers": {"Location": {"description": "Where the result will be.", "schema": {"type": "string"}}},
    }
}
"""What is said of an answer for a new task."""
NOTE = "described"
"""Attribute of a route's function that holds its `Description`."""


@dataclass(frozen=True)
class Description:
    """A route's answers and body.

    Models of answers are named as in the modules of documents beside this one, not imported.
    """

    answer: str
    errors: tuple[int, ...]
    error: str
    also: Mapping[int, Mapping[str, Any]]
    takes: type[BaseModel] | None
    example: Mapping[str, Any] | None


def described[F: Callable[..., Any]](
    answer: str,
    *errors: int,
    error: str = "ErrorBody",
    also: Mapping[int, Mapping[str, Any]] | None = None,
    takes: type[BaseModel] | None = None,
    example: Mapping[str, Any] | None = None,
) -> Callable[[F], F]:
    """Note what a route answers.

    ``answer`` and ``error`` name the documents for success and for the statuses ``errors``, to which 500 and
    503 are added; ``also`` describes single statuses, ``model`` in it named likewise; ``takes`` is the JSON body of a
    route that decodes it itself.
    """
    note = Description(answer, errors, error, also or {}, takes, example)

    def keep(route: F) -> F:
        setattr(route, NOTE, note)
        return route

    return keep
