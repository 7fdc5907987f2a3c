"""What a project's agents import: which files of the project go into the bundle, and what nothing provides.

Read from the source, nothing is executed: a missing import is named before anything is deployed. What is imported only
for type checkers, or in a ``try`` that catches its absence, may be missing.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from pathlib import Path

FACE = {"sluice", "sluice.context", "sluice.errors", "sluice.types"}
"""What of Sluice agents may import."""
ABSENCE = {"ImportError", "ModuleNotFoundError", "Exception"}


@dataclass
class Reached:
    """What was found."""

    files: dict[Path, None] = field(default_factory=dict)
    """Files of the project, in the order met."""
    missing: list[str] = field(default_factory=list)
    """A sentence each: file, line, and what is not there."""


@dataclass(frozen=True, slots=True)
class _Import:
    name: str
    names: tuple[str, ...]
    """What is taken from it."""
    level: int
    line: int
    needed: bool


def reached(root: Path, modules: list[str], packages: set[str]) -> Reached:
    """Follow the imports of dotted modules below ``root``. ``packages``: what the bundle has from elsewhere."""
    found = Reached()
    open_ = [path for module in modules for path in _files_of(root, module) or ()]
    while open_:
        path = open_.pop()
        if path in found.files:
            continue
        found.files[path] = None
        shown = path.relative_to(root)
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(shown))
        except (SyntaxError, UnicodeDecodeError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            found.missing.append(f"{shown}:{line}: cannot be read: {getattr(error, 'msg', error)}")
            continue
        package = list(shown.parts[:-1])
        for each in _imports(tree.body, needed=True):
            _follow(root, each, package, packages, f"{shown}:{each.line}", open_, found)
    return found


def _follow(
    root: Path, one: _Import, package: list[str], packages: set[str], where: str, open_: list[Path], found: Reached
) -> None:
    name = one.name
    if one.level:
        base = package[: len(package) - one.level + 1]
        name = ".".join([*base, *filter(None, [one.name])])
    top = name.partition(".")[0]
    complaint = None
    if top == "sluice":
        if name not in FACE:
            complaint = f"{name} is not for agents: they import from `sluice`"
    elif (own := _files_of(root, name)) is not None:
        open_ += own
        bare = not ((own and own[-1].parent == root.joinpath(*name.split("."))) or _is_module(root, name))
        for taken in one.names:
            inside = _files_of(root, f"{name}.{taken}")
            open_ += inside or ()
            if inside is None and bare:
                complaint = f"imports {name}.{taken}, which your project does not have"
    elif one.level or (_files_of(root, top) is not None and top not in sys.stdlib_module_names):
        complaint = f"imports {name}, which your project does not have"
    elif top not in sys.stdlib_module_names and top not in packages:
        complaint = (
            f"imports {top}, which is neither in your project nor in the bundle: "
            "add its package to [tool.sluice] requirements"
        )
    if complaint and one.needed:
        found.missing.append(f"{where}: {complaint}")


def _files_of(root: Path, module: str) -> list[Path] | None:
    """Return a module's file with those of the packages around it; None if the project has no such module.

    A folder without ``__init__.py`` is a package, too, if there is Python in it.
    """
    parts = module.split(".") if module else []
    found: list[Path] = []
    for depth in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:depth])
        last = depth == len(parts)
        if (base / "__init__.py").is_file():
            found.append(base / "__init__.py")
        elif last and base.with_suffix(".py").is_file():
            found.append(base.with_suffix(".py"))
        elif not (base.is_dir() and any(base.rglob("*.py"))):
            return None
    return found if parts else None


def _is_module(root: Path, name: str) -> bool:
    return root.joinpath(*name.split(".")).with_suffix(".py").is_file()


def _imports(body: list[ast.stmt], *, needed: bool) -> list[_Import]:
    found: list[_Import] = []
    for node in body:
        if isinstance(node, ast.Import):
            found += [_Import(alias.name, (), 0, node.lineno, needed) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names if alias.name != "*")
            found.append(_Import(node.module or "", names, node.level, node.lineno, needed))
        elif isinstance(node, ast.If) and _for_type_checkers(node.test):
            found += _imports(node.orelse, needed=needed)
        elif isinstance(node, ast.Try | ast.TryStar):
            caught = any(_catches_absence(handler) for handler in node.handlers)
            found += _imports(node.body, needed=needed and not caught)
            for handler in node.handlers:
                found += _imports(handler.body, needed=needed)
            found += _imports([*node.orelse, *node.finalbody], needed=needed)
        else:
            for _, value in ast.iter_fields(node):
                inner = value if isinstance(value, list) else []
                found += _imports([each for each in inner if isinstance(each, ast.stmt)], needed=needed)
                for case in inner:
                    if isinstance(case, ast.match_case):
                        found += _imports(case.body, needed=needed)
    return found


def _for_type_checkers(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _catches_absence(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in ABSENCE) for kind in kinds)
