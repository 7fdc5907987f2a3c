"""The dashboard's modules as two scripts: what everybody loads, and what only charts need.

A first visit asked for some thirty modules before, one after the other, for each may meet a function that has yet to be
started. What a module imports and exports stands in a few forms, a line each; another is refused, and a test reads all.
"""

import re
from functools import cache
from pathlib import Path
from posixpath import dirname, join, normpath

MODULES = Path(__file__).parent.parent / "static" / "dashboard"
GROUPS = {"js/all.js": ("js/app.js",), "js/charts.js": ("js/costs.js", "js/system/view.js")}
"""The scripts, each with the modules that it is for; it has what they import, too, unless one before has it."""
_IMPORT = re.compile(r'^import (?:\* as (\w+)|(\{[^}]*\})|(\w+)) from "(\.[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_DEFAULT = re.compile(r"^export \{ (\w+) as default \};$", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*|\bimport\.meta\b.*", re.MULTILINE)
FIRST = "export const modules = {};\n"
LATER = 'import { modules } from "./all.js";\nexport { modules };\n'


def script(name: str) -> str:
    """Return one of ``GROUPS``: its modules, each in a scope of its own, in the order in which they need each other."""
    return (FIRST if name == next(iter(GROUPS)) else LATER) + "".join(_scoped(one) for one in _grouped()[name])


@cache
def _grouped() -> dict[str, list[str]]:
    seen: dict[str, bool] = {}  # whether all that it needs stands before it

    def needed(name: str) -> list[str]:
        if name in seen:
            if not seen[name]:
                raise ValueError(f"{name} needs itself")
            return []
        seen[name] = False
        found = [one for other in _needs(name, (MODULES / name).read_text()) for one in needed(other)]
        seen[name] = True
        return [*found, name]

    return {group: [one for name in names for one in needed(name)] for group, names in GROUPS.items()}


def _needs(name: str, text: str) -> list[str]:
    return [_beside(name, found[4]) for found in _IMPORT.finditer(text)]


def _beside(name: str, path: str) -> str:
    return normpath(join(dirname(name), path))


def _scoped(name: str) -> str:
    text = (MODULES / name).read_text()
    # What has one for all has nothing else: uPlot's others stand in comments.
    exported = [f"default: {found[1]}" for found in _DEFAULT.finditer(text)] or _EXPORT.findall(text)

    def taken(found: re.Match[str]) -> str:
        names = found[1] or (found[2] or f"{{ default: {found[3]} }}").replace(" as ", ": ")
        return f'const {names} = modules["{_beside(name, found[4])}"];'

    body = _DEFAULT.sub("", _EXPORT.sub("", _IMPORT.sub(taken, text)))
    if other := _OTHER.search(body):
        raise ValueError(f"{name}: {other[0]}")
    return f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {", ".join(exported)} }};\n}})();\n'
