"""What DynamoDB would bill for the writes of a client, by AWS's published rules, counted at its real requests.

Rules, each with its source (read 2026-11):

- A write of an item costs one unit for each KB begun, of the larger of the item before and after. An update counts the
  whole item, also when only one attribute changes; a write whose condition fails costs as much as one of the item that
  is there, and one unit at least.
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
- An item's size is that of its attributes' names and values: text in UTF-8, a byte for two digits of a number and one
  more, a byte for a Boolean or a null, three bytes and one for each element of a list or a map.
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
- In a transaction every item costs twice, a ConditionCheck as well; a cancelled one is charged, too.
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
- An index: one write for an entry that appears, one for an entry that goes, two for one whose key changes, one for one
  whose projected attributes change; none otherwise. Indexes follow after the write, also after a transaction, so theirs
  are plain writes. Which attributes are keys and projected is read from the
  table.
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html
- PartiQL statements and the writes of a batch cost what each would alone.
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.multiplestatements.batching.html
- What DynamoDB deletes as expired is free.
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any

Item = dict[str, Any]
Key = tuple[str, str]

KB = 1024
PLAIN = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
WRITES = PLAIN | {"TransactWriteItems", "BatchWriteItem", "BatchExecuteStatement", "ExecuteStatement"}
_STATEMENT = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


def value_bytes(value: Item) -> int:
    """Return the size of an attribute's value, as the low-level client takes it (``{"S": "…"}``)."""
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "N":
        return number_bytes(content)
    if kind == "B":
        return len(content)
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "SS":
        return sum(len(one.encode()) for one in content)
    if kind == "NS":
        return sum(number_bytes(one) for one in content)
    if kind == "BS":
        return sum(len(one) for one in content)
    if kind == "L":
        return 3 + sum(1 + value_bytes(one) for one in content)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + value_bytes(one) for name, one in content.items())
    raise ValueError(f"no attribute is of the kind {kind!r}")


def number_bytes(text: str) -> int:
    """Return the size of a number: two digits a byte, zeros at either end left out, one byte more, one for a sign."""
    mantissa = text.lower().partition("e")[0]
    digits = mantissa.lstrip("-+").replace(".", "")
    digits = digits.lstrip("0").rstrip("0")
    return (len(digits) + 1) // 2 + 1 + text.startswith("-")


def item_bytes(item: Item) -> int:
    """Return the size of an item, names included."""
    return sum(len(name.encode()) + value_bytes(value) for name, value in item.items())


