"""DynamoDB's requests and answers are what `botocore` makes of them, only sooner."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.parsers import ResponseParserFactory

from shared import attribute_json, aws
from shared.settings import settings

EVERY_KIND: dict[str, Any] = {
    "S": {"S": "Grüße \U0001f600 \"B\""},
    "N": {"N": "12.5"},
    "B": {"B": b"\x00\xff bytes"},
    "empty": {"B": b""},
    "BOOL": {"BOOL": False},
    "NULL": {"NULL": True},
    "SS": {"SS": ["a", "b"]},
    "NS": {"NS": ["1"]},
    "BS": {"BS": [b"one", b"\x01"]},
    "M": {"M": {"inner": {"B": b"in a map"}, "B": {"L": [{"B": b"in a list"}, {"M": {}}, {"S": ""}]}}},
    "L": {"L": []},
}  # fmt: skip
UPDATE: dict[str, Any] = {
    "TableName": "t",
    "Key": {"pk": {"S": "p"}},
    "UpdateExpression": "SET #a = :a",
    "ExpressionAttributeNames": {"#a": "a"},
    "ExpressionAttributeValues": {f":{name}": value for name, value in EVERY_KIND.items()},
}
REQUESTS: dict[str, dict[str, Any]] = {
    "PutItem": {"TableName": "t", "Item": EVERY_KIND, "ReturnValues": "NONE"},
    "UpdateItem": UPDATE,
    "TransactWriteItems": {
        "TransactItems": [{"Put": {"TableName": "t", "Item": EVERY_KIND}}, {"Update": UPDATE}],
        "ClientRequestToken": "token",
    },
    "BatchExecuteStatement": {"Statements": [{"Statement": "UPDATE t", "Parameters": list(EVERY_KIND.values())}]},
    "Query": {"TableName": "t", "Limit": 3, "ScanIndexForward": False, "ExclusiveStartKey": {"pk": {"S": "p"}}},
    "BatchGetItem": {"RequestItems": {"t": {"Keys": [{"pk": {"B": b"key"}}], "ConsistentRead": True}}},
}


@pytest.fixture
def plain() -> Any:
    """A client as `boto3` makes it."""
    credentials = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    config = Config(parameter_validation=False)  # as everywhere here
    return boto3.client("dynamodb", region_name="us-east-1", config=config, **credentials)


@pytest.mark.parametrize("operation", REQUESTS)
def test_requests_say_the_same(plain: Any, operation: str) -> None:
    model = plain.meta.service_model.operation_model(operation)
    theirs = plain._serializer.serialize_to_request(REQUESTS[operation], model)
    ours = attribute_json.Writer(plain._serializer).serialize_to_request(REQUESTS[operation], model)
    assert json.loads(ours.pop("body")) == json.loads(theirs.pop("body"))
    assert ours == theirs


def test_a_value_that_dynamodb_does_not_know_is_refused(plain: Any) -> None:
    model = plain.meta.service_model.operation_model("PutItem")
    with pytest.raises(TypeError, match="takes no object"):
        attribute_json.Writer(plain._serializer).serialize_to_request({"Item": {"a": {"S": object()}}}, model)


def _wire(value: Any) -> Any:
    return json.loads(json.dumps(value, default=attribute_json._in_base64))


ANSWERS: dict[str, tuple[int, dict[str, Any]]] = {
    "GetItem": (200, {"Item": EVERY_KIND, "ConsumedCapacity": {"CapacityUnits": 1.5, "TableName": "t"}}),
    "UpdateItem": (200, {"Attributes": EVERY_KIND, "ItemCollectionMetrics": {"ItemCollectionKey": EVERY_KIND}}),
    "Query": (200, {"Items": [EVERY_KIND, {}], "Count": 2, "LastEvaluatedKey": {"pk": {"B": b"key"}}}),
    "BatchGetItem": (200, {"Responses": {"t": [EVERY_KIND]}, "UnprocessedKeys": {"t": {"Keys": [EVERY_KIND]}}}),
    "BatchExecuteStatement": (
        200,
        {"Responses": [{"Item": EVERY_KIND}, {"Error": {"Code": "ConditionalCheckFailed", "Item": EVERY_KIND}}]},
    ),
    "DescribeTable": (200, {"Table": {"TableName": "t", "CreationDateTime": 1.5, "New": {"of": "tomorrow"}}}),
    "TransactWriteItems": (200, {}),
}


@pytest.mark.parametrize("operation", ANSWERS)
def test_answers_are_read_the_same(plain: Any, operation: str) -> None:
    status, body = ANSWERS[operation]
    response = {"status_code": status, "headers": {"x-amzn-requestid": "r"}, "body": json.dumps(_wire(body)).encode()}
    shape = plain.meta.service_model.operation_model(operation).output_shape
    theirs = ResponseParserFactory().create_parser("json").parse(response, shape)
    assert attribute_json.Parsers().create_parser("json").parse(response, shape) == theirs


@pytest.mark.parametrize("name", ["TransactionCanceledException", "ConditionalCheckFailedException"])
def test_what_a_refusal_shows_is_read_the_same(plain: Any, name: str) -> None:
    body = {"__type": f"x#{name}", "Item": EVERY_KIND, "CancellationReasons": [{"Code": "None"}, {"Item": EVERY_KIND}]}
    response = {"status_code": 400, "headers": {}, "body": json.dumps(_wire(body)).encode()}
    shape = plain.meta.service_model.shape_for(name)
    theirs = ResponseParserFactory().create_parser("json").parse(response, shape)
    assert theirs
    assert attribute_json.Parsers().create_parser("json").parse(response, shape) == theirs


def test_other_protocols_keep_their_readers() -> None:
    theirs = ResponseParserFactory().create_parser("rest-xml")
    assert type(attribute_json.Parsers().create_parser("rest-xml")) is type(theirs)


@pytest.mark.usefixtures("fake_aws")
def test_the_client_in_use_reads_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    for owner, name in ((attribute_json.Writer, "serialize_to_request"), (attribute_json.Parser, "parse")):
        inner = getattr(owner, name)

        def noting(*args: Any, _inner: Any = inner, _name: str = name) -> Any:
            used.append(_name)
            return _inner(*args)

        monkeypatch.setattr(owner, name, noting)
    key: dict[str, Any] = {"pk": {"S": "p"}, "sk": {"S": "s"}}
    written = {**EVERY_KIND, **key}
    aws.dynamodb().put_item(TableName=settings().table_name, Item=written)
    found = aws.dynamodb().get_item(TableName=settings().table_name, Key=key)["Item"]
    assert {name: _sorted(value) for name, value in found.items()} == {n: _sorted(v) for n, v in written.items()}
    assert used == ["serialize_to_request", "parse"] * 2  # botocore keeps both where they are set


def _sorted(value: dict[str, Any]) -> dict[str, Any]:
    return {kind: sorted(content) if kind in ("BS", "SS", "NS") else content for kind, content in value.items()}
