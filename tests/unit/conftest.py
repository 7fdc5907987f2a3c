"""Fixtures for the unit tests alone: moto and Valkey's package take the other tests a second to load.

Those that begin a server once stand here and nowhere below: where a module imports one, it has a server of its own.
"""

import hypothesis

from tests.unit.aws_fixture import fake_aws
from tests.unit.simulator_fixture import simulator
from tests.unit.valkey_fixture import (
    any_valkey,
    patience,
    redis_settings,
    valkey_client,
    valkey_cluster_client,
    valkey_cluster_url,
    valkey_url,
)

__all__ = [
    "any_valkey",
    "fake_aws",
    "patience",
    "redis_settings",
    "simulator",
    "valkey_client",
    "valkey_cluster_client",
    "valkey_cluster_url",
    "valkey_url",
]

# No test of ours is about how long an example takes, and on a busy machine a quick one may take long.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")
