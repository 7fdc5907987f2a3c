"""A small part of JSON Schema, enough for what people and programs answer a run: shapes, ranges and choices.

What it does not know it refuses when the schema is given, rather than letting values pass unchecked. No patterns: a
regular expression of an agent's would run on input of anybody's.
"""

import math
from typing import Any

SCHEMA_BYTES = 4096
"""Largest schema, as JSON."""
DEPTH = 16
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": (int, float),
    "boolean": bool,
    "null": type(None),
}
_NOTES = frozenset({"title", "description", "default", "examples", "$schema", "$id", "$comment", "format"})
_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_SHAPES = frozenset({"type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"})


def check_schema(schema: Any, depth: int = 0) -> None:
    """Make sure that a schema can be held against values.

    Raises:
        ValueError: it is none, or holds a word that is not known here.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict) or depth > DEPTH:
        raise ValueError("a schema is a JSON object, not too deep")
    unknown = schema.keys() - _NOTES - _COUNTS - _BOUNDS - _SHAPES
    if unknown:
        raise ValueError(f"a schema may not use {', '.join(sorted(map(str, unknown)))} here")
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind not in _TYPES:
            raise ValueError(f"a schema knows no type {kind!r}")
    for name in (_COUNTS | _BOUNDS) & schema.keys():
        if isinstance(schema[name], bool) or not isinstance(schema[name], int | float):
            raise ValueError(f"{name} must be a number")
    if not isinstance(schema.get("properties", {}), dict) or not isinstance(schema.get("required", []), list):
        raise ValueError("properties must be an object, and required a list")
    if not isinstance(schema.get("enum", []), list) or not isinstance(schema.get("anyOf", []), list):
        raise ValueError("enum and anyOf must be lists")
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    inner += [schema[name] for name in ("items", "additionalProperties") if name in schema]
    for one in inner:
        check_schema(one, depth + 1)


def wrong(schema: Any, value: Any, where: str = "the payload") -> str | None:
    """Say what is wrong with a value, or None; a schema of None takes everything."""
    if schema is None or schema is True:
        return None
    if schema is False:
        return f"{where} is not allowed"
    kinds = schema.get("type")
    if kinds is not None:
        wanted = [kinds] if isinstance(kinds, str) else kinds
        if not any(_is(kind, value) for kind in wanted):
            return f"{where} must be of type {' or '.join(wanted)}"
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return f"{where} must be one of the values that are allowed"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{where} must have one certain value"
    if "anyOf" in schema and all(wrong(one, value, where) for one in schema["anyOf"]):
        return f"{where} fits none of what is allowed"
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _wrong_number(schema, value, where)
    if isinstance(value, str):
        return _wrong_count(schema, len(value), "Length", where)
    return _wrong_object(schema, value, where) if isinstance(value, dict) else _wrong_list(schema, value, where)


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value) and value.is_integer())
    return isinstance(value, _TYPES[kind])


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _wrong_number(schema: dict[str, Any], value: float, where: str) -> str | None:
    if value < schema.get("minimum", value) or value > schema.get("maximum", value):
        return f"{where} is out of range"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        return f"{where} is out of range"
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        return f"{where} is out of range"
    return None


def _wrong_count(schema: dict[str, Any], count: int, unit: str, where: str) -> str | None:
    if count < schema.get(f"min{unit}", count) or count > schema.get(f"max{unit}", count):
        return f"{where} is too short or too long"
    return None


def _wrong_object(schema: dict[str, Any], value: dict[str, Any], where: str) -> str | None:
    for name in schema.get("required", []):
        if name not in value:
            return f"{where} lacks {name!r}"
    known = schema.get("properties", {})
    for name, one in value.items():
        found = wrong(known.get(name, schema.get("additionalProperties", True)), one, f"{where}.{name}"[:200])
        if found:
            return found
    return None


def _wrong_list(schema: dict[str, Any], value: list[Any], where: str) -> str | None:
    found = _wrong_count(schema, len(value), "Items", where)
    for n, one in enumerate(value):
        found = found or wrong(schema.get("items", True), one, f"{where}[{n}]"[:200])
    return found
