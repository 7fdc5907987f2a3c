"""One file per resource; each decodes, calls and encodes.

They are imported when something of theirs is first asked for (`functions.api.door.later`): all of them together take as
long as a fifth of a cold start.
"""

from importlib import import_module
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    """Import a resource's file.

    Raises:
        AttributeError: there is none of that name.
    """
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(name) from error
