"""A text that a client keeps for Sluice and sends back: a compaction's summary.

OpenAI calls such a field ``encrypted_content``. Here it is packed, not encrypted: it holds nothing but what its own
client may see, and whoever alters it alters only what the model is told in that client's name.
"""

import base64
import binascii
import json
import zlib

from functions.api.contract.problem import invalid
from shared.tasks.model import dumps

PREFIX = "sluice1."
SEALED_BYTES = 4 * 1024 * 1024
"""Longest text that is unpacked: a few bytes may stand for very many."""


def seal(kind: str, text: str) -> str:
    """Pack a text."""
    packed = zlib.compress(dumps([kind, text]).encode(), 6)
    return PREFIX + base64.urlsafe_b64encode(packed).decode()


def unseal(sealed: str, kind: str, place: str) -> str:
    """Unpack what ``seal`` made.

    Raises:
        Problem: it is no such text.
    """
    wrong = invalid(f"is no {kind} that this API made", place)
    if not sealed.startswith(PREFIX):
        raise wrong
    try:
        packed = base64.b64decode(sealed.removeprefix(PREFIX), altchars=b"-_", validate=True)
        unpacker = zlib.decompressobj()
        found = json.loads(unpacker.decompress(packed, SEALED_BYTES))
    except (binascii.Error, ValueError, zlib.error, RecursionError) as error:
        raise wrong from error
    if not isinstance(found, list) or len(found) != 2 or found[0] != kind or not isinstance(found[1], str):
        raise wrong
    return found[1]
