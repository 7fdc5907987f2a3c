"""Updates as PartiQL statements: what ``table.update_op`` makes, in the only form of which one request takes several.

A batch of statements is no transaction: each is granted or refused by itself, and costs what it costs alone.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.multiplestatements.batching.html
"""

import re
from typing import Any

from shared.settings import settings
from shared.tasks.items import Attributes, attribute

_WORDS = re.compile(r"attribute_not_exists\(#(\w+)\)|#(\w+)|:(\w+)")


def update(
    key: Attributes, *, sets: dict[str, Any], adds: dict[str, int], condition: str, values: dict[str, Any]
) -> dict[str, Any]:
    """Make the statement of an Update that returns the item as it is afterwards.

    Arguments are those of ``table.update_op``; the attributes of ``adds`` must be there, and ``condition`` may compare
    and use ``attribute_not_exists`` and ``AND``.
    """
    parameters: list[Attributes] = []

    def given(value: Any) -> str:
        parameters.append(attribute(value))
        return "?"

    def word(found: re.Match[str]) -> str:
        absent, name, value = found.groups()
        if absent:
            return f'"{absent}" IS MISSING'
        return f'"{name}"' if name else given(values[value])

    parts = [f'SET "{name}" = {given(value)}' for name, value in sets.items()]
    parts += [f'SET "{name}" = "{name}" + {given(value)}' for name, value in adds.items()]
    parameters += key.values()
    where = " AND ".join(f'"{name}" = ?' for name in key)
    text = f'UPDATE "{settings().table_name}" {" ".join(parts)} WHERE {where} AND {_WORDS.sub(word, condition)}'
    return {"Statement": f"{text} RETURNING ALL NEW *", "Parameters": parameters}
