"""What a provider takes for one model: a small table, the operator's word, and what its refusals taught.

"OpenAI-compatible" leaves room: the limit on output has two names, and some refuse the one, some ignore the other; some
refuse ``stream_options``, a ``system`` role or a ``temperature``. A refusal that names what it refuses is heeded: the
call is made again without it, and so is every later call of that model in this environment. What changes the meaning of
an answer (``response_format``, ``tools``, ``stop``) is never left out.
"""

import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from functions.worker.model import refused_shapes
from functions.worker.model.message_shapes import readable, shaped, without_keywords
from shared import provider_profiles
from shared.retry import ModelError
from shared.settings import settings

NEW, OLD = "max_completion_tokens", "max_tokens"
MOST_ADAPTED = 8
"""How often one call is adapted at most."""
MOST_REMEMBERED = 1_000
"""Models whose profile an environment remembers."""
_REFUSING = frozenset({400, 404, 405, 412, 415, 422, 424, 500, 501})
"""Statuses with which providers refuse a field. Of 500 only what plainly speaks of one."""
OPTIONAL = (
    "parallel_tool_calls", "temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "user", "metadata",
    "store", "service_tier", "verbosity", "reasoning_effort", "reasoning", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier", "logprobs", "top_logprobs", "prediction", "modalities", "top_k", "min_p", "repetition_penalty",
    "logit_bias",
)  # fmt: skip
"""Fields without which an answer still is one to the question."""
_REFUSAL = re.compile(
    r"not (?:currently )?(?:support|permitted|allowed|enabled|available|accept|recogni[sz]ed|one of|valid|implemented)"
    r"|unsupported|unknown|unrecogni[sz]ed|unexpected|forbidden|extra (?:inputs?|fields?)|invalid|illegal|a valid"
    r"|does ?n.t (?:support|accept)|cannot (?:be|specify|use)|can't|not be (?:set|used|specified)|deprecated|must be"
    r"|only (?:the )?(?:default|.{0,40} supported)|must alternate|no such (?:field|parameter)|unable to|is disabled"
    r"|should be|out of range|between|remove|isn't|disallow|incompatible|not exist"
    r"|only allowed|may only|nicht|n'est pas|n\u00e3o"
    r"|at most|too (?:large|high|big)|less than|maximum|> ?\d|range|cannot both|only available"
    r"|\u4e0d\u652f\u6301|\u975e\u6cd5|\u65e0\u6548|\u4e0d\u5141\u8bb8|\u9519\u8bef",
    re.I,
)
_SYMBOL = re.compile(r"\w_\w")
"""A field's name that is no word of any language: who says it in a refusal, means it."""
_ROLE = re.compile(
    r"(?:system|developer)\b.{0,40}(?:role|message|prompt|instruction)|role\b.{0,60}(?:system|developer)"
    r"|roles? must alternate|only (?:the )?user|roles?\b.{0,80}\buser\b.{0,12}\bassistant\b"
    r"|(?:unexpected|unknown|unsupported|invalid) (?:message )?role|system.{0,12}\u89d2\u8272",
    re.I | re.S,
)
_TOO_HIGH = re.compile(
    r"too (?:large|high|big)|at most|less than|lower|exceed|maximum|greater|range|up to|<="
    r"|\bmax(?:imum)?(?: \w+){0,2} (?:is|value)|> ?\d|within|above|\[\d|\u8303\u56f4",
    re.I,
)
_STATUS = re.compile(r"<\d{3}>")
"""A status among the words, which is no figure (DashScope)."""
_TOO_LOW = re.compile(r"at least|greater than|minimum|>=|higher|more than", re.I)
_LIMIT = re.compile(
    r"max(?:imum)?[ _-]?(?:new|output|completion|generated)?[ _-]?tokens?|num_predict|(?:output|completion) tokens",
    re.I,
)
"""The limit on output by names that are not ours: of what stands behind a gateway."""
_PROMPT = re.compile(r"context|prompt|input|messages", re.I)
_STREAM = re.compile(r"(?<![a-z_])stream(?:ing|ed)?(?![a-z_])|ResponseStream|ConverseStream", re.I)
_ONLY_STREAMS = re.compile(
    r"only supports? stream|stream(?:ing)? (?:mode )?(?:is required|only)|non-?stream|enable (?:the )?stream"
    r"|stream\W{0,4}(?:must be|to|=|set to|should be)\W{0,4}(?:set to )?\W?true|must be streamed",
    re.I,
)
_AKA = {
    "reasoning_effort": ("reasoning", "thinking", "think"),
    "reasoning": ("thinking",), "frequency_penalty": ("penalty",),
    "presence_penalty": ("penalty",),
}  # fmt: skip
"""Other words for a field, of models that do not know the thing at all."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How a request is made for one model of one provider."""

    limit: str | None = OLD
    """The name of the limit on output tokens; None: it takes none, and only our own cut-off holds."""
    stream: bool = True
    stream_options: bool = True
    system: str = "system"
    """``user``: what a system message says is put before the first user message."""
    most_output: int | None = None
    """The highest limit that it takes."""
    without: frozenset[str] = frozenset()
    """Optional fields that are left out."""
    explains: bool = True
    """Whether a request in one piece may tell why a stream had nothing in it."""
    stripped: frozenset[str] = frozenset()
    """Fields of assistant messages and their tool calls, and ``strict`` of tools, that are left out."""
    shapes: frozenset[str] = frozenset()
    """Shapes that messages have (`message_shapes`)."""
    keywords: frozenset[str] = frozenset()
    """Keywords of tools' schemas that are left out."""
    only_streams: bool = False
    """Whether it answers in a stream only."""

    def body(self, body: dict[str, Any], max_output_tokens: int, *, stream: bool) -> dict[str, Any]:
        """Return a request's body as this provider takes it; ``body`` holds all but the limit and what streams."""
        made = {name: value for name, value in body.items() if name not in self.without}
        if "tool_choice" in self.without and body.get("tool_choice", "auto") != "auto":
            made["tool_choice"] = body["tool_choice"]
        if self.limit:
            made[self.limit] = min(max_output_tokens, self.most_output or max_output_tokens)
        if (stream or self.only_streams) and self.stream:
            made["stream"] = True
            if self.stream_options:
                made["stream_options"] = {"include_usage": True}
        made["messages"] = readable(made["messages"])
        if self.system != "system" or any(message.get("role") == "developer" for message in body["messages"]):
            made["messages"] = _roles(made["messages"], self.system)
        if self.stripped:
            made["messages"] = [_stripped(message, self.stripped) for message in made["messages"]]
            if "strict" in self.stripped and "tools" in made:
                made["tools"] = [_lax(tool) for tool in made["tools"]]
        if self.shapes:
            made["messages"] = shaped(made["messages"], self.shapes)
        if self.keywords and "tools" in made:
            made["tools"] = without_keywords(made["tools"], self.keywords)
        return made


