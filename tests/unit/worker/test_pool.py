"""A thousand model calls in one environment share the pool's connections, across invocations."""

import asyncio

import pytest

from functions.worker.environment import clients
from functions.worker.model import call as model_client
from shared.settings import settings
from tests.unit.worker.conftest import World


@pytest.mark.parametrize(("profile", "most", "kept"), [("low", 20, 5), ("medium", 100, 20)])
def test_a_thousand_calls_open_no_more_connections_than_the_profile_allows(
    world: World, profile: str, most: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOL_PROFILE", profile)
    monkeypatch.setenv("MODEL_TIMEOUT_SECONDS", "50")
    settings.cache_clear()

    async def invocation(runs: int) -> None:
        gate = asyncio.Semaphore(200)

        async def one(n: int) -> None:
            async with gate:
                messages = [{"role": "user", "content": f"[[sim key=p{n} words=1]] hi"}]
                await model_client.call(
                    "m", messages, tools=None, max_output_tokens=10, timeout_s=60, on_delta=lambda _: None
                )

        await asyncio.gather(*(one(n) for n in range(runs)))

    def connections() -> dict[str, int]:
        found: dict[str, int] = world.sim.get("/stats").json()["connections"]
        return found

    for _ in range(4):  # four invocations on the environment's one loop
        world.runner.run(invocation(250))
    found = connections()
    assert world.sim.get("/stats").json()["completed"] == 1000
    assert found["model_open_max"] <= most
    # Connections above what is kept alive are closed between bursts, never more than the profile each time.
    assert found["model_opened"] <= 4 * most
    before = found["model_opened"]
    world.runner.run(invocation(kept))
    assert connections()["model_opened"] == before  # the kept ones were used again


def test_the_clients_are_made_once(world: World) -> None:
    assert world
    assert clients.http() is clients.http()
    assert clients.model() is clients.model()
