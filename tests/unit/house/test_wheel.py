"""The wheel: one top-level name, and every import of the system's packages under it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy import wheel
from localstack.environ import ROOT

OLDEST = (3, 11)
"""Oldest Python that the command, the client and the plugin run on."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def sources(archive: zipfile.ZipFile) -> dict[str, str]:
    return {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")}


def test_it_has_one_top_level_name(built: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in built.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sluice"}


def test_no_module_imports_a_plain_name(built: zipfile.ZipFile) -> None:
    plain = []
    for name, text in sources(built).items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                plain += [(name, node.module)] if node.module.partition(".")[0] in wheel.INNER else []
            elif isinstance(node, ast.Import):
                plain += [(name, each.name) for each in node.names if each.name.partition(".")[0] in wheel.INNER]
    assert plain == []


def test_the_template_names_handlers_where_they_are(built: zipfile.ZipFile) -> None:
    text = built.read("sluice/_system/template.yaml").decode()
    handlers = re.findall(r"(?m)^\s+Handler: (\S+)$", text)
    assert len(handlers) >= 7
    for handler in handlers:
        assert f"{handler.rpartition('.')[0].replace('.', '/')}.py" in built.namelist()


def test_what_runs_in_a_users_environment_is_read_by_the_oldest_python(built: zipfile.ZipFile) -> None:
    for name, text in sources(built).items():
        if not name.startswith(("sluice/_system/", "sluice/testing/")) or name == "sluice/testing/plugin.py":
            ast.parse(text, feature_version=OLDEST)


def test_what_a_project_needs_is_in_it(built: zipfile.ZipFile) -> None:
    names = set(built.namelist())
    for name in ("py.typed", "_system/requirements/project.txt", "_system/requirements/worker.in", "cli/new/README.md"):
        assert f"sluice/{name}" in names
    assert any(name.endswith(".lua") for name in names)
    assert [name for name in names if "/tests/" in name and "/cli/new/" not in name] == []


def test_an_import_of_a_whole_package_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x\.py:2"):
        wheel.renamed("a = 1\nimport shared.clock\n", "x.py")


def test_only_imports_are_renamed() -> None:
    text = "from shared.a import b\n    from functions import c\nfrom sharedness import d\nx = 'from shared'\n"
    assert wheel.renamed(text, "x.py").splitlines() == [
        "from sluice._system.shared.a import b",
        "    from sluice._system.functions import c",
        "from sharedness import d",
        "x = 'from shared'",
    ]


def test_licence_and_page_go_with_it(built: zipfile.ZipFile) -> None:
    assert any(Path(name).name == "LICENSE" for name in built.namelist())