_learned: dict[tuple[str, str], Profile] = {}


def of(base: str, model: str) -> Profile:
    """Return the profile of a model at a base address: as learned, else as the operator says, else by the table."""
    known = _learned.get((base, model))
    return known or _given(base, model)


def _given(base: str, model: str) -> Profile:
    host = urlsplit(base).hostname or "" if base else "api.openai.com"
    made = Profile(**provider_profiles.by_table(host, model))
    told = provider_profiles.parse(settings().provider_profiles)
    return replace(made, **provider_profiles.matching(told, model))


def remember(base: str, model: str, profile: Profile) -> None:
    """Use a profile for this model from now on."""
    if len(_learned) >= MOST_REMEMBERED:
        del _learned[next(iter(_learned))]
    _learned[base, model] = profile


def forget() -> None:
    """Forget what was learned."""
    _learned.clear()


def other_limit(profile: Profile) -> Profile:
    """Return a profile for a provider that took no notice of its limit's name."""
    return replace(profile, limit=_other(profile.limit))


def _other(limit: str | None) -> str:
    return NEW if limit == OLD else OLD


def adapted(profile: Profile, error: ModelError, body: dict[str, Any]) -> Profile | None:
    """Return what a refusal teaches; None when it names nothing that can be done without."""
    if error.status not in _REFUSING:
        return None
    said = f"{error.message} {error.param or ''}"
    if "stream" not in body and profile.stream and not profile.only_streams and _ONLY_STREAMS.search(said):
        return replace(profile, only_streams=True)
    if (shape := refused_shapes.asked(said, body, profile.shapes)) is not None:
        return replace(profile, shapes=profile.shapes | {shape})
    if (keyword := refused_shapes.keyword(said, body)) is not None:
        return replace(profile, keywords=profile.keywords | {keyword})
    refuses = bool(error.param or _REFUSAL.search(said))
    asked = profile.limit and body.get(profile.limit)
    if profile.limit and asked and _names(said, profile.limit):
        return _limit(profile, said, asked) if refuses else None
    if profile.limit and asked and (of_output(said) or _names(said, _other(profile.limit))):
        return _limit(profile, said, asked)
    if "stream_options" in body and _names(said, "stream_options", "include_usage"):
        return replace(profile, stream_options=False)
    if not refuses:
        named = [name for name in OPTIONAL if name in body and _SYMBOL.search(name) and _names(said, name)]
        return replace(profile, without=profile.without | {named[0]}) if named else None
    if error.status == 500 and not re.search(r"unsupported|not support|unrecogni|unexpected keyword", said, re.I):
        return None
    for name in OPTIONAL:
        if name in body and _names(said, name):
            return replace(profile, without=profile.without | {name})
    if body.get("tool_choice") == "auto" and _names(said, "tool_choice"):  # which is what holds without it
        return replace(profile, without=profile.without | {"tool_choice"})
    for name in _fields(body["messages"]):
        if name not in profile.stripped and _names(said, name):
            return replace(profile, stripped=profile.stripped | {name})
    for name, others in _AKA.items():
        if name in body and _names(said, *others):
            return replace(profile, without=profile.without | {name})
    if _names(said, "strict") and "strict" not in profile.stripped and _strict(body):
        return replace(profile, stripped=profile.stripped | {"strict"})
    if "stream" in body and _STREAM.search(said):
        return replace(profile, stream=False)
    roles = {message.get("role") for message in body["messages"]}
    if roles & {"system", "developer"} and (_ROLE.search(said) or re.search(r"messages.{0,12}role", error.param or "")):
        return replace(profile, system="user")
    return None


