"""When the local system is built and deployed anew, and with which parameters."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy import build, packages, stack
from deploy.project import ProjectError
from localstack import deployment, left_out
from localstack.environ import LocalError

ENDPOINT = "http://127.0.0.1:4566"


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count deployments instead of making them: what makes one is the question here."""
    done: list[str] = []
    monkeypatch.setattr(deployment, "build", lambda: done.append("build"))
    monkeypatch.setattr(left_out, "complete", lambda *_: None)
    monkeypatch.setattr(stack, "read_template", lambda _: {})
    monkeypatch.setattr(stack, "deploy", lambda *_, **__: {"ApiId": "51a1ce00"})
    monkeypatch.setattr(stack, "exists", lambda _: True)
    return done


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "shared").mkdir(parents=True)
    (root / "template.yaml").write_text("Resources: {}")
    (root / "shared/a.py").write_text("x = 1")
    monkeypatch.setattr(deployment, "ROOT", root)
    monkeypatch.setattr(deployment, "SOURCES", ("template.yaml", "shared"))
    return root


def test_nothing_changed_nothing_done(deployed: list[str], sources: Path, tmp_path: Path) -> None:
    first = deployment.deploy(tmp_path, ENDPOINT, {"A": "1"})
    assert deployment.deploy(tmp_path, ENDPOINT, {"A": "1"}) == (first[0], False)
    assert deployed == ["build"]


