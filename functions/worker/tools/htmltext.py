"""HTML to the text that a reader sees, in one pass whose time grows with the page's length and nothing else.

The standard library's parser searches the whole rest again for each construct that is not closed (until Python 3.13.6,
CVE-2025-6069): a page of a megabyte made for it holds up every run of the environment for minutes.
"""

import re
from html import unescape

_TAG = re.compile(r"""<(/?)([a-zA-Z][^\s/>]*+)(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')|=)*+>""")
_INLINE = frozenset(
    {"a", "abbr", "b", "cite", "code", "em", "font", "i", "kbd", "mark", "q", "s", "small", "span", "strong", "sub"}
    | {"sup", "tt", "u", "var", "wbr"}
)
_CELLS = frozenset({"td", "th"})
_CLOSING = {
    name: re.compile(rf"</{name}[\s/>]", re.IGNORECASE)
    for name in ("script", "style", "noscript", "template", "svg", "title", "iframe", "object", "textarea")
}
"""Elements whose content no reader sees as text, and what ends them."""


def readable(html: str) -> str:
    """Reduce HTML to the text that a reader sees, a block a line."""
    parts: list[str] = []
    unclosed: set[str] = set()
    at = 0
    while (opening := html.find("<", at)) >= 0:
        parts.append(html[at:opening])
        at = _past(html, opening, parts, unclosed)
    parts.append(html[at:])
    lines = (" ".join(line.split()) for line in unescape("".join(parts)).splitlines())
    return "\n".join(line for line in lines if line)


def _past(html: str, opening: int, parts: list[str], unclosed: set[str]) -> int:
    """Return where the markup at ``opening`` ends, having noted what it does to the text."""
    if html.startswith("<!--", opening):
        return _after(html, "-->", opening + 2)
    if html.startswith(("<!", "<?"), opening):
        return _after(html, ">", opening)
    tag = _TAG.match(html, opening)
    if tag is None:
        start = opening + (2 if html.startswith("</", opening) else 1)
        if html[start : start + 1].isalpha():
            return len(html)  # a tag that is never closed
        parts.append("<")
        return opening + 1
    name = tag[2].lower()
    if name not in _INLINE:
        parts.append(" " if name in _CELLS else "\n")
    if not tag[1] and name in _CLOSING and name not in unclosed:
        closing = _CLOSING[name].search(html, tag.end())
        if closing:
            return closing.start()
        if name in ("script", "style", "title", "textarea"):
            return len(html)
        unclosed.add(name)  # looked for once only
    return tag.end()


def _after(html: str, end: str, start: int) -> int:
    found = html.find(end, start)
    return len(html) if found < 0 else found + len(end)
