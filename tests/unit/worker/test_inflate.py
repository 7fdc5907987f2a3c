"""Answers that are sent encoded, in the ways that servers and proxies encode a stream."""

import gzip
import zlib

import httpx2
import pytest

from functions.worker.wire.inflate import Inflater

TEXT = b'data: {"choices": []}\n\n' * 20


def raw(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:50]) + gzip.compress(b"") + gzip.compress(TEXT[50:])),
        ("gzip", gzip.compress(TEXT) + b"\0\0\0"),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw(TEXT)),
    ],
)
def test_what_was_encoded_is_read_whatever_its_pieces(encoding: str, data: bytes, size: int) -> None:
    inflater = Inflater(encoding)
    assert b"".join(inflater.feed(data[at : at + size]) for at in range(0, len(data), size)) == TEXT


def test_what_is_cut_off_is_read_as_far_as_it_came() -> None:
    assert Inflater("gzip").feed(gzip.compress(TEXT)[:-6]) == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_not_encoded_is_told(encoding: str) -> None:
    with pytest.raises(httpx2.DecodingError):
        Inflater(encoding).feed(b"\xff" + TEXT)
