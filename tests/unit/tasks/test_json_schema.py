"""The part of JSON Schema that answers to runs are held against."""

from typing import Any

import pytest

from shared.json_schema import check_schema, wrong

PERSON = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (PERSON, [{"name": "a"}, {"name": "a", "age": 0}, {"name": "a", "age": 3.0}],
         [{}, {"name": ""}, {"name": "a", "age": -1}, {"name": "a", "age": True}, {"name": "a", "x": 1}, [], None]),
        ({"type": ["string", "null"]}, ["", None], [1, False]),
        ({"enum": [1, "a"]}, [1, "a"], [True, "b"]),
        ({"const": False}, [False], [0]),
        ({"type": "array", "items": {"type": "number", "exclusiveMaximum": 3}, "maxItems": 2}, [[1, 2.5]],
         [[3], [1, 1, 1], ["a"]]),
        ({"anyOf": [{"type": "string"}, {"type": "number", "minimum": 5}]}, ["a", 5], [4, None]),
        (True, [1, None], []),
        (False, [], [1]),
    ],
)  # fmt: skip
def test_values_are_held_against_a_schema(schema: Any, good: list[Any], bad: list[Any]) -> None:
    check_schema(schema)
    assert [value for value in good if wrong(schema, value)] == []
    assert [value for value in bad if not wrong(schema, value)] == []


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "a"}, {"type": "text"}, {"properties": []}, {"required": "a"}, {"minimum": "1"}, {"anyOf": {}},
        {"items": {"$ref": "#"}}, "string", {"enum": 1},
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_refused(schema: Any) -> None:
    with pytest.raises(ValueError, match=r"schema|must|list"):
        check_schema(schema)
