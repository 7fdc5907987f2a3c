"""These tests run twice: against moto, and against an emulator with another opinion of what AWS does."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sluice.testing.account import account
from tests.unit import emulator_fixture
from tests.unit.emulator_fixture import emulator

__all__ = ["emulator"]

MOTO_ONLY = {
    "test_life_model": "hundreds of interleavings: minutes over a socket",
    "test_recorded": "reads items as moto keeps them",
}
"""Modules that only moto runs, and why."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have each test that wants an account run against both."""
    if "fake_aws" in metafunc.fixturenames:
        alone = metafunc.module.__name__.rpartition(".")[2] in MOTO_ONLY
        second = pytest.param("emulator", marks=pytest.mark.together("emulator"))
        opinions = [second] if os.environ.get("SECOND_OPINION") else ["moto", second]
        metafunc.parametrize("fake_aws", ["moto"] if alone else opinions, indirect=True)


@pytest.fixture
def fake_aws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Yield the lanes' URLs of a fresh account, in moto or in the emulator."""
    if request.param == "moto":
        with account(monkeypatch) as lanes:
            yield lanes
        return
    with emulator_fixture.account(monkeypatch, request.getfixturevalue("emulator")) as lanes:
        yield lanes
