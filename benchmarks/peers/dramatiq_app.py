"""dramatiq: threads, as its command line says."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers import work

broker = RedisBroker(url=work.BROKER)
broker.add_middleware(Results(backend=RedisBackend(url=work.BROKER)))
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name="reference", store_results=True, max_retries=0)
def run(message: str) -> str:
    """One run."""
    return work.complete(message)


def submit(messages: list[str]) -> None:
    """Queue runs."""
    for message in messages:
        run.send(message)
