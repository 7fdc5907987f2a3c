"""GitHub's workflows parse, call what exists, hold no secret and ask for no more rights than they need."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
import yaml

from localstack.environ import ROOT

WORKFLOWS = {path.name: path for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}


def read(name: str) -> dict[str, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(WORKFLOWS[name].read_text())
    loaded["on"] = loaded.pop(True)  # YAML 1.1 reads `on` so
    return loaded


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in read(name)["jobs"].values() for step in job["steps"]]


def test_there_are_these() -> None:
    assert list(WORKFLOWS) == ["deploy.yml", "test.yml"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_it_calls_exists(name: str) -> None:
    makefile = "\n".join((ROOT / path).read_text() for path in ("Makefile", "benchmarks/Makefile"))
    for command in (step["run"] for step in steps(name) if "run" in step):
        for target in re.findall(r"\bmake ([a-z-]+)", command):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
        for script in re.findall(r"^\./(\S+)", command):
            assert os.access(ROOT / script, os.X_OK), script
        for module in re.findall(r"python -m ([\w.]+)", command):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), module


@pytest.mark.parametrize("name", WORKFLOWS)
def test_it_holds_no_secret_and_asks_for_few_rights(name: str) -> None:
    text = WORKFLOWS[name].read_text()
    assert "secrets." not in text
    assert not re.search(r"AKIA|aws-secret-access-key|sk-[A-Za-z0-9]{8}", text)
    allowed = {"contents": "read"} | ({"id-token": "write"} if name == "deploy.yml" else {})
    assert read(name)["permissions"] == allowed
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]) for step in steps(name) if "uses" in step)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nothing_that_others_write_becomes_part_of_a_command(name: str) -> None:
    assert not [step["run"] for step in steps(name) if "${{" in step.get("run", "")]


def test_the_tests_are_those_of_the_repository() -> None:
    assert [step["run"] for step in steps("test.yml") if "run" in step] == ["./.ci/run"]
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_a_deployment_is_checked_before_it_is_made_and_only_by_hand() -> None:
    assert set(read("deploy.yml")["on"]) == {"workflow_dispatch"}
    commands = [step["run"] for step in steps("deploy.yml") if "run" in step]
    order = [
        next(n for n, c in enumerate(commands) if what in c)
        for what in ("lint", "preflight", "sam build", "deploy.stack")
    ]
    assert order == sorted(order)
