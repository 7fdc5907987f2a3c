"""How large DynamoDB takes an item to be: a write costs a unit for each KB begun, of the whole item.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html (2026-11)
"""

from shared.tasks.items import Attributes

UNIT_BYTES = 1024
"""What one write unit covers."""


def item_bytes(item: Attributes) -> int:
    """Return the size of an item of texts, numbers, Booleans and bytes."""
    size = 0
    for name, value in item.items():
        ((kind, content),) = value.items()
        size += len(name.encode())
        if kind == "S":
            size += len(content.encode())
        elif kind == "B":
            size += len(content)
        else:
            size += 1 if kind == "BOOL" else len(content) // 2 + 2  # a number: two digits a byte, never too small
    return size


def fits(item: Attributes, more: int) -> bool:
    """Whether an item can be larger by so many bytes and cost no unit more."""
    size = item_bytes(item)
    return -(-(size + more) // UNIT_BYTES) <= max(1, -(-size // UNIT_BYTES))
