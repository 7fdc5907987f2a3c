"""The tools of the `tools` agent: what the model is told of them and what they do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2

from functions.worker.tools.calculator import CalculatorError, evaluate
from functions.worker.tools.page import PageError, fetch_page
from shared import zones


class ToolError(Exception):
    """A tool cannot do what it was asked; the text is for the model."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: how the model sees it and what runs."""

    description: dict[str, Any]
    run: Callable[[httpx2.AsyncClient, dict[str, Any]], Awaitable[Any]]


def _text(arguments: dict[str, Any], name: str, default: str | None = None) -> str:
    value = arguments.get(name, default)
    if not isinstance(value, str) or not value.strip():
        raise ToolError(f"{name} must be a text")
    return value


async def _calculator(_: httpx2.AsyncClient, arguments: dict[str, Any]) -> Any:
    try:
        return {"value": evaluate(_text(arguments, "expression"))}
    except CalculatorError as error:
        raise ToolError(str(error)) from error


async def _current_time(_: httpx2.AsyncClient, arguments: dict[str, Any]) -> Any:
    name = _text(arguments, "timezone", "UTC")
    try:
        zone = UTC if name.upper() == "UTC" else zones.zone_of(name)
    except KeyError as error:
        raise ToolError(f"there is no time zone {name!r}") from error
    return {"time": datetime.now(zone).isoformat(timespec="seconds"), "timezone": name}


async def _fetch_page(client: httpx2.AsyncClient, arguments: dict[str, Any]) -> Any:
    try:
        return {"text": await fetch_page(client, _text(arguments, "url"))}
    except PageError as error:
        raise ToolError(str(error)) from error


def _describe(name: str, about: str, **parameters: tuple[str, bool]) -> dict[str, Any]:
    properties = {parameter: {"type": "string", "description": what} for parameter, (what, _) in parameters.items()}
    schema = {
        "type": "object",
        "properties": properties,
        "required": [parameter for parameter, (_, needed) in parameters.items() if needed],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


TOOLS = {
    "calculator": Tool(
        _describe("calculator", "Evaluates an arithmetic expression.", expression=("such as (2+3)*4/sqrt(2)", True)),
        _calculator,
    ),
    "current_time": Tool(
        _describe("current_time", "Tells the time.", timezone=("IANA name such as Europe/Paris; default UTC", False)),
        _current_time,
    ),
    "fetch_page": Tool(
        _describe("fetch_page", "Reads a public web page as text.", url=("http or https address", True)), _fetch_page
    ),
}
