"""Which shape of messages, or which keyword of a tool's schema, a refusal asks for in its provider's words.

A shape is asked for only if it would change something in what was refused; so words that sound alike teach nothing.
"""

import re
from typing import Any

from functions.worker.model import message_shapes as shapes

_MISSING = r"missing|must be passed|passed back|required|expected|must have|without"
_FORM = re.I | re.S
_WORDS = (
    (
        shapes.THOUGHTS,
        re.compile(
            rf"reasoning_?content\b.{{0,120}}(?:{_MISSING})|(?:{_MISSING})\b.{{0,40}}\breasoning_?content", _FORM
        ),
    ),
    (
        shapes.SIGNED,
        re.compile(rf"thought_?signature.{{0,80}}(?:{_MISSING})|(?:{_MISSING})\b.{{0,40}}thought_?signature", _FORM),
    ),
    (
        shapes.IDS,
        re.compile(
            r"(?:tool[ _]?(?:call|use)s?(?:\[\d+\])?[ ._]?id\b|toolUseId).{0,160}"
            r"(?:length|too long|pattern|a-z|characters|alphanumeric|format)",
            _FORM,
        ),
    ),
    (shapes.ANSWERED, re.compile(r"unexpected role .?user.? after role .?tool", _FORM)),
    (
        shapes.MERGED,
        re.compile(
            r"(?:alternat|successive|interleav|consecutive|in a row)\w*.{0,160}\b(?:roles?|messages?|user|assistant)\b"
            r"|\b(?:roles?|messages?|user|assistant)(?:\(s\))?\b.{0,60}\b(?:alternat|successive|interleav|consecut)"
            r"|after role .?(?:user|assistant)|not .{0,20}previous message.{0,20}role",
            _FORM,
        ),
    ),
    (shapes.NAMELESS, re.compile(r"messages\b(?!.{0,80}(?:function|tool)).{0,80}\bname\b", _FORM)),
    (
        shapes.TEXTS,
        re.compile(
            r"(?:messages?|content|inputs?)\b.{0,120}?(?:sequence|valid string|be a string|expected a string"
            r"|string_type|not a string|none is not|not an? allowed|got none|got null|type:? null|(?:be|is) null"
            r"|nonetype|is a? ?required|required property|field required|required field|not of type .string)"
            r"|(?:valid string|expected a string|invalid type: sequence|expected string).{0,80}\b(?:content|messages)"
            r"|(?:list|array)\b.{0,60}\bcontent|content\b.{0,60}\b(?:list|array)s?\b.{0,30}not",
            _FORM,
        ),
    ),
    (
        shapes.FILLED,
        re.compile(
            r"(?:content|message|text|parts?|messages\W{0,3}\d+\W{0,2}\w{0,20})\b.{0,120}?"
            r"(?:non-?empty|non-?whitespace|(?:not|n't) be (?:empty|blank|null)|is (?:empty|blank|null)|too_short"
            r"|at least 1|\u4e0d\u80fd\u4e3a\u7a7a|\u4e3a\u7a7a)"
            r"|non-?empty (?:content|text|message)|empty (?:content|text|message)|at least one parts?\b"
            r"|either (?:content|.content.) or|must (?:have|contain|include) (?:content|text|either)",
            _FORM,
        ),
    ),
)
_NO_FIELD = re.compile(
    r"unknown|unsupported|not support|unrecogni|unexpected|not (?:allowed|permitted|valid)|cannot find|extraneous"
    r"|only .{0,80}\bsupported",
    re.I | re.S,
)
_OF_AN_ANSWER = re.compile(r"response_?format|response_?schema|text\.format|output_?config", re.I)
MESSAGE_CHARACTERS = 2_000
"""How much of a refusal is looked at."""


def asked(said: str, body: dict[str, Any], known: frozenset[str]) -> str | None:
    """Return the shape that a refusal of a body asks for, of those that are not known yet; None: none."""
    said = said[:MESSAGE_CHARACTERS]
    for shape, words in _WORDS:
        if shape in known or not words.search(said):
            continue
        if shapes.shaped(body["messages"], known | {shape}) != body["messages"]:
            return shape
    return None


def keyword(said: str, body: dict[str, Any]) -> str | None:
    """Return the keyword of the tools' schemas that a refusal names, and that they can do without; None: none."""
    said = said[:MESSAGE_CHARACTERS]
    if not body.get("tools") or not _NO_FIELD.search(said) or _OF_AN_ANSWER.search(said):
        return None
    for name in shapes.SPARE:
        if re.search(rf"['\"`.{{\[]{re.escape(name)}['\"`}}\]:]", said) and shapes.uses_keyword(body["tools"], name):
            return name
    return None
