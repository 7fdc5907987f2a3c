"""Packages whose own ``__init__`` waits until somebody asks for what only it has.

A large package's ``__init__`` often imports all of its parts, for whoever wants one of them. Once it is put off,
``from package.part import name`` imports that part alone. A name that is neither there nor a part runs ``__init__``
after all, so that nothing is missing: at worst it takes as long as before.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

_running = RLock()
_begun: set[str] = set()
"""Packages that run just now."""


def put_off(*names: str) -> None:
    """Have packages wait; one that is imported already stays as it is."""
    sys.meta_path.insert(0, _Finder(frozenset(names)))


class _Finder:
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self._names:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None and spec.submodule_search_locations:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]  # it takes the real one's place
        return spec


class _Loader:
    """Loads a package, but does not run it yet."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._real.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        module.__loader__ = self._real
        module.__class__ = _PutOff


class _PutOff(ModuleType):
    """A package that has not run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        try:
            return import_module(f"{self.__name__}.{name}")  # without the lock: other threads may be importing it
        except ModuleNotFoundError as error:
            if error.name != f"{self.__name__}.{name}":
                raise
        with _running:  # other threads wait until it is whole; this one may be asking from within
            if type(self) is _PutOff and self.__name__ not in _begun:
                self._run()
            if name in vars(self):
                return vars(self)[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def _run(self) -> None:
        _begun.add(self.__name__)
        try:
            self.__loader__.exec_module(self)  # type: ignore[union-attr]
            self.__class__ = ModuleType  # type: ignore[assignment]
        finally:
            _begun.discard(self.__name__)
