"""What environments at work are told by way of Valkey: which lanes are paused, and how many runs each may have."""

from collections.abc import Mapping

from functions.scaler import mappings
from shared.limits.lane import Lanes
from shared.logs import get_logger
from shared.settings import settings
from shared.valkey import RedisError

BELIEVED_SECONDS = 180.0
"""How long a pause is believed that no tick has confirmed."""


def pauses() -> list[str]:
    """Tell which lanes are paused, as their mappings are; returns them."""
    found = mappings.paused()
    try:
        Lanes().pause(dict.fromkeys(found, BELIEVED_SECONDS))
    except RedisError as error:
        get_logger("scaler").warning("pauses not told", extra={"cause": str(error)})
    return found


def slots(environments: Mapping[str, int]) -> None:
    """Tell how many runs each lane may have: the slots of the environments that it may have."""
    try:
        Lanes().limit({lane: size * settings().runs_per_environment for lane, size in environments.items()})
    except RedisError as error:
        get_logger("scaler").warning("limits not told", extra={"cause": str(error)})
