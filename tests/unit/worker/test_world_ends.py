"""When a test's world ends, nothing of it goes on: a thread of it would meet the next test's."""

import threading

import pytest

from functions.worker.environment import environment as environment_module
from sluice.testing.bench import bench


def hearts() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "heartbeat"}


def test_no_heart_beats_on(simulator: str, fake_aws: dict[str, str], redis_settings: str) -> None:
    assert redis_settings
    before = hearts()
    with pytest.MonkeyPatch.context() as patch:
        with bench(simulator, fake_aws, patch) as world:
            for _ in range(2):
                world.submit("[[sim words=1]] hello")
                world.work_until_quiet()
                patch.setattr(environment_module, "_environment", None)  # another environment takes over
            begun = hearts() - before
            assert len(begun) == 2
        for thread in begun:
            thread.join(30)
        assert not hearts() & begun
