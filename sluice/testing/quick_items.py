"""Items of DynamoDB in moto, quick: to copy one, and to measure it.

`tests/unit/test_quick_moto.py` holds the answers against those of moto as it is.
"""

from __future__ import annotations

import copy
from typing import Any

from moto.dynamodb.exceptions import ItemSizeTooLarge
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict

__all__ = ["MOST_BYTES", "PARTS", "size_of_all"]

MOST_BYTES = 405_000
"""Of moto: somewhat more than the 400 KB of which AWS tells."""


def _bytes(text: str | bytes) -> int:
    if isinstance(text, bytes):
        return len(text)
    return len(text) if text.isascii() else len(text.encode())


def _size(self: DynamoType) -> int:
    """Return a value's bytes. Moto makes each value of a map anew for that, with all that is in it."""
    value: Any = self.value
    if isinstance(value, bool) or value is None:
        return 1
    if isinstance(value, dict):
        return sum(_bytes(name) + _size(one) for name, one in value.items())
    if isinstance(value, list):  # of values, or a set of text, numbers or bytes
        return sum(_size(one) if isinstance(one, DynamoType) else _bytes(one) for one in value)
    return _bytes(value) if isinstance(value, str | bytes) else len(str(value))


def _size_of(value: Any) -> int:
    return _size(value) if isinstance(value, DynamoType) else _bytes(str(value))


def size_of_all(attributes: dict[str, Any]) -> int:
    """Return the bytes of attributes with their names."""
    return sum(_bytes(name) + _size_of(value) for name, value in attributes.items())


def _set_attribute(self: LimitedSizeDict, name: str, value: Any) -> None:
    """Set an attribute of an item.

    Raises:
        ItemSizeTooLarge: there would be too much beside what stands there, the attribute as it was included.
    """
    if size_of_all({name: value}) + size_of_all(self) > MOST_BYTES:
        raise ItemSizeTooLarge
    dict.__setitem__(self, name, value)


def _make_item(self: Item, hash_key: DynamoType, range_key: DynamoType | None, attrs: dict[str, Any]) -> None:
    """Make an item, and measure it once, not again at each of its attributes.

    Raises:
        ItemSizeTooLarge: it is.
    """
    self.hash_key = hash_key
    self.range_key = range_key
    self.attrs = LimitedSizeDict()
    typed = {name: DynamoType(value) for name, value in attrs.items()}
    if size_of_all(typed) > MOST_BYTES:
        raise ItemSizeTooLarge
    dict.update(self.attrs, typed)


def _copy_value(self: DynamoType, memo: dict[int, Any]) -> DynamoType:
    """Copy a value that can change; text and numbers are only ever put in another's place."""
    value: Any = self.value
    if not isinstance(value, dict | list):
        return self
    made: DynamoType = object.__new__(DynamoType)
    made.type = self.type
    if isinstance(value, dict):
        made.value = {name: _copy_value(one, memo) for name, one in value.items()}
    else:
        made.value = [_copy_value(one, memo) if isinstance(one, DynamoType) else one for one in value]
    return made


def _copy_item(self: Item, memo: dict[int, Any]) -> Item:
    """Copy an item without measuring it again at each of its attributes."""
    made = object.__new__(Item)
    memo[id(self)] = made
    for name, value in vars(self).items():
        if name != "attrs":
            setattr(made, name, _copied(value, memo))
    made.attrs = LimitedSizeDict()
    dict.update(made.attrs, {name: _copied(value, memo) for name, value in self.attrs.items()})
    return made


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    return _copy_value(value, memo) if type(value) is DynamoType else copy.deepcopy(value, memo)


PARTS: tuple[tuple[Any, str, Any], ...] = (
    (DynamoType, "size", _size),
    (DynamoType, "__deepcopy__", _copy_value),
    (LimitedSizeDict, "__setitem__", _set_attribute),
    (Item, "__init__", _make_item),
    (Item, "__deepcopy__", _copy_item),
)
"""Whose, what of it, and what stands there instead."""
