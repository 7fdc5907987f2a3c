"""The dashboard's modules as two scripts: nothing is missing or stands twice; what cannot be joined is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from functions.api.routes import dashboard
from functions.api.system import scripts

DEFINED = re.compile(r'^modules\["([^"]+)"\] = ', re.MULTILINE)
USED = re.compile(r'= modules\["([^"]+)"\];$', re.MULTILINE)


def test_every_module_stands_in_one_script_behind_what_it_imports() -> None:
    everything = "".join(map(scripts.script, scripts.GROUPS))
    defined: list[str] = []
    for line in everything.splitlines():
        defined += DEFINED.findall(line)
        assert {*USED.findall(line)} <= {*defined}, line
    assert sorted(defined) == sorted(
        {name for name in dashboard.files() if name.endswith(".js")} - {"js/theme-first.js"}
    )


def test_what_is_imported_is_exported() -> None:
    """Else a name is undefined until somebody uses it: a module's own error would tell at once."""
    everything = "".join(map(scripts.script, scripts.GROUPS))
    sections = re.findall(
        r'^modules\["([^"]+)"\] = \(\(\) => \{\n(.*?)\nreturn \{ (.*?) \};\n\}\)\(\);$', everything, re.M | re.S
    )
    exports = {name: {one.partition(":")[0] for one in exported.split(", ")} for name, _, exported in sections}
    for name, body, _ in sections:
        for names, other in re.findall(r'^const \{ ([^}]+) \} = modules\["([^"]+)"\];$', body, re.M):
            assert {one.partition(":")[0] for one in names.split(", ")} <= exports[other], name
        for whole, other in re.findall(r'^const (\w+) = modules\["([^"]+)"\];$', body, re.M):
            assert {*re.findall(rf"(?<![./\w]){whole}\.(\w+)", body)} <= exports[other], name


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a page of two modules, `a.js` and `deep/b.js`, which the first imports."""
    monkeypatch.setattr(scripts, "MODULES", tmp_path)
    monkeypatch.setattr(scripts, "GROUPS", {"all.js": ("a.js",)})
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.js").write_text("export const one = 1;\nexport async function two() {}\nclass C {}\n")
    scripts._grouped.cache_clear()
    return tmp_path


def test_a_module_has_a_scope_of_its_own(modules: Path) -> None:
    (modules / "a.js").write_text('import { one as eins, two } from "./deep/b.js";\nexport class A {}\neins;\n')
    assert scripts.script("all.js") == (
        "export const modules = {};\n"
        'modules["deep/b.js"] = (() => {\nconst one = 1;\nasync function two() {}\nclass C {}\n\n'
        "return { one, two };\n})();\n"
        'modules["a.js"] = (() => {\nconst { one: eins, two } = modules["deep/b.js"];\nclass A {}\neins;\n\n'
        "return { A };\n})();\n"
    )


def test_a_module_may_have_one_export_for_all(modules: Path) -> None:
    (modules / "a.js").write_text('import thing from "./deep/b.js";\n')
    (modules / "deep" / "b.js").write_text("/*\nexport function old() {}\n*/\nclass B {}\nexport { B as default };\n")
    made = scripts.script("all.js")
    assert "class B {}\n\n\nreturn { default: B };" in made
    assert 'const { default: thing } = modules["deep/b.js"];' in made


@pytest.mark.parametrize(
    "line",
    [
        'import "./deep/b.js";',
        'import x, { one } from "./deep/b.js";',
        'import { one } from "elsewhere";',
        'import { one } from "./deep/b.js"',
        "export let one = 1;",
        "export default 1;",
        'export * from "./deep/b.js";',
        "const here = import.meta.url;",
    ],
)
def test_what_it_does_not_know_is_refused(modules: Path, line: str) -> None:
    (modules / "a.js").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=re.escape(line.removeprefix("const here = "))):
        scripts.script("all.js")


def test_modules_that_need_each_other_are_refused(modules: Path) -> None:
    (modules / "a.js").write_text('import { one } from "./deep/b.js";\n')
    (modules / "deep" / "b.js").write_text('import { A } from "../a.js";\n')
    with pytest.raises(ValueError, match="needs itself"):
        scripts.script("all.js")
