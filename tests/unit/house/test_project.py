"""What a project's pyproject.toml may say, and what its agents may import."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import agents
from deploy.project import Project, ProjectError, load
from deploy.reached import reached


def project(root: Path, tool: str = "[tool.sluice]\n", **files: str) -> Path:
    """Write a project; ``a__b`` stands for ``a/b.py``, as does ``a/b``."""
    (root / "pyproject.toml").write_text(tool)
    for name, text in files.items():
        path = root / ((name if "/" in name else name.replace("__", "/")) + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("tool", "names"),
    [
        ("[tool.other]", "no [tool.sluice]"),
        ("[tool.sluice]\nagent = 'a'", "has no agent"),
        ("[tool.sluice]\nagents = '../a'", "Python names"),
        ("[tool.sluice]\nagents = 3", "Python names"),
        ("[tool.sluice]\nrequirements = [1]", "list of texts"),
        ("[tool.sluice]\nrequirements = 'none.txt'", "no file 'none.txt'"),
        ("[tool.sluice.parameters]\nA = [1]", "A must be"),
        ("[tool.sluice.stages.x]\nstack = 1", "stack must be a text"),
        ("[tool.sluice.stages.x]\nregions = 'y'", "has no regions"),
        ("[tool.sluice", "pyproject.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, tool: str, names: str) -> None:
    with pytest.raises(ProjectError) as told:
        load(project(tmp_path, tool))
    assert names in str(told.value)


def test_parameters_of_a_stage_go_before_those_of_all(tmp_path: Path) -> None:
    told = load(
        project(
            tmp_path,
            "[tool.sluice.parameters]\nA = 1\nB = true\n[tool.sluice.stages.p]\nstack = 's'\nparameters = { A = 2 }\n",
        )
    )
    assert told.local.parameters == {"A": "1", "B": "true"}
    assert told.stage("p").parameters == {"A": "2", "B": "true"}
    assert told.stage("p").stack == "s"
    with pytest.raises(ProjectError, match="it has: p"):
        told.stage("q")


def test_agents_are_named_by_their_files(tmp_path: Path) -> None:
    root = project(tmp_path, agents__hello="", agents___helper="", agents__more__deep="")
    assert load(root).agents() == {"hello": "agents.hello"}
    (root / "agents" / "my-agent.py").write_text("")
    with pytest.raises(ProjectError, match=r"my-agent\.py"):
        load(root).agents()


def test_no_folder_and_no_agent_are_told(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no folder 'agents'"):
        load(project(tmp_path)).agents()
    (tmp_path / "agents").mkdir()
    with pytest.raises(ProjectError, match="no agent in 'agents'"):
        load(tmp_path).agents()


def test_what_agents_import_is_found_wherever_it_is_imported(tmp_path: Path) -> None:
    root = project(
        tmp_path,
        agents__hello="import json\nfrom . import _near\nfrom shared.prices import table\nimport sluice, redis.client\n"
        "def later():\n    from lib import deep\n",
        agents___near="from ._next import x",
        agents___next="x = 1",
        **{"shared/__init__": ""},
        shared__prices="from .money import usd\ntable = {}",
        shared__money="usd = 1",
        shared__unused="",
        lib__deep="",
    )
    found = reached(root, ["agents.hello"], {"redis"})
    assert found.missing == []
    assert {str(path.relative_to(root)) for path in found.files} == {
        "agents/hello.py",
        "agents/_near.py",
        "agents/_next.py",
        "shared/__init__.py",
        "shared/prices.py",
        "shared/money.py",
        "lib/deep.py",
    }


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import requests", "agents/hello.py:1: imports requests"),
        ("\nfrom requests import get", "agents/hello.py:2: imports requests"),
        ("from lib import gone", "imports lib.gone"),
        ("from lib.gone import x", "imports lib.gone"),
        ("from . import gone", "imports agents.gone"),
        ("from .gone import x", "imports agents.gone"),
        ("def f():\n  import gone", "agents/hello.py:2"),
        ("match 1:\n  case 1:\n    import gone", "agents/hello.py:3"),
        ("from sluice.client import Client", "sluice.client is not for agents"),
        ("async def run(ctx)", "agents/hello.py:1: cannot be read"),
        ("from other import x", "other.py:1: imports missing"),
    ],
)
def test_what_nothing_provides_is_named_with_its_place(tmp_path: Path, code: str, names: str) -> None:
    root = project(tmp_path, agents__hello=code, lib__there="", other="import missing\nx = 1")
    found = reached(root, ["agents.hello"], set())
    assert len(found.missing) == 1
    assert names in found.missing[0]


@pytest.mark.parametrize(
    "code",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gone",
        "try:\n    import gone\nexcept ImportError:\n    gone = None",
        "try:\n    import gone\nexcept (OSError, ModuleNotFoundError):\n    gone = None",
    ],
)
def test_what_may_be_missing_is_not_complained_of(tmp_path: Path, code: str) -> None:
    assert reached(project(tmp_path, agents__hello=code), ["agents.hello"], set()).missing == []


def test_a_try_that_catches_something_else_needs_its_import(tmp_path: Path) -> None:
    root = project(tmp_path, agents__hello="try:\n    import gone\nexcept ValueError:\n    pass")
    assert len(reached(root, ["agents.hello"], set()).missing) == 1


def test_a_bundle_gets_the_projects_agents_beside_sluices_own(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    root = project(tmp_path / "p" if (tmp_path / "p").mkdir() is None else tmp_path, agents__chat="", agents__hello="")
    (root / "agents" / "greetings.json").write_text("{}")
    found = agents.gather(load(root), packages)
    assert found.registered["hello"] == "agents.hello"
    assert found.registered["chat"] == "agents.chat"  # goes before the built-in one
    assert found.registered["tools"] == "functions.worker.agents.tools"
    assert Path("agents/greetings.json") in found.files


def test_a_name_that_the_bundle_has_already_is_refused(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (packages / "redis").mkdir(parents=True)
    root = tmp_path / "p"
    root.mkdir()
    project(root, agents__hello="import redis", redis="")
    with pytest.raises(ProjectError, match="redis: the bundle has a package of that name"):
        agents.gather(load(root), packages)


def test_sluices_own_agents_pass_the_same_check() -> None:
    from deploy.bundle import ROOT

    own = reached(
        ROOT,
        list(agents.built_in().values()),
        {"httpx2", "httpcore2", "boto3", "botocore", "redis", "openai", "hiredis"},
    )
    assert [line for line in own.missing if "is not for agents" not in line] == []


def test_a_file_named_to_be_included_must_be_there(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    root = tmp_path / "p"
    root.mkdir()
    project(root, agents__hello="")
    with pytest.raises(ProjectError, match="'prompts' is not in the project"):
        agents.gather(Project(root=root, include=("prompts",)), packages)


def test_bytecode_goes_into_the_bundle_wherever_that_of_this_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploy import bytecode

    monkeypatch.setattr(bytecode, "KEPT", tmp_path / "kept")
    monkeypatch.setattr("sys.pycache_prefix", str(tmp_path / "elsewhere"))
    code = project(tmp_path, agents__hello="x = 1") / "agents" / "hello.py"
    bytecode.compile_files([code], tmp_path)
    assert list((tmp_path / "agents" / "__pycache__").glob("hello.*.pyc"))
    assert not (tmp_path / "elsewhere").exists()
