"""Moto answers with our quicker parts what it answers without them, refusals and rollbacks included."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluice.testing import quick_moto
from sluice.testing.account import TABLE, account, client

KEY = {"pk": {"S": "TASK#1"}, "sk": {"S": "ROW"}}
NEIGHBOUR = {"pk": {"S": "TASK#1"}, "sk": {"S": "STEP#1"}}
ITEM = KEY | {
    "n": {"N": "1"},
    "text": {"S": "é" * 10},
    "deep": {"M": {"a": {"L": [{"S": "x"}, {"N": "2"}, {"M": {"b": {"BOOL": True}}}]}}},
    "set": {"SS": ["a", "b"]},
}


def update(expression: str, **more: Any) -> tuple[str, dict[str, Any]]:
    values = {f":{name}": value for name, value in more.pop("values", {}).items()}
    given = {"ExpressionAttributeValues": values} if values else {}
    return "update_item", {
        "TableName": TABLE, "Key": KEY, "UpdateExpression": expression, "ReturnValues": "ALL_NEW", **given, **more,
    }  # fmt: skip


ONE, TEXT = {"N": "1"}, {"S": "y"}
BOTH = {"one": ONE, "t": TEXT}
ABSENT = {"ConditionExpression": "attribute_not_exists(pk)"}
PUT = ("put_item", {"TableName": TABLE, "Item": ITEM})
NAMES = {"#n": "n", "#t": "text", "#m": "more", "#g": "gone"}
PLAIN = "SET #t = :t, #m = :m ADD #n :one REMOVE #g"
WHERE = {"ConditionExpression": "#n < :most AND (attribute_not_exists(#m) OR #t IN (:t, :other))"}


def plain(expression: str = PLAIN, values: dict[str, Any] | None = None, **more: Any) -> tuple[str, dict[str, Any]]:
    """Update attributes that all have a `#name`, as Sluice does."""
    given = values or {"t": TEXT, "m": {"M": {"x": ONE}}, "one": ONE}
    words = expression + more.get("ConditionExpression", "")
    known = {name: attribute for name, attribute in NAMES.items() if name in words}
    return update(expression, values=given, ExpressionAttributeNames=known, **more)


def deep_bytes(n: int) -> dict[str, Any]:
    """Make bytes in a map, in a list and in a set, under names that look like their types'."""
    return {"M": {"B": {"B": b"B" * n}, "BS": {"L": [{"BS": [b"1", b"\x00"]}, {"B": b""}, {"S": "QkI="}]}}}


