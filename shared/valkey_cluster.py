"""The client of a Valkey cluster: apart from `shared.valkey`, since few deployments need it."""

from functools import cache
from typing import Any

from redis.cluster import RedisCluster


@cache
def with_words(words: type) -> Any:
    """Return the class of such clients, whose commands ``words`` carries out."""

    class Cluster(words, RedisCluster):  # type: ignore[misc]
        def close(self) -> None:
            """Close what its nodes hold, too, which redis-py leaves to the collector."""
            super().close()
            self.disconnect_connection_pools()  # type: ignore[no-untyped-call]

    return Cluster
