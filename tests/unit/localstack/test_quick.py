"""What is taken out of the emulator's DynamoDB changes none of its answers."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from types import SimpleNamespace
from typing import Any

import pytest

from localstack.strict.quick import copied, quicken, quicken_policies


def test_a_copy_is_deep_and_of_the_same_kinds() -> None:
    item = {"a": {"L": [{"S": "x"}, {"N": "1"}]}, "b": {"B": b"\0"}, "c": [1.5, None, True], "d": {"SS": []}}
    made = copied(item)
    assert made == item
    made["a"]["L"][0]["S"] = "changed"
    made["c"].append(1)
    assert item["a"] == {"L": [{"S": "x"}, {"N": "1"}]}
    assert item["c"] == [1.5, None, True]


@pytest.mark.parametrize("value", [defaultdict(dict, {"a": {"b": 1}}), OrderedDict(a=[1]), {1, 2}, ([1],)])
def test_other_kinds_are_copied_as_ever(value: Any) -> None:
    made = copied({"one": value})["one"]
    assert made == value
    assert type(made) is type(value)
    assert made is not value


def test_an_expression_is_parsed_once_and_each_asker_has_tokens_of_its_own() -> None:
    parsed: Counter[str] = Counter()

    def tokenize(expression: str) -> list[str]:
        parsed[expression] += 1
        return expression.split()

    def syntax_error(expression: str, slot: str) -> str | None:
        parsed[slot] += 1
        return f"Invalid {slot}" if expression.startswith("(") else None

    module: Any = SimpleNamespace(_tokenize=tokenize, _condition_syntax_error=syntax_error)
    quicken(module)
    first = module._tokenize("a = :b")
    first.clear()
    assert module._tokenize("a = :b") == ["a", "=", ":b"]
    assert [module._condition_syntax_error("( a", "ConditionExpression") for _ in range(3)] == [
        "Invalid ConditionExpression"
    ] * 3
    assert module._condition_syntax_error("( a", "FilterExpression") == "Invalid FilterExpression"
    assert parsed == {"a = :b": 1, "ConditionExpression": 1, "FilterExpression": 1}
    assert module.copy.deepcopy({"a": [1]}) == {"a": [1]}


def test_a_policy_is_parsed_once_and_a_changed_one_again() -> None:
    parsed: Counter[str] = Counter()

    def parse(policy: str | dict[str, Any]) -> list[str]:
        parsed[str(policy)] += 1
        return [str(policy)]

    module: Any = SimpleNamespace(parse_policy_document=parse)
    quicken_policies(module)
    assert [module.parse_policy_document(one) for one in ("old", "old", "new")] == [["old"], ["old"], ["new"]]
    assert [module.parse_policy_document({"a": []}) for _ in range(2)] == [["{'a': []}"]] * 2
    assert parsed == {"old": 1, "new": 1, "{'a': []}": 2}
