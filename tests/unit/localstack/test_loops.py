"""Which functions a chain of messages can lead back to, from the template alone: queues, mappings, policies.

Lambda stops such a chain after about 16 invocations of one function, unless that function says `RecursiveLoop: Allow`.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deploy.stack import read_template
from localstack.environ import ROOT

TEMPLATE = read_template(ROOT / "template.yaml")


def names_in(value: Any) -> set[str]:
    """Return the logical names that a value refers to."""
    if isinstance(value, dict):
        if "Ref" in value:
            return {value["Ref"]}
        if "Fn::GetAtt" in value:
            return {value["Fn::GetAtt"][0]}
        return set().union(*(names_in(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(names_in(item) for item in value))
    return set()


def statements(function: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a function is allowed, conditions taken as met."""
    found = []
    for policy in function["Properties"].get("Policies", []):
        for statement in policy["Statement"]:
            choices = statement["Fn::If"][1:] if "Fn::If" in statement else [statement]
            found += [one for one in choices if one.get("Effect") == "Allow"]
    return found


def edges(template: dict[str, Any]) -> dict[str, set[str]]:
    """Return what leads to what: functions to the queues and functions that they may send to or call, queues to their
    dead-letter queues and to the functions that they feed."""
    resources = template["Resources"]
    leads: dict[str, set[str]] = {name: set() for name in resources}
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            for statement in statements(resource):
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                if {"sqs:SendMessage", "lambda:InvokeFunction", "lambda:InvokeAsync"} & set(actions):
                    leads[name] |= names_in(statement["Resource"])
        elif resource["Type"] == "AWS::SQS::Queue":
            leads[name] |= names_in(properties.get("RedrivePolicy", {}))
        elif resource["Type"] == "AWS::Lambda::EventSourceMapping":
            (source,) = names_in(properties["EventSourceArn"])
            leads[source] |= names_in(properties["FunctionName"])
    return leads


def loops(template: dict[str, Any]) -> set[str]:
    """Return the functions that a message of their own can come back to."""
    leads = edges(template)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [*leads[start]]
        while ahead:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                ahead += leads.get(name, ())
        return seen

    functions = [name for name, one in template["Resources"].items() if one["Type"] == "AWS::Serverless::Function"]
    return {name for name in functions if name in reached(name)}


def allowed(template: dict[str, Any]) -> set[str]:
    return {n for n, one in template["Resources"].items() if one.get("Properties", {}).get("RecursiveLoop") == "Allow"}


def test_every_function_in_a_loop_says_so_and_no_other() -> None:
    assert loops(TEMPLATE) == allowed(TEMPLATE)


def test_the_loops_that_there_are_known_to_be() -> None:
    assert {"WorkerFunction", "WebhookFunction", "DeadLetterFunction"} <= loops(TEMPLATE)
    assert "ApiFunction" in loops(TEMPLATE)  # through the firings of schedules alone
    assert {"ScalerFunction", "StreamFunction", "StreamingFunction"}.isdisjoint(loops(TEMPLATE))


@pytest.mark.parametrize("name", sorted(allowed(TEMPLATE)))
def test_without_its_word_each_would_be_stopped(name: str) -> None:
    template = copy.deepcopy(TEMPLATE)
    del template["Resources"][name]["Properties"]["RecursiveLoop"]
    assert loops(template) != allowed(template)


def test_a_right_that_closes_a_new_loop_is_seen() -> None:
    template = copy.deepcopy(TEMPLATE)
    right = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["HighQueue", "Arn"]}}
    template["Resources"]["WebhookFunction"]["Properties"]["Policies"][0]["Statement"].append(right)
    template["Resources"]["ScalerFunction"]["Properties"]["Policies"][0]["Statement"].append(
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": {"Fn::GetAtt": ["ScalerFunction", "Arn"]}}
    )
    assert "ScalerFunction" in loops(template)
