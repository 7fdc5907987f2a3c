"""The lanes' event source mappings: how many environments Lambda may use for each, read and set."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.logs import get_logger
from shared.scaling.policy import Decision
from shared.settings import settings


def uuids() -> dict[str, str]:
    """Return the mappings that the scaler manages, by lane."""
    known = {"high": settings().esm_uuid_high, "normal": settings().esm_uuid_normal}
    return {lane: uuid for lane, uuid in known.items() if uuid}


def _read() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield lanes with their mappings; one that cannot be read is left out."""
    for lane, uuid in uuids().items():
        try:
            yield lane, dict(aws.lambda_client().get_event_source_mapping(UUID=uuid))
        except (ClientError, BotoCoreError) as error:
            get_logger("scaler").warning("mapping not read", extra={"lane": lane, "cause": str(error)})


def current() -> dict[str, int]:
    """Return the ``MaximumConcurrency`` set now; a lane is absent where it cannot be read or has none."""
    limits = {lane: mapping.get("ScalingConfig", {}).get("MaximumConcurrency") for lane, mapping in _read()}
    return {lane: limit for lane, limit in limits.items() if limit is not None}


PAUSED = frozenset({"Disabled", "Disabling"})
"""States of a mapping whose lane is paused."""


def paused() -> list[str]:
    """Return the lanes whose mappings are switched off; one that cannot be read counts as running."""
    return [lane for lane, mapping in _read() if mapping.get("State") in PAUSED]


def apply(decision: Decision, now_set: dict[str, int]) -> list[str]:
    """Set the limits that differ from what is set now, shrinking first; returns the lanes that failed.

    That order keeps the sum below the limit at every moment. If a shrink fails, nothing grows: the next tick
    tries again from what is really set.
    """
    targets = {lane: one.target for lane, one in decision.lanes.items()}
    order = sorted(uuids().items(), key=lambda item: targets[item[0]] - now_set.get(item[0], 0))
    failed: list[str] = []
    for lane, uuid in order:
        if targets[lane] == now_set.get(lane):
            continue
        if failed:
            failed.append(lane)
            continue
        try:
            aws.lambda_client().update_event_source_mapping(
                UUID=uuid, ScalingConfig={"MaximumConcurrency": targets[lane]}
            )
        except (ClientError, BotoCoreError) as error:
            get_logger("scaler").warning("mapping not updated", extra={"lane": lane, "cause": str(error)})
            failed.append(lane)
    return failed
