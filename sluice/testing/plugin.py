"""The pytest plugin. In a project, tests run on what its agents run on: Python 3.13 and the worker's own packages.

These are in the environment that ``.sluice/env`` of the project leads to, which is made when it is not there. pytest,
when started in another environment, goes on in that one with the same arguments. Outside of projects the plugin does
nothing.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluice.project import Local, ProjectError, root_of

if TYPE_CHECKING:
    from sluice.testing.world import World

HERE = "SLUICE_TESTS_HERE"
"""Variable that keeps the tests in the environment that pytest was started in."""
NEEDED = ("boto3", "moto", "openai", "redis")


def _able() -> bool:
    return sys.version_info >= (3, 13) and all(importlib.util.find_spec(name) for name in NEEDED)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before output is captured: the other process writes to the terminal
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> Any:
    """Go on in the project's own environment."""
    root = root_of(Path(str(early_config.invocation_params.dir)))
    if root is not None and not _able() and not os.environ.get(HERE):
        _go_on(root, [str(argument) for argument in early_config.invocation_params.args])
    return (yield)


def _go_on(root: Path, arguments: list[str]) -> None:
    if arguments != sys.argv[1:]:  # pytest.main() of a program that would be replaced
        raise pytest.UsageError("tests of a Sluice project are run by `python -m pytest`, or by `pytest`")
    here = Local(root)
    try:
        here.prepare()
    except ProjectError as error:
        raise pytest.UsageError(str(error)) from error
    command = [str(here.python), "-m", "pytest", "-p", __name__, *arguments]
    sys.stdout.flush()
    os.execve(command[0], command, here.environment(**{HERE: "1"}))


@pytest.hookimpl(trylast=True)  # a project's own may look for what is garbage by now
def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the collector pass over what is loaded: pytest has it look five times at the end, for a quarter of a run."""
    if root_of(session.config.rootpath) is not None:
        gc.freeze()


@pytest.fixture(scope="session")
def _sluice_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    from sluice.testing import servers

    with servers.simulator() as model, servers.valkey(tmp_path_factory.mktemp("valkey")) as redis:
        yield model, redis


@pytest.fixture
def world(
    request: pytest.FixtureRequest, _sluice_servers: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A worker of the project's agents between real parts; see `sluice.testing.World`."""
    from sluice.testing import account, bench, servers
    from sluice.testing import world as worlds

    model, redis = _sluice_servers
    with (
        account.account(monkeypatch) as queues,
        servers.emptied(redis, monkeypatch),
        bench.bench(model, queues, monkeypatch) as made,
        worlds.world(made, monkeypatch, _own(request)) as found,
    ):
        yield found


def _own(request: pytest.FixtureRequest) -> dict[str, str]:
    root = root_of(request.config.rootpath)
    if root is None:
        return {}
    from deploy.project import load

    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return load(root).agents()
