"""Things of which a user may have so many: they stand in one partition, with an item that counts them.

So do a user's schedules and batches.
"""

from typing import Any

from shared.tasks import table
from shared.tasks.items import table_key

NUMBER = "#"
"""Sort key of the item that counts; it comes before their ids."""


def count_op(pk: str, by: int, *, most: int = 0) -> dict[str, Any]:
    """Make the Update that counts one more or less; more than ``most`` is refused."""
    key = table_key(pk, NUMBER)
    if by < 0:
        return table.update_op(key, adds={"n": by})
    return table.update_op(
        key, adds={"n": by}, condition="attribute_not_exists(#n) OR #n < :most", values={"most": most}
    )
