"""Puts a reply together from chunks, which are dictionaries here: a run reads a hundred of them and needs few fields.

What is not understood and not needed is skipped: a chunk without choices, a ping, a usage in between. What may have
held a part of the reply and cannot be read makes the reply malformed.
"""

from typing import Any

from functions.worker.model import finish as ends
from functions.worker.model import refusal
from functions.worker.model.choices import Aside, plain_text, reason_of, unpacked
from functions.worker.model.contents import Halves, clean, merge, texts, thoughts
from functions.worker.model.progress import Progress
from functions.worker.model.tally import Tally
from functions.worker.model.telling import CallPiece, Ears
from functions.worker.model.toolcalls import ToolCalls
from shared import storable
from shared.retry import ModelError
from sluice.types import ModelReply

REPLY_CHARACTERS = 4_000_000
"""Longest reply taken, text and tool arguments together; far above any model's output limit."""
_KNOWN = frozenset(
    {
        "role", "content", "refusal", "tool_calls", "function_call", "audio",
        "text", "finish_reason", "usage", "token_id", "token_ids", "index",  # which are no parts of a message
    }
)  # fmt: skip


class Parts:
    """The parts of one reply as far as they came."""

    def __init__(self, model: str, ears: Ears, progress: Progress, most_tokens: int | None) -> None:
        self._model = model
        self._ears = ears
        self._progress = progress
        progress.refused = False
        self._most = most_tokens
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._extra: dict[str, Any] = {}
        self._logprobs: list[Any] = []
        self._size = 0
        self._calls = ToolCalls(self._tool_piece, self._called if ears.call is not None else None, ears.before)
        self._tally = Tally(progress, model)
        self._reason = ""
        self._index: str | None = None
        """The number of the choice that is read; known once one came."""
        self._spoke = False
        self._native: str | None = None
        """Why the model ended its reply, in the words of who stands behind a gateway."""
        self._ends_early = False
        """Whether more came behind an end: only what ends the stream tells then that the reply is whole."""
        self._aside: Aside | None = None
        self._halves, self._thought_halves = Halves(), Halves()
        self.finish: str | None = None
        self.said_done = False
        self.cut = False

    @property
    def whole(self) -> bool:
        """Whether the model has ended a reply that is one: what follows adds nothing to it."""
        return self.finish in (ends.STOP, ends.LENGTH, ends.TOOLS) and not (self.empty or self._ends_early)

    @property
    def ended(self) -> bool:
        """Whether the model has ended its reply, as far as one can tell before the stream ends."""
        return self.finish is not None and not self._ends_early

    @property
    def empty(self) -> bool:
        """Whether nothing of a reply came."""
        return not (self._text or self._thoughts or self._calls or self._extra or self._spoke)

    @property
    def counted(self) -> bool:
        """Whether the provider said what it used."""
        return self._tally.told

    def take(self, chunk: Any) -> bool:
        """Take a chunk, or the object of a whole completion; False if it says nothing that is understood.

        Raises:
            ModelError: it reports an error, or the reply is too long.
            TypeError, AttributeError, ValueError: a part of the reply in it cannot be read.
        """
        if isinstance(chunk, list):
            taken = [self.take(one) for one in chunk] if all(isinstance(one, dict) for one in chunk) else []
            return any(taken)
        if not isinstance(chunk, dict):
            return False
        if self._index in (None, "0") and (text := plain_text(chunk)) is not None:
            self._index = "0"
            model = chunk.get("model")
            if model and model != self._model:
                self._model = storable.text(str(model))
            self._tally.hear_tier(chunk)
            if self.finish is not None:
                self._goes_on(text)
            self._hear(text)
            self._check_limit()
            return True
        if "choices" not in chunk and (inner := unpacked(chunk)) is not None:
            return self.take(inner)
        if refusal.is_error(chunk):
            raise refusal.of_value(chunk, 200, {})
        if blocked := refusal.blocked(chunk):
            raise ModelError(
                f"the provider's content filter blocked the prompt ({blocked})", status=200, code=ends.FILTER
            )
        if model := chunk.get("model"):
            self._model = storable.text(str(model))
        self._count(chunk)
        choices = chunk.get("choices")
        if choices is None or choices == []:
            if not self.empty and (kind := ends.known(chunk.get("finish_reason"))):
                self.finish, self._reason = kind, storable.text(str(chunk["finish_reason"]))
            return "usage" in chunk or choices is not None or chunk.get("type") == "ping"
        for choice in [choices] if isinstance(choices, dict) else choices:
            if choice is None:
                continue
            if not self._is_ours(str(choice.get("index") or 0), choices):
                self._aside = self._aside or Aside(self._tool_piece)  # one answer was asked for
                self._aside.take(choice)
                continue
            if error := choice.get("error"):
                raise refusal.of_value({"error": error}, 200, {})
            self._take_choice(choice)
        self._check_limit()
        return True

    def _is_ours(self, index: str, choices: Any) -> bool:
        """Tell whether a choice is the one that was asked for: the first, by whatever number it begins with."""
        if self._index is None:
            others = choices if isinstance(choices, list) else ()
            if index != "0" and any(str(one.get("index") or 0) == "0" for one in others if isinstance(one, dict)):
                return False
            self._index = index
        return index == self._index

    def _count(self, chunk: dict[str, Any]) -> None:
        if self._tally.hear(chunk) and not chunk.get("choices"):
            self._ends_early = False  # this is the last that comes

    def count_late(self, chunk: dict[str, Any]) -> None:
        """Take what was used from what comes behind the end, if nothing told it before."""
        if not self._tally.told:
            self._tally.hear(chunk)

    def _take_choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        if self.finish is not None and delta:
            self._goes_on(isinstance(delta, dict) and any(delta.get(name) for name in ("content", "tool_calls")))
        reason = reason_of(choice)
        if kind := ends.known(reason):
            self.finish, self._reason = kind, ends.word(reason) or ""
        self._native = ends.word(choice.get("native_finish_reason")) or self._native
        if not delta and (self.empty or not choice.get("message")):
            delta = choice.get("message") or choice.get("text")  # a whole completion, or one of the old kind
        elif not delta and not self._calls:  # what was streamed stands there once more, and only there the calls
            delta = {"tool_calls": choice["message"].get("tool_calls")}
        if isinstance(delta, str):
            delta = {"content": delta}
        if delta:
            self._take_delta(delta)
        for call in choice.get("tool_calls") or ():  # beside the message instead of in it
            self._calls.take(call)
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
            self._logprobs += clean(logprobs["content"])

    def _goes_on(self, more: object) -> None:
        """Take back an end that a word seemed to tell which nobody knows; doubt others that ``more`` comes behind."""
        self._ends_early = self._ends_early or bool(more)
        if self.finish not in ends.KINDS:
            self.finish = None

    def _take_delta(self, delta: dict[str, Any]) -> None:
        if len(delta) > 1 or "content" not in delta:
            self._take_others(delta)
        # A model that refuses says why in a field of its own; to the user it is the answer.
        content, refused = delta.get("content"), delta.get("refusal")
        if not content and isinstance(audio := delta.get("audio"), dict):
            content = audio.get("transcript")  # what it says aloud
            if isinstance(sound := audio.get("data"), str):
                self._progress.sound(sound)
                self._spoke = True
        content = content or delta.get("text")  # as old completions have it
        if refused and not content:
            content = refused
            self._progress.refused = self._progress.refused or not self._text
        text, thought = texts(content)
        if thought:
            self._think(thought)
        if text:
            self._hear(text)
        calls = delta.get("tool_calls") or ()
        for call in [calls] if isinstance(calls, dict) else calls:
            if call is not None:
                self._calls.take(call)
        if old := delta.get("function_call"):
            self._calls.take({"index": 0, "function": old})

    def _hear(self, text: str) -> None:
        if not (text := self._halves.join(text)):
            return
        text = storable.text(text)
        self._grow(len(text))
        self._text.append(text)
        self._ears.text(text)

    def _take_others(self, delta: dict[str, Any]) -> None:
        for thought in thoughts(delta):
            self._think(thought)
        for name, value in delta.items():
            if name not in _KNOWN and value is not None and value not in ("", [], {}):
                value = clean(value)
                if not isinstance(value, str):
                    self._grow(len(str(value)))
                self._extra[name] = merge(self._extra.get(name), value, name)

    def _think(self, thought: str) -> None:
        if not (thought := self._thought_halves.join(thought)):
            return
        thought = storable.text(thought)
        self._grow(len(thought))
        self._thoughts.append(thought)
        self._ears.reasoning(thought)

    def _tool_piece(self, piece: str) -> None:
        self._grow(len(piece))
        self._ears.tool(piece)

    def _called(self, piece: CallPiece) -> None:
        assert self._ears.call is not None  # noqa: S101 - for the type checker
        self._ears.call(piece._replace(signed=piece.signed or bool(self._extra)))

    def _grow(self, characters: int) -> None:
        self._size += characters
        if self._size > REPLY_CHARACTERS:
            raise ModelError("the reply is too long", status=200, code="reply_too_long")

    def _check_limit(self) -> None:
        if self._most is not None and self.finish is None and self._progress.surely_written > self._most:
            self.finish, self.cut = ends.LENGTH, True

    def reply(self, *, whole: bool) -> ModelReply:
        """Return the reply.

        Raises:
            ModelError: it ended early, or a content filter ended it.
        """
        if self._halves.left:
            text, self._halves.left = storable.text(self._halves.left), ""  # nothing came that it is half of
            self._text.append(text)
            self._ears.text(text)
        if self._aside is not None and not self._calls and (self.finish or self._aside.finish) == ends.TOOLS:
            self._calls, self.finish = self._aside.calls, ends.TOOLS
        if self.finish is None and self.said_done and not self.empty:
            self.finish, self._reason = ends.known(self._native), self._native or ""
        if self.finish is None and not self.empty and (self.said_done or (whole and self._text)):
            self.finish = ends.TOOLS if self._calls else ends.STOP
        if self.finish is None:
            raise ModelError("the reply was cut off", status=200, code="truncated_reply")
        if self.finish == ends.FILTER:
            message = f"the provider's content filter ended the reply ({self._reason})"
            raise ModelError(message, status=200, code="content_filter")
        if self.finish == ends.BROKEN or (self.finish not in ends.KINDS and self.empty):
            message = f"the provider ended the reply with {self._reason}"
            raise ModelError(message, status=200, code="malformed_reply")
        called, calls = bool(self._calls), self._calls.calls()
        if calls and self.finish == ends.STOP:
            self.finish = ends.TOOLS
        elif not calls and self.finish != ends.LENGTH and (called or self.finish == ends.TOOLS):
            if not self._text:
                raise ModelError("the reply was to call a tool, and calls none", status=200, code="malformed_reply")
            self.finish = ends.STOP
        usage, estimated = self._tally.usage(cut=self.cut)
        return ModelReply(
            "".join(self._text),
            calls,
            usage,
            self._model,
            self.finish,
            estimated,
            reasoning="".join(self._thoughts),
            extra=self._extra or None,
            logprobs=self._logprobs or None,
            refused=self._progress.refused,
            details=self._tally.details(usage),
        )
