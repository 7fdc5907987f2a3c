"""What a provider counts of one reply, chunk by chunk, and what is charged by it."""

from typing import Any

from functions.worker.model import reply_terms
from functions.worker.model.progress import Progress
from functions.worker.model.usage import MAX_TOKENS, MOST_BYTES, Count, Details, believed, details, found
from shared.limits import models
from sluice.types import Usage

CONTEXTS = 8
"""How often a model may be said to have read or written all that it holds: one that searches asks itself many times."""


class Tally:
    """The counts of one reply. What it hears is told to ``progress``, too, by which a cut reply is charged."""

    def __init__(self, progress: Progress, model: str) -> None:
        self._progress = progress
        self._most = CONTEXTS * (models.context_tokens(model) or MAX_TOKENS)
        self._count = Count()
        self._details: Details = {}
        self._tier: Any = None

    @property
    def told(self) -> bool:
        """Whether the provider said what it used."""
        return self._count != Count()

    def hear_tier(self, chunk: dict[str, Any]) -> None:
        """Take the service tier that a chunk of text names: each names the same one."""
        if (tier := chunk.get("service_tier")) is not None and tier != self._tier:
            self._tier = tier
            reply_terms.hear_tier(self._progress, tier)

    def hear(self, chunk: dict[str, Any]) -> bool:
        """Take all that a chunk says of what was used; False if it says nothing of it."""
        if (tier := chunk.get("service_tier")) is not None:
            reply_terms.hear_tier(self._progress, tier)
        reply_terms.hear(self._progress, chunk)
        count = found(chunk).within(self._most)
        if count == Count():
            return False
        self._count = self._count.later(count)
        self._progress.reported = Usage(self._count.read or 0, self._count.written or 0)
        for kind, number in details(chunk).items():
            self._details[kind] = max(self._details.get(kind, 0), number)
        return True

    def usage(self, *, cut: bool) -> tuple[Usage, bool]:
        """Return what is charged, and whether some of it is our estimate, which errs upwards; ``cut`` by us."""
        read, written, total = self._count
        seen = self._progress
        told = written is not None and written * MOST_BYTES >= seen.written_bytes and not cut and bool(read)
        if not told:
            beyond = 0 if total is None or cut else total - (read or seen.prompt_tokens)
            written = max(written or 0, seen.output_tokens, beyond)
        return Usage(read or seen.prompt_tokens, written or 0), not told

    def details(self, usage: Usage) -> Details | None:
        """Return of which kinds the tokens of a reply with that usage were, as far as the provider says."""
        return believed(self._details, usage.input_tokens, usage.output_tokens) or None
