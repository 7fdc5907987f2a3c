"""Fixtures of the limits' tests."""

from tests.unit.valkey_fixture import any_valkey, redis_settings, valkey_cluster_url, valkey_url

__all__ = ["any_valkey", "redis_settings", "valkey_cluster_url", "valkey_url"]
