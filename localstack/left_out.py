"""Sets what MiniStack's CloudFormation leaves out of a deployment, or gets wrong (docs/aws-limits.md)."""

from __future__ import annotations

from typing import Any

from localstack.environ import ROOT


def complete(parameters: dict[str, str], outputs: dict[str, str]) -> None:
    """Have a stack, just deployed with ``parameters``, be what its template says."""
    _number_mappings(parameters, outputs)
    reserve(parameters, outputs)
    _allow_loops(outputs)
    _name_cors(parameters, outputs)


def reserve(parameters: dict[str, str], outputs: dict[str, str]) -> None:
    """Reserve concurrency as the template says: MiniStack's CloudFormation leaves it out."""
    import boto3

    given = template_defaults() | parameters
    all_of_them = given["ReserveConcurrency"] == "true"
    wanted = {
        "ApiFunction": int(given["ApiReservedConcurrency"]) or None,
        "WorkerFunction": int(given["ReservedConcurrency"]) if all_of_them else None,
        "StreamingFunction": (int(given["StreamingConcurrency"]) or None) if all_of_them else None,
    }
    client: Any = boto3.client("lambda")
    for name in wanted:
        client.delete_function_concurrency(FunctionName=outputs[f"{name}Name"])
    for name, reserved in wanted.items():
        if reserved is not None:
            client.put_function_concurrency(FunctionName=outputs[f"{name}Name"], ReservedConcurrentExecutions=reserved)


def _allow_loops(outputs: dict[str, str]) -> None:
    """Set the functions' recursion as the template says: MiniStack's CloudFormation leaves it out."""
    import boto3

    from deploy import stack

    for name, resource in stack.read_template(ROOT / "template.yaml").get("Resources", {}).items():
        loop = resource.get("Properties", {}).get("RecursiveLoop")
        if loop is not None:
            client: Any = boto3.client("lambda")
            client.put_function_recursion_config(FunctionName=outputs[f"{name}Name"], RecursiveLoop=loop)


def _name_cors(parameters: dict[str, str], outputs: dict[str, str]) -> None:
    """Set the API's CORS again: MiniStack keeps CloudFormation's capitals, which its gateway does not read."""
    import boto3

    from deploy import stack

    origins = parameters.get("CorsOrigins", "")
    if origins:
        api = stack.read_template(ROOT / "template.yaml")["Resources"]["HttpApi"]["Properties"]
        _, wanted, _ = api["CorsConfiguration"]["Fn::If"]
        gateway: Any = boto3.client("apigatewayv2")
        gateway.update_api(ApiId=outputs["ApiId"], CorsConfiguration=wanted | {"AllowOrigins": origins.split(",")})


def _number_mappings(parameters: dict[str, str], outputs: dict[str, str]) -> None:
    """Set the mappings' numbers again, as numbers: MiniStack keeps what a Number parameter gave it as text."""
    import boto3

    template = template_defaults()
    client: Any = boto3.client("lambda")

    def number(name: str) -> int:
        return int(parameters.get(name, template[name]))

    lanes = ("High", "Normal", "Quarantine")
    most = {lane: f"{lane}Concurrency" for lane in (*lanes, "Webhook")}
    most |= {f"{lane}Dead": "DeadLetterConcurrency" for lane in lanes}
    for lane, parameter in most.items():
        concurrency = number(parameter)
        batch = 1 if lane == "Quarantine" else number("BatchSize") if lane in lanes else 10
        client.update_event_source_mapping(
            UUID=outputs[f"{lane}MappingId"], BatchSize=batch, ScalingConfig={"MaximumConcurrency": concurrency}
        )


def template_defaults() -> dict[str, Any]:
    """Return the template's parameters with their defaults."""
    from deploy import stack

    template = stack.read_template(ROOT / "template.yaml")
    return {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
