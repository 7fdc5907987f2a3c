"""The few shapes in which Sluice calls DynamoDB, with errors told apart once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.errors import Contended, DependencyDown, ItemThrottled
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks.conditions import If, expressed
from shared.tasks.group_commit import GroupCommit
from shared.tasks.items import Attributes, attribute, known, plain
from shared.tasks.model import COMMON_VERSION

_log = get_logger("table")

READ_AT_ONCE = 100
"""Items that DynamoDB's BatchGetItem takes."""
STATEMENTS_AT_ONCE = 25
"""Statements that DynamoDB's BatchExecuteStatement takes."""


class ConditionFailed(Exception):
    """A conditional write was refused; ``items`` holds what stood there instead, by position in the transaction.

    ``unseen`` are the positions of which nothing is known, as another writer held the item, or its partition was busy.
    """

    def __init__(self, items: dict[int, Attributes | None], unseen: frozenset[int] = frozenset()) -> None:
        super().__init__("condition failed")
        self.items = items
        self.unseen = unseen


@contextmanager
def calling() -> Iterator[None]:
    """Tell errors of calls of DynamoDB apart.

    Raises:
        ConditionFailed, Contended, DependencyDown: see those who call it.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        _sort_out(error)
        raise


def get(key: Attributes, *, consistent: bool = True) -> Attributes | None:
    """Read one item.

    Raises:
        NewerVersion: a newer version of Sluice wrote it.
    """
    with calling():
        answer = aws.dynamodb().get_item(TableName=settings().table_name, Key=key, ConsistentRead=consistent)
    item = answer.get("Item")
    return None if item is None else known(item)


def get_many(keys: list[Attributes]) -> list[Attributes]:
    """Read items, ``READ_AT_ONCE`` a request, consistently, in any order; those that are not there are left out.

    Items are not checked for a newer version: one must not keep the others from being read.
    """
    name = settings().table_name
    found: list[Attributes] = []
    while keys:
        part, keys = keys[:READ_AT_ONCE], keys[READ_AT_ONCE:]
        with calling():
            answer: Any = aws.dynamodb().batch_get_item(RequestItems={name: {"Keys": part, "ConsistentRead": True}})
        items = answer["Responses"].get(name, [])
        left = answer.get("UnprocessedKeys", {}).get(name, {}).get("Keys", [])  # an answer holds 16 MB at most
        if left and not items:
            raise DependencyDown("dynamodb")
        keys = left + keys
        found += items
    return found


def query(**kwargs: Any) -> Iterator[Attributes]:
    """Run a query through all its pages.

    Raises:
        NewerVersion: a newer version of Sluice wrote one of the items.
    """
    while True:
        page = query_page(**kwargs)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        kwargs["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def query_page(**kwargs: Any) -> Any:
    """Run one page of a query; see ``query``."""
    with calling():
        page = aws.dynamodb().query(TableName=settings().table_name, **kwargs)
    if "IndexName" not in kwargs:  # an index holds keys and what lists show, which every version reads
        for item in page["Items"]:
            known(item)
    return page


def due(shard: str, *, before: float, limit: int) -> list[Attributes]:
    """Return what the ``due`` index tells of items that are to be looked at, those that are due for longest first."""
    page = query_page(
        IndexName="due",
        KeyConditionExpression="due = :shard AND due_at <= :before",
        ExpressionAttributeValues={":shard": {"S": shard}, ":before": attribute(before)},
        Limit=limit,
    )
    found: list[Attributes] = page["Items"]
    return found


def put_op(item: Attributes, **when: Unpack[If]) -> dict[str, Any]:
    """Make the Put of a transaction; every item says which form it has."""
    versioned = {"v": attribute(COMMON_VERSION)} | item
    return {"Put": {"TableName": settings().table_name, "Item": versioned} | expressed({}, {}, when)}


def update_op(
    key: Attributes,
    *,
    sets: dict[str, Any] | None = None,
    adds: dict[str, int] | None = None,
    removes: tuple[str, ...] = (),
    **when: Unpack[If],
) -> dict[str, Any]:
    """Make the Update of a transaction."""
    names = set(removes)
    marks: dict[str, str] = {}  # of names that an expression cannot hold
    numbers: Attributes = {}
    parts: list[str] = []
    if sets:
        names |= sets.keys()
        numbers |= {f":s_{name}": attribute(value) for name, value in sets.items()}
        parts.append("SET " + ", ".join(f"#{name} = :s_{name}" for name in sets))
    if adds:
        marks = {name: name if name.isidentifier() and name.isascii() else f"n{n}" for n, name in enumerate(adds)}
        numbers |= {f":a_{marks[name]}": attribute(value) for name, value in adds.items()}
        parts.append("ADD " + ", ".join(f"#{mark} :a_{mark}" for mark in marks.values()))
    if removes:
        parts.append("REMOVE " + ", ".join(f"#{name}" for name in removes))
    op: dict[str, Any] = {"TableName": settings().table_name, "Key": key, "UpdateExpression": " ".join(parts)}
    marked = {name: name for name in names} | {mark: name for name, mark in marks.items()}
    return {"Update": op | expressed(marked, numbers, when)}


def update(op: dict[str, Any]) -> Attributes:
    """Run one Update by itself and return the item as it is afterwards.

    Raises:
        ConditionFailed: the condition did not hold; carries the item.
        Contended: a transaction holds the item right now.
    """
    with calling():
        return aws.dynamodb().update_item(**op["Update"], ReturnValues="ALL_NEW")["Attributes"]


class Words(If, total=False):
    """The words of ``update_op``."""

    sets: dict[str, Any]
    adds: dict[str, int]
    removes: tuple[str, ...]


def change(key: Attributes, **what: Unpack[Words]) -> Attributes | None:
    """Run one Update by itself and return the item as it is afterwards; None where the condition does not hold.

    botocore repeats a write whose answer was lost, and the repeat may be refused because of the first. So an item that
    has all that was to be set, and nothing that was to be removed, was written by this.

    Raises:
        Contended, DependencyDown: as ``update``.
    """
    try:
        return update(update_op(key, **what))
    except ConditionFailed as refusal:
        there, sets = refusal.items.get(0) or {}, what.get("sets", {})
        removed = not there.keys() & set(what.get("removes", ()))
        return there if sets and removed and _has(there, {name: attribute(sets[name]) for name in sets}) else None


def update_each(statements: list[dict[str, Any]]) -> list[Attributes | None]:
    """Run up to ``STATEMENTS_AT_ONCE`` PartiQL updates of different items in one request, each by itself.

    Returns every item as it is afterwards, by position; None where the update was refused or failed. A request that is
    repeated after a lost answer is refused what it had done.

    Raises:
        DependencyDown: DynamoDB is away or throttling; which of them were done is not known.
    """
    with calling():
        answer: Any = aws.dynamodb().batch_execute_statement(Statements=statements)  # type: ignore[arg-type]
    odd = {one["Error"]["Code"] for one in answer["Responses"] if "Error" in one} - {"ConditionalCheckFailed"}
    if odd:
        _log.warning("statements failed", extra={"codes": sorted(odd)})
    return [None if "Error" in one else one.get("Item") for one in answer["Responses"]]


def put(op: dict[str, Any]) -> None:
    """Run one Put by itself; errors as in ``update``."""
    with calling():
        aws.dynamodb().put_item(**op["Put"])


def placed(op: dict[str, Any]) -> bool:
    """Run one Put by itself; False where its condition does not hold, and the item is not there as this would put it.

    If it is, this put it: its answer was lost, and botocore repeated it.

    Raises:
        Contended, DependencyDown: as ``update``.
    """
    try:
        put(op)
    except ConditionFailed as refusal:
        there, mine = refusal.items.get(0), op["Put"]["Item"]
        return there is not None and there.keys() == mine.keys() and _has(there, mine)
    return True


def _has(there: Attributes, mine: Attributes) -> bool:
    return all(name in there and plain(there[name]) == plain(mine[name]) for name in mine)


def transact(ops: list[dict[str, Any]]) -> None:
    """Run all of the operations or none, perhaps together with other transactions of this environment.

    Raises:
        ConditionFailed: by position, what stood in the way.
        Contended: another writer holds one of the items right now.
    """
    _group.commit(ops)


def transact_each(transactions: Sequence[list[dict[str, Any]]]) -> list[Exception | None]:
    """Run several transactions, each all or none, in as few requests as hold them.

    Returns, by position, what ``transact`` would have raised.
    """
    return _group.commit_each(transactions)


def _transact(ops: list[dict[str, Any]]) -> None:
    # A lost answer is safe: botocore repeats with the same token.
    with calling():
        aws.dynamodb().transact_write_items(TransactItems=ops)  # type: ignore[arg-type]


_group = GroupCommit(_transact)


def _sort_out(error: Exception) -> None:
    code = aws.error_code(error)
    if isinstance(error, ClientError):
        if code == "ConditionalCheckFailedException":
            raise ConditionFailed({0: dict(error.response).get("Item")}) from error  # type: ignore[dict-item]
        if code == "TransactionConflictException":
            raise Contended("the item is in a transaction") from error
        if code == "TransactionCanceledException":
            reasons: list[Any] = dict(error.response).get("CancellationReasons", [])  # type: ignore[assignment]
            codes = {str(reason.get("Code", "None")) for reason in reasons}
            failed = {
                n: reason.get("Item")
                for n, reason in enumerate(reasons)
                if reason.get("Code") == "ConditionalCheckFailed"
            }
            if failed:
                seen = {"None", "ConditionalCheckFailed"}
                unseen = (n for n, reason in enumerate(reasons) if str(reason.get("Code", "None")) not in seen)
                raise ConditionFailed(failed, frozenset(unseen)) from error
            if "TransactionConflict" in codes:
                raise Contended("another transaction holds the item") from error
            if codes & {"ThrottlingError", "ProvisionedThroughputExceeded"}:
                # One of them: its partition is. All of them: the table or the account.
                raise (ItemThrottled if "None" in codes else DependencyDown)("dynamodb") from error
    if aws.is_outage(error):
        if code and code not in aws.THROTTLED:  # waiting may not mend it: an operator is to read of it
            _log.error("DynamoDB refused a call", extra={"code": code, "cause": str(error)[:300]})
        raise DependencyDown("dynamodb") from error
