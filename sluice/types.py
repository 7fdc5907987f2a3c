"""What an agent, the model and Sluice exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from sluice.context import Context


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run has cost so far. Money in micro-USD (1 USD = 1,000,000)."""

    input_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int = 0

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


class ModelReply(NamedTuple):
    """A whole reply of the model."""

    content: str
    tool_calls: list[ToolCall]
    usage: Usage
    model: str
    finish_reason: str
    estimated: bool = False
    """The provider reported no use of tokens that can be believed; ``usage`` goes by size."""

    @property
    def cut(self) -> bool:
        """Whether the call's limit on output tokens ended it."""
        return self.finish_reason == "length"


class Agent(Protocol):
    """A module in the agents' folder: its file's name is the agent's name."""

    async def run(self, ctx: Context) -> AgentResult:
        """Run one task."""
        ...
