"""What a model call can be told besides messages and tools, in the words of chat completions.

An agent gives options to ``ctx.model``; a client gives them with its task (``options`` of its params), and they hold
for every call of the run that does not say otherwise.
"""

from collections.abc import Mapping
from typing import Any

from shared.errors import BadOption
from sluice.types import ModelOptions

OWN = frozenset(
    {"model", "messages", "tools", "tool_choice", "stream", "stream_options", "max_tokens", "max_completion_tokens"}
)
"""Fields of the body that Sluice writes; other words of ``ctx.model`` set them."""
KNOWN = frozenset(ModelOptions.__annotations__)


def fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Turn options into fields of the request's body.

    Raises:
        BadOption: one of them is Sluice's own, or asks for more than one choice.
    """
    body = {name: value for name, value in options.items() if value is not None and name not in ("extra", "reasoning")}
    body |= {name: value for name, value in (options.get("extra") or {}).items() if value is not None}
    reasoning = options.get("reasoning")
    if isinstance(reasoning, str):
        body["reasoning_effort"] = reasoning
    elif reasoning is not None:
        effort = reasoning.get("effort")
        if set(reasoning) <= {"effort"}:
            body |= {"reasoning_effort": effort} if effort is not None else {}
        else:
            body["reasoning"] = reasoning
    if own := sorted(OWN & body.keys()):
        raise BadOption(f"{own[0]} is no option of a model call: it has words of its own", param=own[0])
    if body.get("n", 1) != 1:
        raise BadOption("a model call gives one answer: n must be 1", param="n")
    return body


def merged(asked: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Put an agent's options over those of its run's client; None takes one of these away.

    Raises:
        TypeError: an agent's option has no such name.
    """
    if unknown := sorted(own.keys() - KNOWN):
        raise TypeError(f"a model call has no option {unknown[0]!r}; further fields of the body go into `extra`")
    base = dict(asked)
    if "reasoning" in own or "reasoning_effort" in own:  # two words for one thing
        base.pop("reasoning", None)
        base.pop("reasoning_effort", None)
    return fields(base | dict(own))
