"""What is installed is pinned by hash, and what is shipped has a licence that lets it be shipped. Works offline."""

from __future__ import annotations

import ast
import json
import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from itertools import pairwise
from pathlib import Path

import pytest

from deploy.audit import Report, take, yanked
from deploy.bundle import FUNCTIONS
from localstack.environ import ROOT
from tests.unit import sources
from tests.unit.sources import nodes_of

pytestmark = sources.together

FILES = sorted((ROOT / "requirements").glob("*.txt"))
BUNDLES = sorted({requirements for _, requirements in FUNCTIONS.values()})
NEVER_INSTALLED = ("sys_platform == 'emscripten'", "sys_platform == 'win32'", "platform_system == 'Windows'")
ALLOWED = {"MIT", "MIT-0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC", "PSF-2.0", "MPL-2.0", "0BSD"}
"""Licences that ask for no more than notices of who ships (MPL: of who changes the package's own files)."""
SPOKEN = {
    "apache license 2.0": "Apache-2.0", "apache software license": "Apache-2.0", "apache 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0", "mit license": "MIT", "bsd license": "BSD", "isc license": "ISC",
    "dual license": "BSD-3-Clause OR Apache-2.0", "3-clause bsd license": "BSD-3-Clause",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}  # fmt: skip
"""How packages that do not use SPDX expressions call their licences."""


def requirements(path: Path) -> list[str]:
    """Return a file's requirements, each with its continuation lines."""
    text = path.read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_requirement_is_pinned_to_one_version_by_hashes(path: Path) -> None:
    assert requirements(path)
    for requirement in requirements(path):
        assert re.match(r"[A-Za-z0-9._\[\]-]+==[^ ;]+ ", requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", requirement), requirement


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_is_made_from_what_is_asked_for(path: Path) -> None:
    pinned = {re.split(r"[\[=]", each)[0].lower() for each in requirements(path)}
    for line in path.with_suffix(".in").read_text().splitlines():
        if line and not line.startswith(("#", "-r", "-c")):
            assert re.split(r"[\[=;<> ]", line)[0].lower() in pinned, line


def licence(name: str) -> str:
    """Return a package's licence as an SPDX expression, as far as its metadata lets one tell."""
    about = distribution(name).metadata
    if about.get("License-Expression"):
        return str(about["License-Expression"])
    told = [each.rsplit(" :: ", 1)[-1] for each in about.get_all("Classifier", []) if each.startswith("License ::")]
    told = told or [str(about.get("License", "")).strip()]
    return " AND ".join(SPOKEN.get(each.lower(), each) for each in told)


def acceptable(expression: str) -> bool:
    """Tell whether an expression can be met with allowed licences alone."""
    expression = expression.replace("(", " ").replace(")", " ")
    return all(any(choice.strip() in ALLOWED for choice in part.split(" OR ")) for part in expression.split(" AND "))


@pytest.mark.parametrize("bundle", BUNDLES)
def test_licences_of_shipped_packages_are_allowed(bundle: str) -> None:
    for requirement in requirements(ROOT / "requirements" / f"{bundle}.txt"):
        name = requirement.split("==")[0]
        try:
            found = licence(name)
        except PackageNotFoundError:
            assert any(marker in requirement for marker in NEVER_INSTALLED), f"{name} is not installed"
            continue
        assert acceptable(found), f"{name}: {found!r}"


@pytest.mark.parametrize(
    ("expression", "good"),
    [("MIT", True), ("GPL-3.0-only OR MIT", True), ("MIT AND GPL-3.0-only", False), ("", False), ("UNKNOWN", False)],
)
def test_what_counts_as_allowed(expression: str, good: bool) -> None:
    assert acceptable(expression) is good


def answer(**package: object) -> str:
    return json.dumps({"dependencies": [{"name": "x", "version": "1", "vulns": []} | package], "fixes": []})


def test_an_audit_that_was_not_answered_is_not_clean() -> None:
    clean, silent, away, bad = Report(), Report(), Report(), Report()
    take(clean, "a.txt", answer(), "")
    take(silent, "a.txt", answer(skip_reason="not found"), "")
    take(away, "a.txt", "", "Traceback\nConnectionError: no way")
    take(bad, "a.txt", answer(vulns=[{"id": "CVE-1", "fix_versions": ["2"]}]), "")
    assert [report.code() for report in (clean, silent, away, bad)] == [0, 2, 2, 1]
    assert "NOT AUDITED" in "\n".join(silent.lines())
    assert "NOT AUDITED" in "\n".join(away.lines())
    assert "CVE-1 (mended in 2)" in "\n".join(bad.lines())
    assert Report().code() == 2


def test_yanked_releases_are_seen() -> None:
    assert len(yanked('Resolved 1\nwarning: `x==1` is yanked (reason: "broken")\n')) == 1


def test_policy_exceptions_have_reasons() -> None:
    lines = (ROOT / ".checkov.yaml").read_text().split("skip-check:")[1].splitlines()
    for before, line in pairwise(lines):
        if line.strip().startswith("- "):
            assert before.strip().startswith("#"), line
    for skip in re.findall(r"\{ id: CKV_[^}]*\}", (ROOT / "template.yaml").read_text()):
        assert re.search(r'comment: "[^"]{20,}"', skip), skip


RUN_IN_PROJECTS = ("localstack.__main__", "localstack.live", "deploy.project_check", "deploy.release", "deploy.operate")
"""Modules that `sluice` starts in a project's own environment (`sluice.cli.system`)."""


def third_parties(module: str) -> set[str]:
    """Return the packages of others that a module of ours, and what it imports of ours, import anywhere."""
    found: set[str] = set()
    left, seen = [module], set[str]()
    while left:
        name = left.pop()
        path = ROOT / (name.replace(".", "/") + ".py")
        path = path if path.exists() else ROOT / name.replace(".", "/") / "__init__.py"
        if name in seen or not path.exists():
            continue
        seen.add(name)
        for node in nodes_of(path):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                continue
            for one in names:
                top = one.partition(".")[0]
                if top in ("localstack", "deploy", "shared", "functions", "sluice"):
                    left.append(one)
                elif top not in sys.stdlib_module_names and not top.startswith("types_"):  # read by mypy alone
                    found.add(top)
    return found


distributions = cache(packages_distributions)
"""Which package an import is of: to read all that is installed takes a third of a second."""


@pytest.mark.parametrize("module", RUN_IN_PROJECTS)
def test_what_a_project_starts_finds_what_it_imports(module: str) -> None:
    pinned = {re.split(r"[\[=]", each)[0].lower() for each in requirements(ROOT / "requirements" / "project.txt")}
    known = distributions()
    missing = {
        top
        for top in third_parties(module)
        if not any(re.sub("[-_.]+", "-", each).lower() in pinned for each in known.get(top, [top]))
    }
    assert missing == set()
