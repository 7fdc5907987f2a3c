"""Keywords of the JSON Schemas of tools that a provider may not know, and without which a tool is still the same."""

from typing import Any

SPARE = (
    "additionalProperties", "$schema", "$id", "$comment", "title", "default", "examples", "example", "format",
    "pattern", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minProperties", "maxProperties", "propertyNames",
    "patternProperties", "unevaluatedProperties", "deprecated", "readOnly", "writeOnly", "nullable", "contentEncoding",
    "contentMediaType",
)  # fmt: skip
"""They say more about a value; what it is called and what kind it is of is said by others. The tool itself checks."""
_OF_NAMES = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
"""Keywords whose own keys are the user's names."""
_DATA = frozenset({"enum", "const", "default", "examples", "example", "required"})
"""Keywords that hold no schemas."""


def without(tools: list[dict[str, Any]], names: frozenset[str]) -> list[dict[str, Any]]:
    """Return tools whose schemas have none of the keywords."""
    made = []
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, dict) and "parameters" in function:
            tool = {**tool, "function": {**function, "parameters": _schema(function["parameters"], names)}}
        made.append(tool)
    return made


def uses(tools: list[dict[str, Any]], name: str) -> bool:
    """Tell whether a schema of the tools has a keyword."""
    return without(tools, frozenset({name})) != tools


def _schema(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_schema(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, inner in value.items():
        if key in names:
            continue
        if key in _OF_NAMES and isinstance(inner, dict):
            made[key] = {name: _schema(one, names) for name, one in inner.items()}
        else:
            made[key] = inner if key in _DATA else _schema(inner, names)
    return made