def of_output(message: str) -> bool:
    """Tell whether a limit that is passed is the one on output: words on a prompt's length may sound the same."""
    return _LIMIT.search(message) is not None and not _PROMPT.search(message)


def _limit(profile: Profile, said: str, asked: int) -> Profile | None:
    """Learn another name for the limit, or how high it may be."""
    other = _other(profile.limit)
    plain = _STATUS.sub(" ", said.replace(",", ""))
    beyond = {int(found) for found in re.findall(r"(\d{1,9}) \(exclusive\)", plain)}
    numbers = [int(found) - (int(found) in beyond) for found in re.findall(r"\d{1,9}", plain)]
    highest = [number for number in numbers if 0 < number < asked]
    both = _names(said, str(profile.limit)) and _names(said, other)  # the one is refused, and the other named instead
    if _TOO_HIGH.search(said) and highest and not both:
        return replace(profile, most_output=max(highest))
    if not _names(said, str(profile.limit)) or _TOO_LOW.search(said):  # by another name, and without a figure
        return None
    refused = profile.without | {str(profile.limit)}
    return replace(profile, limit=None if other in refused else other, without=refused)


def _names(said: str, *names: str) -> bool:
    """Tell whether one of the names is said, ``like_this`` or ``likeThis``."""
    return any(
        re.search(rf"(?<![\w-]){re.escape(name).replace('_', '_?')}(?![\w-])", said, re.I | re.A) for name in names
    )


_ORDINARY = frozenset({"role", "content", "tool_calls", "name", "id", "type", "function", "index"})


def _fields(messages: list[dict[str, Any]]) -> list[str]:
    """Return what assistant messages and their calls hold besides the ordinary."""
    replies = [one for one in messages if one.get("role") == "assistant"]
    calls = [call for one in replies for call in one.get("tool_calls") or ()]
    return sorted({name for one in (*replies, *calls) for name in one} - _ORDINARY)


def _strict(body: dict[str, Any]) -> bool:
    return any("strict" in (tool.get("function") or {}) for tool in body.get("tools") or ())


def _lax(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool.get("function") or {}
    return {**tool, "function": {name: value for name, value in function.items() if name != "strict"}}


def _stripped(message: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    if message.get("role") != "assistant":
        return message
    made = {name: value for name, value in message.items() if name not in names}
    if calls := made.get("tool_calls"):
        made["tool_calls"] = [{name: value for name, value in call.items() if name not in names} for call in calls]
    return made


def _roles(messages: list[dict[str, Any]], system: str) -> list[dict[str, Any]]:
    """Return messages whose instructions have a role that the provider knows."""
    instructions = [one for one in messages if one.get("role") in ("system", "developer")]
    if system != "user":
        return [{**one, "role": system} if one.get("role") in ("system", "developer") else one for one in messages]
    rest = [one for one in messages if one.get("role") not in ("system", "developer")]
    text = "\n\n".join(_text(one.get("content")) for one in instructions)
    for n, one in enumerate(rest):
        if one.get("role") == "user":
            content = one.get("content")
            parts = [{"type": "text", "text": text}, *content] if isinstance(content, list) else f"{text}\n\n{content}"
            return [*rest[:n], {**one, "content": parts}, *rest[n + 1 :]]
    return [{"role": "user", "content": text}, *rest]


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")
