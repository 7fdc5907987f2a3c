"""What a query asks for: the items under a key, of the table or of an index, all of them or a range."""

from typing import Any, NamedTuple

from shared.tasks.items import Attributes


class Index(NamedTuple):
    """By what items are found: the index's name, none for the table itself, and its two keys."""

    name: str
    partition: str
    sort: str


TABLE = Index("", "pk", "sk")
OF_USER = Index("of_user", "by_user", "created")
FEED = Index("feed", "feed", "created")
DUE = Index("due", "due", "due_at")
PARKED = Index("parked", "parked", "created")


def under(
    key: str,
    *,
    begins: str = "",
    between: tuple[str, str] | None = None,
    index: Index = TABLE,
    after: Attributes | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return the words of a query for what stands under a key, in the order of its sort keys.

    Sort keys must begin with ``begins``, or lie between two texts, both included. ``after`` is the place that it goes
    on from, ``more`` are further words.
    """
    condition = f"{index.partition} = :key"
    values = {":key": {"S": key}}
    if begins:
        condition += f" AND begins_with({index.sort}, :begins)"
        values[":begins"] = {"S": begins}
    if between is not None:
        condition += f" AND {index.sort} BETWEEN :low AND :high"
        values |= {":low": {"S": between[0]}, ":high": {"S": between[1]}}
    if index.name:
        more["IndexName"] = index.name
    if after is not None:
        more["ExclusiveStartKey"] = after
    return {"KeyConditionExpression": condition, "ExpressionAttributeValues": values, **more}
