"""Pages made to hold up or break whoever reads them."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.worker.tools import page
from functions.worker.tools.htmltext import readable
from tests.examples import THOROUGH

SIZE = page.PAGE_BYTES
ENDLESS_SIZE = SIZE if THOROUGH else SIZE // 4
# Each repeats something that is never closed; a reader that searches the rest for its end each time takes hours.
ENDLESS = [
    "<",
    "</",
    "<!--",
    "<!",
    "<?",
    "<![CDATA[",
    "<a ",
    "<a x=",
    '<a x="',
    "<a x='\" ",
    "<svg>",
    "<title>",
    "&#",
    "&a",
    "<![",
    "<script>",
    "<a b='",
    "</a",
    "&",
    "<noscript>",
    '<a"',
    "<a =",
]


@pytest.mark.parametrize("unit", ENDLESS)
def test_what_is_never_closed_is_read_in_one_pass(unit: str) -> None:
    """The suite's time limit is the bound here."""
    assert len(readable(unit * (ENDLESS_SIZE // len(unit)))) <= ENDLESS_SIZE


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "utf-7", "unicode_escape", "rot13", "zlib", "undefined", "x", "\0"]
)
def test_a_charset_that_no_page_has_is_read_as_utf_8(charset: str) -> None:
    data = "é".encode() + b"a" * (SIZE // 2) + b"-" + b"b" * (SIZE // 3)
    assert page._text(data, charset, html=False).startswith("éaaa")


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("latin-1", "latin-1"), ("windows-1252", "cp1252"), ("Shift_JIS", "shift_jis"), ("GB2312", "gb2312"),
     ("big5", "big5"), ("EUC-KR", "euc_kr"), ("koi8-r", "koi8-r"), ("utf-16le", "utf-16-le"), ("us-ascii", "ascii")],
)  # fmt: skip
def test_the_webs_own_charsets_are_understood(charset: str, codec: str) -> None:
    assert page._codec(charset) == codecs.lookup(codec).name


@given(st.binary(max_size=200), st.sampled_from(["utf-16", "utf-8", "shift_jis", "utf-7", None]), st.booleans())
def test_any_bytes_become_text_that_can_be_stored(data: bytes, charset: str | None, html: bool) -> None:
    page._text(data, charset, html=html).encode()
