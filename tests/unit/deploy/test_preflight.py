"""What would make a deployment fail is said before it: sums, the account's quota, secrets that are not there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from deploy import preflight
from deploy.stack import read_template
from localstack.environ import ROOT

TEMPLATE = read_template(ROOT / "template.yaml")
FINE = {"OpenaiSecretArn": "", "OpenaiApiKey": "sk-test", "RedisUrl": "rediss://cache", "Stage": "local"}
FINE |= {"StreamingConcurrency": "0"}  # a test of its own has it


class Account:
    """Lambda and CloudFormation of an account with a quota, of which others reserved some and the stack some."""

    def __init__(
        self, quota: int, *, others: int = 0, own: int | None = None, stands: dict[str, str] | None = None
    ) -> None:
        self.quota, self.others, self.own, self.stands = quota, others, own, stands or {}

    def get_account_settings(self) -> dict[str, Any]:
        free = self.quota - self.others - (self.own or 0)
        return {"AccountLimit": {"ConcurrentExecutions": self.quota, "UnreservedConcurrentExecutions": free}}

    def describe_stack_resource(self, **_: str) -> dict[str, Any]:
        if self.own is None:
            raise ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStackResource")
        return {"StackResourceDetail": {"PhysicalResourceId": "worker"}}

    meta = SimpleNamespace(region_name="us-east-1")
    zones: tuple[str, ...] = ("us-east-1a", "us-east-1b", "us-east-1c")
    fit: tuple[str, ...] = ("us-east-1a", "us-east-1b", "us-east-1c")

    def describe_availability_zones(self, **_: Any) -> dict[str, Any]:
        return {"AvailabilityZones": [{"ZoneName": zone} for zone in self.zones]}

    def describe_vpc_endpoint_services(self, ServiceNames: list[str]) -> dict[str, Any]:
        everywhere = {"AvailabilityZones": list(self.zones)}
        return {"ServiceDetails": [{"AvailabilityZones": list(self.fit)}, *[everywhere] * (len(ServiceNames) - 1)]}

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        if self.own is None:
            raise ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStacks")
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in self.stands.items()]
        return {"Stacks": [{"StackStatus": "UPDATE_COMPLETE", "Parameters": parameters}]}

    def get_function_concurrency(self, **_: str) -> dict[str, Any]:
        return {"ReservedConcurrentExecutions": self.own} if self.own else {}


def findings(monkeypatch: pytest.MonkeyPatch, account: Account, **parameters: str) -> preflight.Findings:
    real = boto3.client

    def client(name: str, **kwargs: Any) -> Any:
        fake = name in ("lambda", "cloudformation", "ec2")
        return account if fake else real(name, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(boto3, "client", client)
    return preflight.check(TEMPLATE, FINE | parameters, "sluice")


@pytest.mark.parametrize(
    ("account", "wrong"),
    [
        (Account(1000), False),
        (Account(125), False),  # 25 and the 100 that Lambda keeps
        (Account(124), True),
        (Account(10), True),
        (Account(1000, others=875), False),
        (Account(1000, others=876), True),
        (Account(1000, others=875, own=25), False),  # an update gives back what the stack holds
        (Account(1000, others=876, own=25), True),
    ],
)
def test_the_reservation_must_leave_a_hundred(monkeypatch: pytest.MonkeyPatch, account: Account, wrong: bool) -> None:
    errors = findings(monkeypatch, account).errors
    assert bool(errors) is wrong
    if wrong:
        assert "ReservedConcurrency is 25" in errors[0]
        assert "ReserveConcurrency=false" in errors[0]


@pytest.mark.parametrize(
    ("quota", "lanes", "errors", "warnings"),
    [(1000, (6, 12), 0, 0), (40, (6, 12), 0, 0), (39, (6, 12), 0, 1), (20, (6, 12), 1, 0), (10, (2, 2), 0, 1)],
)
def test_without_a_reservation_the_workers_must_leave_room(
    monkeypatch: pytest.MonkeyPatch, quota: int, lanes: tuple[int, int], errors: int, warnings: int
) -> None:
    found = findings(
        monkeypatch,
        Account(quota),
        ReserveConcurrency="false",
        HighConcurrency=str(lanes[0]),
        NormalConcurrency=str(lanes[1]),
        MaxReplicas=str(sum(lanes) + 2),
    )
    assert (len(found.errors), len(found.warnings)) == (errors, warnings)


def test_sums_are_checked_before_the_account_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(1000)
    monkeypatch.setattr(account, "get_account_settings", lambda: pytest.fail("asked"))
    assert "adds up to 20" in findings(monkeypatch, account, MaxReplicas="30").errors[0]


def test_a_secret_that_is_not_there_is_named(fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    made = boto3.client("secretsmanager").create_secret(Name="key", SecretString="sk-stored")["ARN"]
    assert findings(monkeypatch, Account(1000), OpenaiSecretArn=made).errors == []
    found = findings(monkeypatch, Account(1000), OpenaiSecretArn=made, WebhookSecretArn="nobody")
    assert found.errors == ["WebhookSecretArn: Secrets Manager says ResourceNotFoundException"]


@pytest.mark.parametrize(
    ("given", "errors", "warnings"),
    [
        ({"OpenaiApiKey": ""}, 0, 1),
        ({"Stage": "aws"}, 0, 1),
        ({"RedisUrl": ""}, 0, 1),
        ({"RedisUrl": "", "RedisDown": "refuse"}, 1, 0),
        ({"RedisUrl": "", "GlobalUsdPerDay": "50"}, 1, 0),
        ({"RedisUrl": "", "ManagedRedis": "true"}, 0, 0),
        ({"Stage": "aws", "OpenaiApiKey": "", "AllowPrivateAddresses": "true"}, 1, 1),
    ],
)
def test_what_is_missing_or_unsafe(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], errors: int, warnings: int
) -> None:
    found = findings(monkeypatch, Account(1000), **given)
    assert (len(found.errors), len(found.warnings)) == (errors, warnings)


@pytest.mark.parametrize(("quota", "wrong"), [(175, False), (174, True)])
def test_streams_are_reserved_besides(monkeypatch: pytest.MonkeyPatch, quota: int, wrong: bool) -> None:
    errors = findings(monkeypatch, Account(quota), StreamingConcurrency="50").errors
    assert bool(errors) is wrong
    if wrong:
        assert errors[0].startswith("StreamingConcurrency is 50, but 49 can be reserved")


def test_the_command_ends_with_status_1_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boto3, "client", lambda *_, **__: Account(10))
    assert preflight.main(["OpenaiApiKey=sk-test", "RedisUrl=rediss://cache"]) == 1
    assert capsys.readouterr().err.startswith("error: ReservedConcurrency is 25, but 0 can be reserved")
    monkeypatch.setattr(boto3, "client", lambda *_, **__: Account(1000))
    assert preflight.main([]) == 0


def test_what_is_not_given_stays_as_the_stack_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stands = {"ReserveConcurrency": "false", "MaxReplicas": "6", "HighConcurrency": "2", "NormalConcurrency": "2"}
    account = Account(10, own=0, stands=stands | {"OfAnOlderTemplate": "x"})
    assert findings(monkeypatch, account).errors == []
    assert "adds up to 7" in findings(monkeypatch, account, NormalConcurrency="3").errors[0]


@pytest.mark.parametrize(
    ("architecture", "platform", "wrong"),
    [
        ("arm64", None, False),
        ("arm64", "aarch64-manylinux2014", False),
        ("arm64", "x86_64-manylinux2014", True),
        ("x86_64", "x86_64-manylinux_2_28", False),
        ("x86_64", None, True),
    ],
)
def test_the_bundles_are_built_for_the_architecture(
    monkeypatch: pytest.MonkeyPatch, architecture: str, platform: str | None, wrong: bool
) -> None:
    monkeypatch.delenv("BUNDLE_PLATFORM", raising=False)
    if platform:
        monkeypatch.setenv("BUNDLE_PLATFORM", platform)
    errors = findings(monkeypatch, Account(1000), Stage="aws", Architecture=architecture).errors
    assert ["BUNDLE_PLATFORM=" in error for error in errors] == [True] * wrong
    assert not findings(monkeypatch, Account(1000), Architecture=architecture).errors  # locally it is the machine's


@pytest.mark.parametrize(
    ("fit", "given", "wrong"),
    [
        ("abc", {}, False),
        ("bc", {}, True),
        ("bc", {"ZoneA": "us-east-1b", "ZoneB": "us-east-1c"}, False),
        ("bc", {"ZoneA": "us-east-1b"}, True),  # both or neither
        ("abc", {"ZoneA": "us-east-1b", "ZoneB": "us-east-1b"}, True),
    ],
)
def test_the_zones_of_the_vpc_have_what_stands_in_it(
    monkeypatch: pytest.MonkeyPatch, fit: str, given: dict[str, str], wrong: bool
) -> None:
    account = Account(1000)
    account.fit = tuple(f"us-east-1{letter}" for letter in fit)
    errors = findings(monkeypatch, account, ManagedRedis="true", **given).errors
    assert ["Set ZoneA and ZoneB" in error for error in errors] == [True] * wrong


@pytest.mark.parametrize(
    ("parameters", "errors", "warnings"),
    [
        ({"DefaultModel": "nobodys-own"}, 1, 0),
        ({"DefaultModel": "nobodys-own", "AllowUnpricedModels": "true"}, 0, 0),
        ({"DefaultModel": "nobodys-own", "Prices": '{"nobodys-*": [0, 0]}'}, 0, 0),
        ({"DefaultModel": "openai/gpt-4o-mini"}, 0, 0),
        ({"FallbackModels": "gpt-4o, nobodys-own"}, 0, 1),
    ],
)
def test_the_models_that_a_deployment_names_have_a_price(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str], errors: int, warnings: int
) -> None:
    found = findings(monkeypatch, Account(1000), **parameters)
    assert (len(found.errors), len(found.warnings)) == (errors, warnings)
    assert all("nobodys-own, which has no price" in text for text in found.errors + found.warnings)


def test_prices_that_cannot_be_read_are_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    (error,) = findings(monkeypatch, Account(1000), Prices="{no json").errors
    assert "Prices is no JSON" in error
    (error,) = findings(monkeypatch, Account(1000), ContextTokens="{no json").errors
    assert "ContextTokens is no JSON" in error


@pytest.mark.parametrize(
    ("stack", "cache", "told"),
    [
        ("s" * 33, "false", None),
        ("s" * 34, "false", "a stack's name may have 33 characters here (the right of ApiFunction that names"),
        ("s" * 27, "public", None),
        ("s" * 28, "public", "a stack's name may have 27 characters here (PublicUsers's name)"),
        ("Sluice", "public", "lower case only"),
        ("a--b", "public", "two hyphens"),
        ("a-", "public", "two hyphens"),
        ("a--B-", "false", None),
    ],
)
def test_a_stacks_name_leaves_room_for_those_made_from_it(
    monkeypatch: pytest.MonkeyPatch, stack: str, cache: str, told: str | None
) -> None:
    monkeypatch.setattr(boto3, "client", lambda *_, **__: Account(1000))
    given = {"OpenaiApiKey": "sk-test", "RedisUrl": "rediss://cache", "ManagedRedis": cache}
    errors = preflight.check(preflight.read_template(preflight.ROOT / "template.yaml"), given, stack).errors
    assert [told in error for error in errors] == [True] if told else errors == []