@pytest.mark.parametrize(
    "change", ["content", "name", "new", "template", "parameter", "endpoint", "force", "stack gone"]
)
def test_every_change_is_deployed(
    change: str, deployed: list[str], sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.deploy(tmp_path, ENDPOINT, {"A": "1"})
    if change == "content":
        (sources / "shared/a.py").write_text("x = 2")
    elif change == "name":
        (sources / "shared/a.py").rename(sources / "shared/b.py")
    elif change == "new":
        (sources / "shared/c.lua").write_text("")
    elif change == "template":
        (sources / "template.yaml").write_text("Resources: {A: 1}")
    elif change == "stack gone":
        monkeypatch.setattr(stack, "exists", lambda _: False)
    parameters = {"A": "2"} if change == "parameter" else {"A": "1"}
    endpoint = "http://127.0.0.1:4999" if change == "endpoint" else ENDPOINT
    assert deployment.deploy(tmp_path, endpoint, parameters, force=change == "force")[1]
    assert deployed == ["build", "build"]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Count builds of the bundles instead of making them."""
    built, done = tmp_path / "built", list[str]()
    built.mkdir()
    monkeypatch.setattr(stack, "BUILT", built)

    def build_anew() -> None:
        assert not (built / "made-from").exists()
        done.append("build")
        if "broken" in (deployment.ROOT / "shared/a.py").read_text():
            raise ProjectError("broken")
        (built / "template.yaml").write_text(f"Resources: {{}}\nBuilt: {len(done)}")

    monkeypatch.setattr(build, "build_anew", build_anew)
    return done


def test_what_was_built_from_the_same_sources_is_not_built_again(
    builds: list[str], sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deployment.build()["Built"] == 1
    assert deployment.build()["Built"] == 1
    (sources / "shared/a.py").write_text("x = 2")
    assert deployment.build()["Built"] == 2
    (sources / "shared/a.py").write_text("broken")
    with pytest.raises(LocalError):
        deployment.build()
    (sources / "shared/a.py").write_text("x = 2")
    assert deployment.build()["Built"] == 4  # what a failed build left is nobody's
    monkeypatch.setenv("BUNDLE_PLATFORM", "aarch64-manylinux2014")
    monkeypatch.setattr(deployment, "bundle_platform", lambda: "another")
    assert deployment.build()["Built"] == 5
    assert builds == ["build"] * 5


def test_bytecode_and_the_clock_are_no_change(deployed: list[str], sources: Path, tmp_path: Path) -> None:
    deployment.deploy(tmp_path, ENDPOINT, {})
    (sources / "shared/__pycache__").mkdir()
    (sources / "shared/__pycache__/a.pyc").write_bytes(b"x")
    os.utime(sources / "shared/a.py", (1, 1))
    assert not deployment.deploy(tmp_path, ENDPOINT, {})[1]


def test_no_parameter_is_written_down(deployed: list[str], sources: Path, tmp_path: Path) -> None:
    deployment.deploy(tmp_path, ENDPOINT, {"OpenaiApiKey": "sk-very-secret"})
    note = tmp_path / "deployed.json"
    assert "very-secret" not in note.read_text()
    assert note.stat().st_mode & 0o777 == 0o600


def test_parameters_are_read_and_win(tmp_path: Path) -> None:
    extra = deployment.parameters_from("LeaseSeconds=6 OpenaiBaseUrl=http://h/v1?a=b  MaxReplicas=12")
    found = deployment.all_parameters(
        tmp_path, endpoint=ENDPOINT, redis_url="redis://r", llm_url="http://l", stream_url="http://s", extra=extra
    )
    assert (found["LeaseSeconds"], found["OpenaiBaseUrl"], found["MaxReplicas"]) == ("6", "http://h/v1?a=b", "12")
    assert found["RedisUrl"] == "redis://r"


def test_malformed_parameters_are_explained() -> None:
    with pytest.raises(LocalError, match="Name=value"):
        deployment.parameters_from("LeaseSeconds 6")


def test_the_webhook_secret_stays_the_same(tmp_path: Path) -> None:
    def secret() -> str:
        found = deployment.all_parameters(
            tmp_path, endpoint=ENDPOINT, redis_url="", llm_url="", stream_url="", extra={}
        )
        return found["WebhookSecret"]

    assert secret() == secret()
    assert len(secret()) >= 32


def bundle(folder: Path, text: str) -> Path:
    (folder / "functions").mkdir(parents=True)
    (folder / "functions/handler.py").write_text(text)
    (folder / "empty.py").write_text("")
    return folder


def test_bundles_of_the_same_content_are_the_same(tmp_path: Path) -> None:
    one, two = bundle(tmp_path / "one", "x = 1"), bundle(tmp_path / "two", "x = 1")
    os.utime(two / "empty.py", (1, 1))
    other = bundle(tmp_path / "other", "x = 2")
    known = packages.Digests(tmp_path / "digests.json")
    digests = [packages.digest_of(folder, known) for folder in (one, two, other)]
    assert digests[0] == digests[1] != digests[2]
    for folder in (one, two):
        packages.zip_folder(folder, folder.with_suffix(".zip"))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == ["empty.py", "functions/handler.py"]
        assert archive.getinfo("empty.py").external_attr >> 16 & 0o777 == 0o644


def test_a_rename_changes_a_digest(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "one", "x = 1")
    known = packages.Digests(tmp_path / "digests.json")
    before = packages.digest_of(folder, known)
    (folder / "empty.py").rename(folder / "void.py")
    assert packages.digest_of(folder, known) != before


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({}, {"worker": 25, "streaming": 50}),
        ({"ApiReservedConcurrency": "7", "StreamingConcurrency": "0"}, {"api": 7, "worker": 25}),
        ({"ApiReservedConcurrency": "7", "ReserveConcurrency": "false"}, {"api": 7}),
    ],
)
def test_what_the_template_reserves_is_reserved(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str], wanted: dict[str, int]
) -> None:
    reserved = {"api": 900, "worker": 1, "streaming": 1}  # as an earlier deployment left it: too much beside the new

    def put(*, FunctionName: str, ReservedConcurrentExecutions: int) -> None:
        reserved[FunctionName] = ReservedConcurrentExecutions
        assert sum(reserved.values()) <= 900

    client = SimpleNamespace(
        put_function_concurrency=put, delete_function_concurrency=lambda FunctionName: reserved.pop(FunctionName)
    )
    monkeypatch.setattr("boto3.client", lambda _: client)
    names = {f"{name.capitalize()}FunctionName": name for name in reserved}
    left_out.reserve(parameters, names)
    assert reserved == wanted
