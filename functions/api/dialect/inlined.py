"""What stands in a request besides text is checked for what can be checked without the provider: its form.

A provider refuses the whole request for one address that is none, after the run has waited for its turn; the client is
told at once.
"""

import binascii
import re

from functions.api.contract.problem import invalid

_ADDRESS = re.compile(r"(?i:https?|gs|s3)://\S+")
"""Where providers fetch images from: the web, and the stores of those that have one (Google, Amazon)."""
_HERE = re.compile(r"data:[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+(?:;[A-Za-z0-9.+-]+=[^;,]*)*;base64,")
HEAD_CHARACTERS = 200
"""Longest beginning of a data URL, up to its comma."""


def checked_address(url: str, place: str) -> str:
    """Return an image's address, or the data URL that holds it.

    Raises:
        Problem: it is neither.
    """
    if url[:5].lower() == "data:":
        return _checked_data_url(url, place)
    if not _ADDRESS.fullmatch(url):
        raise invalid("must be an address (https://…) or a data URL (data:image/png;base64,…)", place)
    return url


def checked_data(data: str, place: str) -> str:
    """Return a file's or sound's bytes as they are written: in base64, or as data URL.

    Raises:
        Problem: they are not.
    """
    if data[:5].lower() == "data:":
        return _checked_data_url(data, place)
    _check_base64(data, place)
    return data


def _checked_data_url(url: str, place: str) -> str:
    head, comma, _ = url[:HEAD_CHARACTERS].partition(",")
    if not _HERE.fullmatch(head + comma):
        raise invalid("must be a data URL of the form data:image/png;base64,…", place)
    _check_base64(url[len(head) + 1 :], place)
    return url


def _check_base64(data: str, place: str) -> None:
    if not data:
        raise invalid("holds no bytes", place)
    try:
        binascii.a2b_base64("".join(data.split()), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("is no base64", place) from error
