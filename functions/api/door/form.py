"""Multipart forms (RFC 7578), as clients' libraries send files: whole in memory, each field once."""

import re
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.policy import HTTP

from functions.api.contract.problem import invalid

MOST_FIELDS = 20
_BOUNDARY = re.compile(r'multipart/form-data\s*;(?:.*;)?\s*boundary=("[^"]{1,70}"|[^\s;"]{1,70})', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form."""

    content: bytes
    filename: str | None = None
    """Given for a file."""

    def text(self, name: str) -> str:
        """Return a field that is no file as text.

        Raises:
            Problem: 422, it is no UTF-8.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise invalid("must be UTF-8", name, code="invalid_encoding") from error


def is_form(content_type: str | None) -> bool:
    """Tell whether a body is a form."""
    return (content_type or "").split(";")[0].strip().lower() == "multipart/form-data"


def read_form(body: bytes, content_type: str | None) -> dict[str, Field]:
    """Return the fields of a form by name.

    Raises:
        Problem: 422, it is none, or has a field twice.
    """
    found = _BOUNDARY.match((content_type or "").strip())
    if found is None:
        raise invalid("a multipart body needs its boundary", "Content-Type", code="unsupported_content_type")
    # A delimiter is a line of its own: the boundary cannot stand in any content after a line's end.
    mark = b"\r\n--" + found[1].strip('"').encode("latin-1", "replace")
    whole = b"\r\n" + body
    first, last = whole.find(mark), whole.rfind(mark + b"--")
    if first < 0 or last < 0:
        raise invalid("the multipart body does not end with its boundary", code="invalid_form")
    parts = whole[first + len(mark) : last].split(mark) if last > first else []
    if len(parts) > MOST_FIELDS:
        raise invalid(f"a form may have {MOST_FIELDS} fields", code="invalid_form")
    fields: dict[str, Field] = {}
    for part in parts:
        name, field = _field(part)
        if name in fields:
            raise invalid("stands twice in the form", name[:64], code="invalid_form")
        fields[name] = field
    return fields


def _field(part: bytes) -> tuple[str, Field]:
    head, end, content = part.partition(b"\r\n\r\n")
    if not end:
        raise invalid("a part of the form has no header", code="invalid_form")
    headers = BytesHeaderParser(policy=HTTP).parsebytes(head.lstrip(b" \t").removeprefix(b"\r\n") + b"\r\n\r\n")
    disposition = headers["content-disposition"]
    params = getattr(disposition, "params", {})
    name = params.get("name")
    if getattr(disposition, "content_disposition", None) != "form-data" or not name:
        raise invalid("a part of the form has no name", code="invalid_form")
    filename = params.get("filename")
    return str(name), Field(content, None if filename is None else str(filename))
