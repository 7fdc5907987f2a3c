"""What all calls do: the settings that ``POST /_sim/config`` changes while the simulator runs."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from localstack.llm import faults
from localstack.llm.directives import Span, number, span, whole


class ConfigError(ValueError):
    """A setting that does not exist or has a bad value; the message names it."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings that hold for calls which say nothing else. Times are seconds.

    ``ttft=None`` means a quarter of the latency; ``rpm`` and ``tpm`` (requests and tokens per minute) of 0
    mean no limit. During an outage every call, or those of ``outage_models``, meets ``outage_fault``.
    """

    latency: Span = (0.2, 0.2)
    ttft: float | None = None
    words: int = 24
    seed: int = 0
    fault_rate: float = 0.0
    faults: tuple[str, ...] = ("429", "500", "garbage", "hang")
    retry_after: float | None = None
    hang: float = 3_600.0
    rpm: int = 0
    tpm: int = 0
    outage_until: float = 0.0
    outage_models: tuple[str, ...] = ()
    outage_fault: str = "503"

    def is_out(self, model: str) -> bool:
        """Whether that model is in an outage now."""
        if time.monotonic() >= self.outage_until:
            return False
        return not self.outage_models or model in self.outage_models

    def public(self) -> dict[str, object]:
        """The settings as the admin call shows them; ``outage`` is false, true, or the seconds left."""
        shown = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "outage_until"}
        left = self.outage_until - time.monotonic()
        shown["outage"] = True if math.isinf(left) else round(left, 3) if left > 0 else False
        return shown

    def changed(self, changes: Mapping[str, object]) -> "Config":
        """A copy with these settings changed.

        Raises:
            ConfigError: one of them cannot be; then none is changed.
        """
        values: dict[str, Any] = {}
        for name, value in changes.items():
            entry = _READERS.get(name)
            if entry is None:
                raise ConfigError(f"unknown setting {name!r}; known are {', '.join(sorted(_READERS))}")
            try:
                values[entry[0]] = entry[1](value)
            except (ValueError, TypeError) as error:
                raise ConfigError(f"setting {name!r}: {error}") from None
        return replace(self, **values)


def _seconds(value: object) -> float:
    return number(value, 0, 86_400)


def _optional_seconds(value: object) -> float | None:
    return None if value is None else _seconds(value)


def _outage(value: object) -> float:
    if isinstance(value, bool):
        return math.inf if value else 0.0
    return time.monotonic() + _seconds(value)


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of names")
    return tuple(value)


def _fault(value: object) -> str:
    name = str(value)
    if isinstance(value, bool) or not faults.is_known(name):
        raise ValueError(f"unknown fault {name!r}")
    return name


def _faults(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("expected a list of faults")
    return tuple(_fault(item) for item in value)


_READERS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "latency": ("latency", span),
    "ttft": ("ttft", _optional_seconds),
    "words": ("words", whole(1, 100_000)),
    "seed": ("seed", whole(0, 2**53)),
    "fault_rate": ("fault_rate", lambda value: number(value, 0, 1)),
    "faults": ("faults", _faults),
    "retry_after": ("retry_after", _optional_seconds),
    "hang": ("hang", _seconds),
    "rpm": ("rpm", whole(0, 10_000_000)),
    "tpm": ("tpm", whole(0, 10_000_000_000)),
    "outage": ("outage_until", _outage),
    "outage_models": ("outage_models", _names),
    "outage_fault": ("outage_fault", _fault),
}
