"""How large a value is in an answer of Lambda's, which lets 6 MB through.

The answer's body is JSON, and the answer itself is JSON around that text: what JSON escapes is escaped twice.
"""

import json
from collections.abc import Iterable
from typing import Any

LAMBDA_BYTES = 6_291_556
"""Largest answer of a function (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, 2026-11)."""
ANSWER_BYTES = 5_500_000
"""Most that a page or a result may take of it; headers, and what stands around them, need little of the rest."""
ALONE_BYTES = 6_100_000
"""Most that one value may take which cannot be cut, and has an answer for itself: an item of a conversation."""
ENVELOPE_BYTES = 64 * 1024
"""What headers, and the names around what is shown, take of an answer at most: API Gateway lets 10 KB of headers in."""
MOST_PER_CHARACTER = 7
r"""A control character is written ``\\u0001``."""


def wire_bytes(value: Any) -> int:
    """Return the bytes that a value's JSON takes in an answer."""
    return len(json.dumps(json.dumps(value, ensure_ascii=False), ensure_ascii=False).encode("utf-8", "surrogatepass"))


def fits(text: str, most: int) -> bool:
    """Whether a text takes at most ``most`` bytes; long texts alone are written out to see."""
    return len(text) * MOST_PER_CHARACTER + 2 <= most or wire_bytes(text) <= most


def left(shown: Any) -> int:
    """Return the bytes that an answer has for more, beside what it shows already; 0 when it has none."""
    return max(0, LAMBDA_BYTES - ENVELOPE_BYTES - wire_bytes(shown))


def how_many(values: Iterable[Any], most: int = ANSWER_BYTES) -> int:
    """Return how many of a page's values go into one answer, in their order: as many as fit, and one at least."""
    taken = count = 0
    for value in values:
        taken += wire_bytes(value)
        if count and taken > most:
            break
        count += 1
    return count
