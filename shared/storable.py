"""What can be stored and sent: JSON in UTF-8, which knows no NaN, no infinity, no half characters, no Python objects.

Python's own reader and writer let most of these pass. What agents and providers bring is therefore looked at where it
comes in: noticed only when it is written, it would take down whatever is written with it.
"""

import json
from typing import Any

from shared.errors import Unstorable
from shared.tasks.model import dumps

FAULTS = (TypeError, ValueError, RecursionError)
"""What encoding a value as JSON and as UTF-8 raises for one that cannot be."""


def check(value: Any, what: str) -> None:
    """Make sure that a value can be stored; ``what`` names it in the error.

    Raises:
        Unstorable: it cannot.
    """
    _encode(value, what)


def copy(value: Any, what: str) -> Any:
    """Return a value as it will be read back, whatever becomes of the original meanwhile.

    Raises:
        Unstorable: it cannot be stored.
    """
    return json.loads(_encode(value, what))


def text(text: str) -> str:
    """Replace lone surrogates, which JSON escapes can make and nothing can store."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _encode(value: Any, what: str) -> bytes:
    try:
        return (value if isinstance(value, str) else dumps(value)).encode()
    except FAULTS as error:
        raise Unstorable(f"{what} cannot be stored: {error}") from error