def units(before: Item | None, after: Item | None) -> int:
    """Return the write units of the table for one write of one item."""
    size = max((item_bytes(item) for item in (before, after) if item is not None), default=0)
    return max(1, -(-size // KB))


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index: its key attributes, and what it projects besides the keys of table and index; None: all."""

    keys: tuple[str, ...]
    projected: frozenset[str] | None = frozenset()

    def entry(self, item: Item | None) -> Item | None:
        """Return what the index holds of an item, if anything."""
        if item is None or any(name not in item for name in self.keys):
            return None
        if self.projected is None:
            return item
        return {name: item[name] for name in {"pk", "sk", *self.keys, *self.projected} if name in item}

    def units(self, before: Item | None, after: Item | None) -> int:
        """Return the write units of the index for one write of one item."""
        old, new = self.entry(before), self.entry(after)
        if old == new:
            return 0
        if old is None or new is None or all(old[name] == new[name] for name in self.keys):
            return units(old, new)
        return units(old, None) + units(None, new)


@dataclass(frozen=True, slots=True)
class Write:
    """One write of one item: what it cost, and of which items a size or a fault shows."""

    sk: str
    table: int
    indexes: int
    bytes: int
    transactional: bool = False
    refused: bool = False

    @property
    def units(self) -> int:
        """All that is billed for it."""
        return self.table + self.indexes


@dataclass(slots=True)
class Meter:
    """Counts what a client writes. Writes of several threads to one item at once would be told apart wrongly."""

    look: Any
    """Another client of the same table: its reads are not counted."""
    table_name: str
    writes: list[Write] = field(default_factory=list)
    _before: threading.local = field(default_factory=threading.local)
    _known: list[Index] | None = None

    def watch(self, client: Any) -> None:
        """Count the requests of a boto3 client from now on."""
        client.meta.events.register("before-call.dynamodb", self._note)
        client.meta.events.register("after-call.dynamodb", self._count)
        client.meta.events.register("provide-client-params.dynamodb", self._remember)

    def clear(self) -> None:
        """Forget what was counted."""
        self.writes.clear()

    @property
    def units(self) -> int:
        """All that was billed since the last ``clear``."""
        return sum(write.units for write in self.writes)

    def take(self) -> int:
        """Return what was billed, and begin anew."""
        found = self.units
        self.clear()
        return found

    def _remember(self, params: Any, model: Any, **_: Any) -> None:
        self._before.params = params if model.name in WRITES else None

    def _note(self, model: Any, **_: Any) -> None:
        params = getattr(self._before, "params", None)
        self._before.items = None
        if model.name in WRITES and params is not None:
            self._before.items = [(key, self._read(key)) for key in self._targets(model.name, params)]

    def _count(self, http_response: Any, model: Any, **_: Any) -> None:
        items, self._before.items = getattr(self._before, "items", None), None
        if items is None:
            return
        refused = http_response.status_code >= 300
        twice = model.name == "TransactWriteItems"
        for key, before in items:
            after = before if refused else self._read(key)
            cost = units(before, after) * (2 if twice else 1)
            size = max(item_bytes(item) if item else 0 for item in (before, after))
            indexes = sum(index.units(before, after) for index in self._indexes())
            self.writes.append(Write(key["sk"]["S"], cost, indexes, size, twice, refused))

    def _targets(self, name: str, params: Any) -> list[Item]:
        if name in PLAIN:
            return [_key_of(params)]
        if name == "TransactWriteItems":
            return [_key_of(body) for one in params["TransactItems"] for body in one.values()]
        if name == "BatchWriteItem":
            requests = [one for each in params["RequestItems"].values() for one in each]
            return [_key_of(body) for one in requests for body in one.values()]
        statements = params["Statements"] if name == "BatchExecuteStatement" else [params]
        return [_key_of_statement(one) for one in statements if _STATEMENT.match(one["Statement"])]

    def _read(self, key: Item) -> Item | None:
        found: Item | None = self.look.get_item(TableName=self.table_name, Key=key, ConsistentRead=True).get("Item")
        return found

    def _indexes(self) -> list[Index]:
        if self._known is None:
            table = self.look.describe_table(TableName=self.table_name)["Table"]
            self._known = []
            for index in table.get("GlobalSecondaryIndexes", []):
                how = index["Projection"]
                more = None if how["ProjectionType"] == "ALL" else frozenset(how.get("NonKeyAttributes", []))
                self._known.append(Index(tuple(one["AttributeName"] for one in index["KeySchema"]), more))
        return self._known


def _key_of(body: Item) -> Item:
    there = body.get("Key") or body["Item"]
    return {"pk": there["pk"], "sk": there["sk"]}


def _key_of_statement(statement: Item) -> Item:
    """Return the key that a statement names by ``"pk" = ? AND "sk" = ?``, or by ``VALUE {'pk': ?, 'sk': ?, …}``."""
    text, parameters = statement["Statement"], statement.get("Parameters", [])
    places = [found.start() for found in re.finditer(r"\?", text)]
    key = {}
    for name in ("pk", "sk"):
        found = re.search(rf"""["']{name}["']\s*[=:]\s*\?""", text)
        if found is None:
            raise ValueError(f"no key in {text!r}")
        key[name] = parameters[places.index(found.end() - 1)]
    return key
