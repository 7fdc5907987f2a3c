"""What agents and the model exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from functions.worker.run.context import Context
    from shared.tasks.model import Usage


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
    """A module in ``functions/worker/agents``."""

    async def run(self, ctx: Context) -> AgentResult:
        """Run one task."""
        ...
