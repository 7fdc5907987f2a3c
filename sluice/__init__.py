"""Sluice's public face: what agents and their tests import. Everything else of Sluice is private.

- agents: `Context`, `AgentResult`, `ModelReply`, `ToolCall`, `Usage` and the errors, from here
- clients: `sluice.client` (submit, follow, result, cancel)
- tests: `sluice.testing` (a real worker between real parts, as a pytest plugin)
- the command line: ``sluice --help``

Importing this loads nothing but these few names, so an agent's cold start does not pay for the rest.
"""

from __future__ import annotations

from sluice.context import Agent, Context
from sluice.errors import (
    BadOption,
    BudgetExhausted,
    ChildFailed,
    Denied,
    ModelError,
    NotFound,
    ReplayMismatch,
    SluiceError,
    TooLarge,
    Unstorable,
    WaitTimeout,
)
from sluice.types import AgentResult, ModelOptions, ModelReply, ToolCall, Usage

__version__ = "0.2.0"

__all__ = [
    "Agent",
    "AgentResult",
    "BadOption",
    "BudgetExhausted",
    "ChildFailed",
    "Context",
    "Denied",
    "ModelError",
    "ModelOptions",
    "ModelReply",
    "NotFound",
    "ReplayMismatch",
    "SluiceError",
    "TooLarge",
    "ToolCall",
    "Unstorable",
    "Usage",
    "WaitTimeout",
    "__version__",
]
