"""What an agent, the model and Sluice exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypedDict


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run has cost so far. Money in micro-USD (1 USD = 1,000,000)."""

    input_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int = 0
    day: str = field(default="", compare=False)
    """UTC day on which the call was made that this is of; empty: of several, or not known."""
    model: str = field(default="", compare=False)
    """The model that was asked, by whose price it is charged; empty: of several, or not known."""

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.micro_usd + other.micro_usd,
        )


class AgentResult(NamedTuple):
    """What an agent returns: the text its user gets, and any JSON besides."""

    response: str
    data: dict[str, Any] | None = None


class ToolCall(NamedTuple):
    """A tool that the model wants called; ``arguments`` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str
    extra: dict[str, Any] | None = None
    """What else stood in it, like a signature of the provider's: it goes back as it came."""

    def as_json(self) -> dict[str, Any]:
        """Return it by its fields."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def as_message(self) -> dict[str, Any]:
        """Return it as it stands in an assistant's message."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function, **(self.extra or {})}


class ModelReply(NamedTuple):
    """A whole reply of the model."""

    content: str
    tool_calls: list[ToolCall]
    usage: Usage
    model: str
    finish_reason: str
    estimated: bool = False
    """The provider reported no use of tokens that can be believed; ``usage`` goes by size."""
    reasoning: str = ""
    """What the model thought aloud, where the provider shows it."""
    extra: dict[str, Any] | None = None
    """What else stood in the assistant's message: some providers want it back with the next call."""
    left_out: tuple[str, ...] = ()
    """Options that the provider refused and that the call was then made without."""
    logprobs: list[Any] | None = None
    """Log probabilities by token, where they were asked for."""
    details: dict[str, int] | None = None
    """What of ``usage`` was ``cached_tokens``, ``cache_write_tokens``, ``reasoning_tokens``, as the provider says."""
    refused: bool = False
    """Whether the model refused, as its provider says: ``content`` says why, in no format."""

    def as_message(self) -> dict[str, Any]:
        """Return the assistant's message as it goes back to the provider in a later call of the conversation."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content or None, **(self.extra or {})}
        if self.tool_calls:
            message["tool_calls"] = [call.as_message() for call in self.tool_calls]
        return message

    @property
    def cut(self) -> bool:
        """Whether the call's limit on output tokens ended it."""
        return self.finish_reason == "length"


class ModelOptions(TypedDict, total=False):
    """Options of a model call by name, in the words of chat completions.

    None leaves out what the client asked for. ``extra`` holds any further fields of the body.
    """

    temperature: float | None
    top_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    seed: int | None
    stop: str | list[str] | None
    response_format: dict[str, Any] | None
    reasoning: str | dict[str, Any] | None
    """The effort (``"low"`` …), or the provider's object."""
    reasoning_effort: str | None
    verbosity: str | None
    parallel_tool_calls: bool | None
    logprobs: bool | None
    top_logprobs: int | None
    logit_bias: dict[str, int] | None
    service_tier: str | None
    user: str | None
    prompt_cache_key: str | None
    extra: dict[str, Any] | None
