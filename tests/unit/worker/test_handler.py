"""The worker's entry: what an environment does once, with its first batch."""

import asyncio
import gc

import pytest

from functions.worker import handler
from functions.worker.environment import environment
from shared.clock import now

pytestmark = pytest.mark.usefixtures("fake_aws")


def test_what_the_first_batch_loaded_is_kept_out_of_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_environment", None)
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    handler._keep.cache_clear()

    async def batches() -> None:
        for _ in range(2):
            assert await handler._invoke({"Records": []}, now() + 60) == {"batchItemFailures": []}
            assert frozen == [True]

    asyncio.run(batches())