TOUCH = {"TableName": TABLE, "Key": KEY, "UpdateExpression": "SET n = n + :one, deep.z = :one"}
TOUCH |= {"ExpressionAttributeValues": {":one": ONE}}
CALLS = (
    PUT,
    update("SET n = n + :one, #t = :t REMOVE gone", values=BOTH, ExpressionAttributeNames={"#t": "text"}),
    update("SET n = n + :one, #t = :t REMOVE gone", values=BOTH, ExpressionAttributeNames={"#t": "other"}),
    update("SET deep.a[1] = :one, deep.a[7] = :t", values=BOTH),
    update("SET deep.c = if_not_exists(deep.c, :t), made = list_append(deep.a, :l)",
           values={"t": TEXT, "l": {"L": [ONE]}}),
    update("REMOVE deep.a[0], deep.a[2] ADD n :one DELETE #s :s", values={"one": ONE, "s": {"SS": ["a"]}},
           ExpressionAttributeNames={"#s": "set"}),
    update("SET n = :one, n = :t", values=BOTH),  # the same twice
    update("SET deep.q = :one, deep.q.r = :t", values=BOTH),  # one within the other
    update("SET n = :one SET text = :t", values=BOTH),
    update("SET pk = :t", values={"t": TEXT}),
    update("SET #k = :t", values={"t": TEXT}, ExpressionAttributeNames={"#k": "sk"}),
    update("SET x = absent + :one", values={"one": ONE}),
    update("SET x = :nobody", values={"one": ONE}),
    update("SET x = :one", values={"one": ONE, "unused": ONE}),
    update("SET n = n + :t", values={"t": TEXT}),
    update("SET created = :one", values={"one": ONE}),  # an index's key of another type
    update("SET", values={"one": ONE}),
    update("SET size = :one", values={"one": ONE}),  # a reserved word
    update("SET n = n + :one", values={"one": ONE}, ConditionExpression="n > :one"),
    update("SET n = n + :one", values={"one": ONE}, ConditionExpression="n < :one"),
    update("SET large = :large", values={"large": {"S": "x" * 405_000}}),
    update("SET deep.a[2].b = :one, deep.new = :deep", values={"one": ONE, "deep": {"M": {"x": {"M": {"y": TEXT}}}}}),
    update("SET wide = :wide", values={"wide": {"L": [{"S": "é" * 67_000}, {"M": {"n": {"NS": ["1", "22"]}}}]}}),
    update("SET wider = :wide", values={"wide": {"L": [{"S": "é" * 136_000}]}}),  # with the other too much
    update("SET flag = :flag, none = :none, sets = :sets", values={
        "flag": {"BOOL": False}, "none": {"NULL": True}, "sets": {"NS": ["1", "22"]},
    }),
    update("ADD sets :more", values={"more": {"NS": ["3"]}}),
    ("get_item", {"TableName": TABLE, "Key": KEY}),
    update("REMOVE wide, wider"),
    plain(),
    plain(values={"t": {"S": "z"}, "m": {"L": [ONE]}, "one": {"N": "-2.5"}}),
    plain(values={"t": {"S": "z"}, "m": TEXT, "one": TEXT}),  # no number
    plain(values={"t": {"S": "z"}, "m": TEXT, "one": {"NS": ["1"]}}),
    plain(values={"t": TEXT, "m": ONE}),  # a value is missing
    plain("ADD #t :one", {"one": ONE}),  # to what is no number
    plain("ADD #g :one", {"one": ONE}),  # to what is not there
    plain("ADD #g :one", {"one": ONE}),
    plain("SET #t = :t, #m = :m", {"t": {"S": "x" * 200_000}, "m": {"S": "x" * 204_000}}),
    plain("SET #t = :t, #m = :m", {"t": {"S": "x" * 200_000}, "m": {"S": "x" * 204_900}}),  # together too much
    plain("SET #t = :t, #m = :m", {"t": TEXT, "m": {"S": "é" * 202_400}}),
    plain("SET #t = :t, #m = :m", {"t": TEXT, "m": ONE}),
    plain("SET #t = :t, #t = :m", {"t": TEXT, "m": ONE}),  # the same twice
    plain("REMOVE #g, #m", {}),
    *(
        plain(values={"t": TEXT, "m": ONE, "one": ONE, "most": {"N": most}, "other": {"S": other}}, **WHERE, **back)
        for most, other in (("100", "y"), ("0", "y"), ("100", "z"), ("100", "y"))
        for back in ({}, {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"})
    ),
    plain("SET #t = :t", {"t": TEXT, "unused": ONE}),
    update("SET #k = :t", values={"t": TEXT}, ExpressionAttributeNames={"#k": "sk"}),
    update("SET #k = :t", values={"t": TEXT}, ExpressionAttributeNames={"#k": "by_user", "#unused": "x"}),
    update("SET #k = :t", values={"t": ONE}, ExpressionAttributeNames={"#k": "by_user"}),  # an index's key
    update("SET #k = :t", values={"t": TEXT}, ExpressionAttributeNames={"#other": "by_user"}),
    ("put_item", {"TableName": TABLE, "Item": ITEM | {"large": {"S": "x" * 404_700}}}),
    ("put_item", {"TableName": TABLE, "Item": ITEM | {"large": {"S": "x" * 405_000}}}),
    ("update_item", {"TableName": TABLE, "Key": NEIGHBOUR, "UpdateExpression": "SET n = if_not_exists(n, :z)",
                     "ExpressionAttributeValues": {":z": {"N": "0"}}}),
    PUT,
    ("transact_write_items", {"TransactItems": [{"Update": TOUCH}, {"Put": {"TableName": TABLE, "Item": NEIGHBOUR}}]}),
    ("transact_write_items", {"TransactItems": [
        {"Update": TOUCH},
        {"Put": {"TableName": TABLE, "Item": NEIGHBOUR | {"n": ONE}, **ABSENT}},
    ]}),
    ("transact_write_items", {"TransactItems": [{"Update": TOUCH}, {"Delete": {"TableName": TABLE, "Key": KEY}}]}),
    ("query", {"TableName": TABLE, "KeyConditionExpression": "pk = :p",
               "ExpressionAttributeValues": {":p": KEY["pk"]}}),
    ("scan", {"TableName": TABLE}),
    ("get_item", {"TableName": TABLE, "Key": KEY, "ProjectionExpression": "deep.a, #t",
                  "ExpressionAttributeNames": {"#t": "text"}}),
    ("get_item", {"TableName": TABLE, "Key": KEY | {"sk": {"S": "NOBODY"}}}),
    ("get_item", {"TableName": TABLE, "Key": {"pk": {"S": "half"}}}),
    ("get_item", {"TableName": "absent", "Key": KEY}),
    ("put_item", {"TableName": TABLE, "Item": NEIGHBOUR | {"raw": {"B": b"\x00\xff"}, "raws": {"BS": [b"a", b"b"]}}}),
    ("batch_get_item", {"RequestItems": {TABLE: {"Keys": [KEY, NEIGHBOUR]}}}),
    ("get_item", {"TableName": TABLE, "Key": NEIGHBOUR}),
    *(
        ("update_item", {"TableName": TABLE, "Key": NEIGHBOUR, "UpdateExpression": "SET #b = :b, #d = :d",
                         "ExpressionAttributeNames": {"#b": "B", "#d": "deep"}, "ReturnValues": back,
                         "ExpressionAttributeValues": {":b": {"B": b"\xfe" * n}, ":d": deep_bytes(n)}})
        for n, back in enumerate(("ALL_NEW", "ALL_OLD", "UPDATED_NEW", "UPDATED_OLD", "NONE"))
    ),
    ("query", {"TableName": TABLE, "KeyConditionExpression": "pk = :p", "FilterExpression": "raw = :b OR #b = :b",
               "ExpressionAttributeNames": {"#b": "B"},
               "ExpressionAttributeValues": {":p": KEY["pk"], ":b": {"B": b"\x00\xff"}}}),
    ("transact_write_items", {"TransactItems": [
        {"Put": {"TableName": TABLE, "Item": NEIGHBOUR | {"raw": {"B": b"\x80"}}, **ABSENT,
                 "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}},
    ]}),
    ("transact_write_items", {"TransactItems": [
        {"Update": TOUCH}, {"Put": {"TableName": TABLE, "Item": NEIGHBOUR | {"raw": {"B": b"\x80"}}}},
    ]}),
    ("scan", {"TableName": TABLE}),
    ("delete_item", {"TableName": TABLE, "Key": NEIGHBOUR, "ReturnValues": "ALL_OLD"}),
    ("query", {"TableName": TABLE, "KeyConditionExpression": "pk = :p AND begins_with(sk, :s)", "Limit": 1,
               "ReturnConsumedCapacity": "TOTAL", "ExpressionAttributeValues": {":p": KEY["pk"], ":s": {"S": ""}}}),
    ("query", {"TableName": TABLE, "KeyConditionExpression": "pk = :p", "Limit": 1, "Select": "COUNT",
               "ExpressionAttributeValues": {":p": KEY["pk"]}}),
    ("query", {"TableName": TABLE, "IndexName": "of_user", "KeyConditionExpression": "by_user = :p",
               "ExpressionAttributeValues": {":p": {"S": "nobody"}}}),
    ("batch_write_item", {"RequestItems": {TABLE: [{"PutRequest": {"Item": NEIGHBOUR | {"é": {"S": "\u2028€"}}}},
                                                   {"DeleteRequest": {"Key": KEY}}]}}),
    ("delete_item", {"TableName": TABLE, "Key": NEIGHBOUR, "ReturnValues": "ALL_OLD"}),
    ("delete_item", {"TableName": TABLE, "Key": NEIGHBOUR, "ConditionExpression": "attribute_exists(pk)"}),
)  # fmt: skip


SENT = (
    ("send_message", {"MessageBody": "hello é", "DelaySeconds": 0, "MessageGroupId": "ann"}),
    ("send_message", {"MessageBody": "", "MessageAttributes": {"n": {"DataType": "String", "StringValue": "x"}}}),
    ("send_message", {"MessageBody": "b", "MessageAttributes": {"n": {"DataType": "Binary", "BinaryValue": b"\xff"}}}),
    ("send_message", {"MessageBody": "late", "DelaySeconds": 901}),
    ("send_message", {"MessageBody": "late", "DelaySeconds": 900}),
    ("send_message", {"MessageBody": "x" * 1_100_000}),
    ("send_message_batch", {"Entries": [{"Id": "a", "MessageBody": "1"}, {"Id": "b", "MessageBody": "2"}]}),
    ("send_message_batch", {"Entries": [{"Id": "a", "MessageBody": "1"}, {"Id": "a", "MessageBody": "2"}]}),
    ("get_queue_attributes", {"AttributeNames": ["All"]}),
    ("get_queue_attributes", {"AttributeNames": ["ApproximateNumberOfMessagesDelayed", "QueueArn"]}),
    ("get_queue_attributes", {"AttributeNames": ["Unheard"]}),
    ("receive_message", {"MaxNumberOfMessages": 2, "AttributeNames": ["All"], "MessageAttributeNames": ["All"]}),
    ("receive_message", {"MaxNumberOfMessages": 10, "VisibilityTimeout": 0}),
    ("receive_message", {"MaxNumberOfMessages": 11}),
    ("change_message_visibility", {"ReceiptHandle": "nobody's", "VisibilityTimeout": 1}),
    ("delete_message", {"ReceiptHandle": "nobody's"}),
    ("delete_message_batch", {"Entries": [{"Id": "a", "ReceiptHandle": "nobody's"}]}),
    ("get_queue_attributes", {"AttributeNames": ["ApproximateNumberOfMessages",
                                                 "ApproximateNumberOfMessagesNotVisible"]}),
)  # fmt: skip
RANDOM = ("MessageId", "ReceiptHandle", "SentTimestamp", "ApproximateFirstReceiveTimestamp", "CreatedTimestamp",
          "LastModifiedTimestamp")  # fmt: skip


def same(value: Any) -> Any:
    """Return an answer without what differs each time."""
    if isinstance(value, dict):
        return {name: "" if name in RANDOM else same(one) for name, one in value.items() if name != "ResponseMetadata"}
    return [same(one) for one in value] if isinstance(value, list) else value


def told() -> list[Any]:
    """Return what each call about messages answers, and what becomes of one that was received."""
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch, account(patch) as lanes:
        queue = client("sqs")
        for name, arguments in SENT:
            try:
                found.append(same(getattr(queue, name)(QueueUrl=lanes["normal"], **arguments)))
            except ClientError as error:
                found.append(same(error.response))
        url = {"QueueUrl": lanes["high"]}
        queue.send_message(**url, MessageBody="once")
        (one,) = queue.receive_message(**url, VisibilityTimeout=900)["Messages"]
        found.append(same(queue.receive_message(**url)))
        queue.change_message_visibility(**url, ReceiptHandle=one["ReceiptHandle"], VisibilityTimeout=0)
        (again,) = queue.receive_message(**url, AttributeNames=["ApproximateReceiveCount"])["Messages"]
        found.append(same(again))
        queue.delete_message(**url, ReceiptHandle=again["ReceiptHandle"])
        with pytest.raises(queue.exceptions.QueueDoesNotExist) as gone:
            queue.send_message(QueueUrl=lanes["high"] + "x", MessageBody="nobody's")
        found.append(same(gone.value.response))
    return found


def test_queues_answer_the_same() -> None:
    with quick_moto.plain():
        expected = told()
    assert sum("Error" in one for one in expected) >= 7
    for n, (found, plain) in enumerate(zip(told(), expected, strict=True)):
        assert found == plain, SENT[n : n + 1]


def answers() -> list[Any]:
    """Return what each call answers, and the item's state after it."""
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch, account(patch):
        table = client("dynamodb")
        for name, arguments in CALLS:
            try:
                answer = getattr(table, name)(**arguments)
            except ClientError as error:
                answer = dict(error.response)
            told = answer["ResponseMetadata"]
            answer["ResponseMetadata"] = {each: told[each] for each in ("HTTPStatusCode", "RetryAttempts")}
            found += [answer, table.get_item(TableName=TABLE, Key=KEY).get("Item")]
    return found


def test_it_answers_the_same() -> None:
    with quick_moto.plain():
        expected = answers()
    assert sum("Error" in (answer or {}) for answer in expected) >= 12
    for _ in range(2):  # the second time expressions are known
        for n, (found, plain) in enumerate(zip(answers(), expected, strict=True)):
            assert found == plain, CALLS[n // 2]
