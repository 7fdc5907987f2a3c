"""Which of the template's resources a deployment makes, for given parameters: its conditions, evaluated."""

from __future__ import annotations

from typing import Any

NOTHING = {"Ref": "AWS::NoValue"}


def values_of(template: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """Return every parameter's value: what is given, else its default."""
    return {name: str(one.get("Default", "")) for name, one in template["Parameters"].items()} | given


def conditions(template: dict[str, Any], values: dict[str, str]) -> dict[str, bool]:
    """Evaluate the conditions, which depend on parameters alone."""
    stated: dict[str, Any] = template["Conditions"]

    def holds(one: Any) -> bool:
        ((kind, inside),) = one.items()
        if kind == "Condition":
            return holds(stated[inside])
        if kind == "Fn::Equals":
            left, right = (values[side["Ref"]] if isinstance(side, dict) else str(side) for side in inside)
            return left == right
        each = [holds(part) for part in inside]
        return {"Fn::And": all(each), "Fn::Or": any(each), "Fn::Not": not each[0]}[kind]

    return {name: holds(one) for name, one in stated.items()}


def resources(template: dict[str, Any], given: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the resources that are made, their parameters and choices filled in; other references stay."""
    values = values_of(template, given)
    true = conditions(template, values)

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [item for one in value if (item := filled(one)) != NOTHING]
        if not isinstance(value, dict):
            return value
        if "Fn::If" in value:
            name, yes, no = value["Fn::If"]
            return filled(yes if true[name] else no)
        if value.get("Ref") in values:
            return values[value["Ref"]]
        return {name: item for name, one in value.items() if (item := filled(one)) != NOTHING}

    return {name: filled(one) for name, one in template["Resources"].items() if true.get(one.get("Condition"), True)}
