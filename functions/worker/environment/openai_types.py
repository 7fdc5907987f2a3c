"""Has `openai` read its types when somebody asks for one of them: of nearly four hundred modules a run needs none.

They are more than half of the time that importing `openai` takes, and 9 MB of an environment. The client works without
them, as Sluice reads and writes a model's JSON itself; agents and their frameworks find them as ever.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from threading import RLock
from types import ModuleType
from typing import Any

PACKAGES = ("openai.types", "openai.types.responses")
LONGEST_SECONDS = 10.0
"""How long a thread waits for another one that runs a package's file."""


class _Package(ModuleType):
    """A package whose own file runs at the first use of a name of it; its modules can be imported before."""

    def __getattr__(self, name: str) -> Any:
        """Run the file, at the first name that is not there; raises AttributeError for one that never will be."""
        loader = vars(self)["__loader__"]
        loader.run(self)
        try:
            return vars(self)[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


class _Loader(SourceFileLoader):
    """Makes such a package."""

    def __init__(self, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self._lock = RLock()
        self._begun = False

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing yet."""
        module.__class__ = _Package

    def run(self, module: ModuleType) -> None:
        """Run its file, once."""
        # Not waiting for ever: a thread that imports one of its modules may wait for us while we wait for that.
        mine = self._lock.acquire(timeout=LONGEST_SECONDS)
        try:
            if mine and not self._begun:
                self._begun = True
                super().exec_module(module)
        finally:
            if mine:
                self._lock.release()


class _Finder:
    """Finds the packages that wait; everything else is found as ever."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return such a package's spec; None for every other module, and if `openai` is built otherwise than today."""
        found = PathFinder.find_spec(name, path) if name in PACKAGES else None
        if found is None or type(found.loader) is not SourceFileLoader:
            return None
        found.loader = _Loader(name, found.loader.path)
        return found


def put_off() -> None:
    """See to it; nothing changes where `openai` was imported before."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
