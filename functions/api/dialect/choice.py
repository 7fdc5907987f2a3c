"""A tool choice has to fit the tools that are there: else the model could not do what the client demands of it."""

from collections.abc import Sequence
from typing import Any

from functions.api.contract.problem import invalid

OURS = "chat"
"""The agent that has no tools but its client's."""


def fitting(choice: str | dict[str, Any], tools: Sequence[dict[str, Any]] | None, *, agent: str) -> Any:
    """Return a choice, in the words of chat completions, that fits the client's tools. Other agents bring their own.

    Raises:
        Problem: it demands a tool, and there is none, or none of that name.
    """
    if agent != OURS or choice in ("auto", "none"):
        return choice
    if not tools:
        raise invalid("demands a tool, and the request has no tools", "tool_choice")
    there = {tool["function"]["name"] for tool in tools}
    for name in _named(choice):
        if name not in there:
            raise invalid(f"names the function {name[:64]!r}, which is not among the tools", "tool_choice")
    return choice


def _named(choice: str | dict[str, Any]) -> list[str]:
    if isinstance(choice, str):
        return []
    if choice["type"] == "function":
        return [choice["function"]["name"]]
    return [tool["function"]["name"] for tool in choice["allowed_tools"]["tools"]]
