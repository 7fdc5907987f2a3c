"""Ports, files and variables of the local system."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import pytest

from localstack import environ
from localstack.environ import LocalError, Port


def test_a_port_has_a_default_and_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_PORT", raising=False)
    assert Port("SOME_PORT", 4566).number == 4566
    monkeypatch.setenv("SOME_PORT", "15000")
    assert Port("SOME_PORT", 4566).number == 15000


@pytest.mark.parametrize("text", ["0", "65536", "-1", "4566a", "1.5", "²"])
def test_a_wrong_port_names_the_variable(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PORT", text)
    with pytest.raises(LocalError, match="SOME_PORT must be a port number"):
        _ = Port("SOME_PORT", 1).number


def test_private_files_are_private_even_if_they_were_not(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("old")
    path.chmod(0o644)
    environ.write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_developers_aws_settings_stay_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\nendpoint_url = http://127.0.0.1:2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PORT", "4999")  # ours
    environ.use_aws("http://127.0.0.1:4566")
    client = boto3.session.Session().client("sqs")
    assert client.meta.endpoint_url == "http://127.0.0.1:4566"
    assert client.meta.region_name == environ.REGION
    assert os.environ["AWS_PORT"] == "4999"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_SQS"} & set(os.environ)


def test_local_addresses_are_not_proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    environ.use_aws("http://127.0.0.1:4566")
    assert os.environ["NO_PROXY"] == "intranet,127.0.0.1,localhost"


def test_without_a_running_system_the_command_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path))
    with pytest.raises(LocalError, match="make up"):
        environ.outputs()
