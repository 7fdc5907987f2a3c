"""S3: how large the parts of an upload are, and how long a presigned URL is to be good."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

from localstack.strict.report import Refused
from localstack.strict.rules import RULES

SMALLEST_PART = 5 * 1024 * 1024
_NUMBER = re.compile(rb"<PartNumber>\s*(\d+)\s*</PartNumber>")


class Uploads:
    """Knows the sizes of the parts that were sent."""

    def __init__(self) -> None:
        """Know of none."""
        self._parts: dict[str, dict[int, int]] = {}

    def sent(self, scope: dict[str, Any], size: int) -> None:
        """Note a part.

        Raises:
            Refused: there may be none of that number.
        """
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        if "uploadId" not in asked or "partNumber" not in asked:
            return
        number = int(asked["partNumber"][0])
        if not 1 <= number <= RULES["s3-part"].most:
            raise Refused("s3-part", "InvalidArgument", f"part {number}: it must be from 1 to 10,000")
        self._parts.setdefault(asked["uploadId"][0], {})[number] = size

    def completed(self, scope: dict[str, Any], body: bytes) -> None:
        """Look at the parts that are to be an object.

        Raises:
            Refused: one before the last is too small.
        """
        sizes = self._parts.pop(upload_of(scope), {})
        for number in sorted(map(int, _NUMBER.findall(body)))[:-1]:
            if sizes.get(number, SMALLEST_PART) < SMALLEST_PART:
                raise Refused("s3-part", "EntityTooSmall", f"part {number} has {sizes[number]} bytes")


def upload_of(scope: dict[str, Any]) -> str:
    """Return the id of the upload that a request is about; empty: none."""
    return str(parse_qs(scope["query_string"].decode("latin-1")).get("uploadId", [""])[0])


def check_presigned(scope: dict[str, Any]) -> None:
    """Look at how long a presigned URL is to be good.

    Raises:
        Refused: for more than a week.
    """
    seconds = parse_qs(scope["query_string"].decode("latin-1")).get("X-Amz-Expires", ["0"])[0]
    if seconds.isdecimal() and int(seconds) > RULES["s3-presigned"].most:
        raise Refused("s3-presigned", "AuthorizationQueryParametersError", f"X-Amz-Expires is {seconds}")
