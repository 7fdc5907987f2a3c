"""What an agent asks of a model in one call."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from functions.worker.model import limits
from shared.tasks.model import dumps


@dataclass(frozen=True, slots=True)
class Call:
    """What the agent asks of a model."""

    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    tool_choice: Any
    max_output_tokens: int
    stream: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    """Further fields of the request's body."""
    deadline: float = float("inf")
    """When the run's stay in this environment ends, epoch seconds."""
    listen: Callable[[str], None] | None = None
    """Told each piece of text, besides the watchers."""
    shown_tools: frozenset[str] = frozenset()
    """Names of tools that are the client's to call: watchers see their arguments while these are written."""

    @property
    def payload_bytes(self) -> int:
        """Size of what the model reads."""
        return len(dumps([self.messages, self.tools, self.options]).encode())

    @property
    def needs_s(self) -> float:
        """Time without which the call cannot possibly end, so that it is not begun."""
        return limits.needed_s(self.max_output_tokens)
