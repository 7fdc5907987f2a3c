"""How long a stack's name may be: names are made from it, and rights say how functions are called.

CloudFormation itself takes 128 characters. A cache whose name is too long fails after minutes, and the deployment is
rolled back. Worse, a function's name is cut to fit Lambda's limit where the stack's is long, and then the rights that
name functions by their beginning are for no function at all: that deploys well, and fails at the first call.
"""

from __future__ import annotations

import re
from typing import Any

from deploy import chosen

LONGEST = {
    ("AWS::ElastiCache::ServerlessCache", "ServerlessCacheName"): 40,
    ("AWS::ElastiCache::User", "UserId"): 40,
    ("AWS::ElastiCache::UserGroup", "UserGroupId"): 40,
    ("AWS::ApiGatewayV2::Api", "Name"): 128,
    ("AWS::ApiGateway::RestApi", "Name"): 128,
    ("AWS::CloudWatch::Alarm", "AlarmName"): 255,
    ("AWS::CloudWatch::Dashboard", "DashboardName"): 255,
    ("AWS::Logs::LogGroup", "LogGroupName"): 512,
    ("AWS::SNS::Topic", "TopicName"): 256,
}
"""Longest names of what is named after the stack. Of serverless caches none is documented; of other caches it is 40
(https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html, 2026-11)."""
FUNCTION_CHARACTERS = 64
"""Longest name of a function (https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html, 2026-11)."""
RANDOM_CHARACTERS = 13
"""What CloudFormation puts behind a function's name, with its hyphen."""
REGION_CHARACTERS = 16
_STACK = "${AWS::StackName}"
_FUNCTION = re.compile(r":function:\$\{AWS::StackName\}-([A-Za-z]+)-\*")


def longest(template: dict[str, Any], given: dict[str, str]) -> tuple[int, str]:
    """Return how many characters the name of a stack may have with these parameters, and what sets that bound."""
    found: list[tuple[int, str]] = []
    for logical, resource in chosen.resources(template, given).items():
        for (kind, name), most in LONGEST.items():
            value = resource.get("Properties", {}).get(name)
            if resource["Type"] == kind and isinstance(value, dict) and _STACK in value.get("Fn::Sub", ""):
                beside = value["Fn::Sub"].replace(_STACK, "").replace("${AWS::Region}", "r" * REGION_CHARACTERS)
                found.append((most - len(beside), f"{logical}'s name"))
        for function in _FUNCTION.findall(str(resource)):
            room = FUNCTION_CHARACTERS - RANDOM_CHARACTERS - len(function) - 1
            found.append((room, f"the right of {logical} that names {function}"))
    return min(found)
