"""How far one model call got: what was sent, and what came back of each kind, whether or not it came to an end.

A call is paid for by what the provider read and wrote, also when it is cut, cancelled or refused half-way. So whoever
makes a call hands in one of these, and charges by it when there is no reply to charge by.
"""

import time
from dataclasses import dataclass, field

from functions.worker.model.phases import Phases
from functions.worker.model.unusual import PLAIN, Asked, Told
from shared.tasks.model import Usage

BYTES_PER_TOKEN = 4
"""Of English text and of code, about (https://help.openai.com/en/articles/4936856)."""
LONG_TOKEN_BYTES = 10
"""More than a token has on average in any text."""
SOUND_CHARACTERS = 3_200
"""Of base64 in a token of audio: 50 ms (https://platform.openai.com/docs/guides/realtime-costs) of 24 kHz, 16 bit."""
SPLIT_BYTES = 1.5
"""Pieces that are shorter than this on average are letters, not tokens: they do not count as tokens each."""


def tokens_of(text: str) -> int:
    """Estimate a text's tokens so that it errs upwards: a token per word, per 4 letters, per character beyond ASCII."""
    letters = len(text)
    if text.isascii():
        return max(-(-letters // BYTES_PER_TOKEN), len(text.split()))
    plain = len(text.encode("ascii", "ignore"))
    return max(-(-plain // BYTES_PER_TOKEN) + letters - plain, len(text.split()))


@dataclass(slots=True, eq=False)
class Progress:
    """One call's account; counts grow as bytes come. Sizes are UTF-8 bytes."""

    tries: list[Phases] = field(default_factory=list)
    """The HTTP requests made for it; more than one when a stale socket was replaced or a refused option left out."""
    prompt_tokens: int = 0
    """Estimate of what the provider reads of messages, tools and options, erring upwards."""
    text_bytes: int = 0
    reasoning_bytes: int = 0
    tool_bytes: int = 0
    """Names and arguments of tool calls."""
    pieces: int = 0
    """Words and pieces of words that came: a streamed piece is a token or more."""
    streamed: int = 0
    """Pieces of the stream."""
    weight: int = 0
    """Quarters of tokens, by size."""
    first_at: float | None = None
    """When the first of that came, `time.monotonic`."""
    reported: Usage | None = None
    """What the provider said so far that it used; some say so in every chunk, and some only at the end."""
    asked: Asked = PLAIN
    """What of the call is not usual, as it is asked for."""
    told: Told | None = None
    """What the provider says of its price besides its tokens; None: nothing."""
    refused: bool = False
    """Whether what is written is the model's refusal, as its provider says."""

    @property
    def sent(self) -> bool:
        """Whether the provider may have begun to read a request."""
        return any(one.sent_at is not None for one in self.tries)

    @property
    def answered(self) -> bool:
        """Whether the headers of an answer came."""
        return any(one.answered for one in self.tries)

    @property
    def written_bytes(self) -> int:
        """All that the model was seen to write, visible to the user or not."""
        return self.text_bytes + self.reasoning_bytes + self.tool_bytes

    @property
    def output_tokens(self) -> int:
        """Estimate of the tokens written so far, erring upwards; what the provider reported counts if it is more."""
        by_size = -(-self.weight // BYTES_PER_TOKEN)
        seen = max(by_size, self.pieces) if self.written_bytes >= SPLIT_BYTES * self.pieces else by_size
        return max(seen, self.reported.output_tokens if self.reported else 0)

    @property
    def surely_written(self) -> int:
        """Tokens that were written beyond doubt: what a limit is held against, so that no good reply is cut."""
        told = self.reported.output_tokens if self.reported else 0
        long = max(told, self.written_bytes // LONG_TOKEN_BYTES)
        if self.written_bytes < SPLIT_BYTES * self.streamed:
            return max(long, self.weight // BYTES_PER_TOKEN)
        return max(long, self.streamed)

    @property
    def input_tokens(self) -> int:
        """Tokens that the provider read: as reported, else as estimated."""
        return self.reported.input_tokens if self.reported and self.reported.input_tokens else self.prompt_tokens

    def text(self, piece: str) -> None:
        """Count a piece of the visible reply."""
        self.text_bytes += self._count(piece)

    def reasoning(self, piece: str) -> None:
        """Count a piece of what the model thinks aloud."""
        self.reasoning_bytes += self._count(piece)

    def tool(self, piece: str) -> None:
        """Count a piece of a tool call."""
        self.tool_bytes += self._count(piece)

    def sound(self, data: str) -> None:
        """Count a piece of audio, base64: nothing else tells what a cut stream had said."""
        if self.first_at is None:
            self.first_at = time.monotonic()
        self.weight += -(-len(data) // SOUND_CHARACTERS) * BYTES_PER_TOKEN

    def _count(self, piece: str) -> int:
        if self.first_at is None:
            self.first_at = time.monotonic()
        size = len(piece.encode())
        letters = len(piece)
        # Beyond ASCII a character counts as a token: four quarters; its further bytes count nothing.
        self.weight += letters if size == letters else letters + 3 * sum(character > "\x7f" for character in piece)
        self.streamed += 1
        self.pieces += max(1, len(piece.split()))
        return size
