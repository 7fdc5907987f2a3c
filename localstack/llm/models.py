"""Model names that behave in a way of their own; a name that does not start with ``sim-`` behaves normally.

=================  =======================================================================
``sim-fast``       answers at once
``sim-slow``       5 s, the first token after 1 s
``sim-spread``     1 to 10 s, drawn evenly per conversation
``sim-long``       600 words within 30 s
``sim-flaky``      a fifth of the calls fails: 429, 500, garbage or drop
``sim-down``       503 always
``sim-limited``    429 with ``Retry-After: 1`` always
``sim-quota``      429 ``insufficient_quota`` always
``sim-garbage``    an answer that is not JSON always
``sim-hang``       never answers
=================  =======================================================================

A directive in the message wins over the model name, the model name over the configuration. Another name
that starts with ``sim-`` is unknown: 404 ``model_not_found``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from localstack.llm.directives import Span
from localstack.llm.faults import ApiError, invalid


@dataclass(frozen=True, slots=True)
class Model:
    """How a model name behaves; ``None`` where the configuration decides. Times are seconds."""

    latency: Span | None = None
    ttft: float | None = None
    words: int | None = None
    faults: tuple[str, ...] = ()
    fault_rate: float = 0.0
    retry_after: float | None = None


_ORDINARY = Model()
SPECIAL: Mapping[str, Model] = {
    "sim-fast": Model(latency=(0, 0)),
    "sim-slow": Model(latency=(5, 5), ttft=1),
    "sim-spread": Model(latency=(1, 10)),
    "sim-long": Model(latency=(30, 30), ttft=0.5, words=600),
    "sim-flaky": Model(faults=("429", "500", "garbage", "drop"), fault_rate=0.2),
    "sim-down": Model(faults=("503",), fault_rate=1),
    "sim-limited": Model(faults=("429",), fault_rate=1, retry_after=1),
    "sim-quota": Model(faults=("quota",), fault_rate=1),
    "sim-garbage": Model(faults=("garbage",), fault_rate=1),
    "sim-hang": Model(faults=("hang",), fault_rate=1),
}
_LISTED = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-4.1", *SPECIAL)
_CREATED = 1_721_172_741


def find(name: str) -> Model:
    """The behaviour of a model name.

    Raises:
        ApiError: 404, it starts with ``sim-`` and is none of ours.
    """
    model = SPECIAL.get(name, _ORDINARY)
    if model is _ORDINARY and name.startswith("sim-"):
        raise unknown(name)
    return model


def unknown(name: str) -> ApiError:
    """The refusal of a model that does not exist."""
    return invalid(f"The model `{name}` does not exist.", "model", "model_not_found", 404)


def describe(name: str) -> dict[str, object]:
    """The model object of ``GET /v1/models``."""
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}


def listing() -> dict[str, object]:
    """The answer to ``GET /v1/models``."""
    return {"object": "list", "data": [describe(name) for name in _LISTED]}
