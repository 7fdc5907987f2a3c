"""Reads answers that are sent gzip'd or deflated, as servers and proxies send streams.

A proxy may make a gzip member of its own of each piece that it passes on, which is one stream to whoever reads on
(RFC 1952, 2.2); httpx2 stops after the first. ``x-gzip`` is gzip (RFC 9110, 8.4.1.3).
"""

import zlib
from collections.abc import AsyncIterable, AsyncIterator

import httpx2

GZIP = frozenset({"gzip", "x-gzip"})
ENCODINGS = GZIP | {"deflate"}
_GZIP_BITS, _RAW_BITS = 16 + zlib.MAX_WBITS, -zlib.MAX_WBITS


async def inflated(pieces: AsyncIterable[bytes], encoding: str) -> AsyncIterator[bytes]:
    """Yield what pieces of an encoded answer hold, for each piece one, that may be empty.

    Raises:
        httpx2.DecodingError: they are not in the encoding.
    """
    inflater = Inflater(encoding)
    async for piece in pieces:
        yield inflater.feed(piece)


class Inflater:
    """Undoes one encoding."""

    def __init__(self, encoding: str) -> None:
        """Begin; ``encoding`` is one of ``ENCODINGS``."""
        self._gzip = encoding in GZIP
        self._member: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bytes:
        """Return what more of the data holds.

        Raises:
            httpx2.DecodingError: it is not in the encoding.
        """
        found = b""
        try:
            while data:
                if self._member is None:
                    data = data.lstrip(b"\0")  # some pad what they end
                    if not data:
                        break
                    self._member = zlib.decompressobj(_GZIP_BITS if self._gzip else _deflate_bits(data))
                found += self._member.decompress(data)
                data = self._member.unused_data
                if self._member.eof:
                    self._member = None
        except zlib.error as error:
            raise httpx2.DecodingError(str(error)) from error
        return found


def _deflate_bits(data: bytes) -> int:
    """Tell zlib's form, which is meant, from the bare one, which some send."""
    bare = data[0] & 0x0F != 8 or (len(data) > 1 and int.from_bytes(data[:2]) % 31)
    return _RAW_BITS if bare else zlib.MAX_WBITS
