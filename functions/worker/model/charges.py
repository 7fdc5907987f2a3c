"""What a call costs that brought no reply: it is paid for by what was sent, and by what the model wrote, seen or not.

A provider bills a cut stream up to where it noticed the cut, a reply that is thrown away as malformed, and the thoughts
that it does not show. What it refuses with a status is not billed, unless a gateway spoke for it that had given up.
"""

import itertools
import math
import time
from collections.abc import Mapping
from typing import Any

from functions.worker.model import terms
from functions.worker.model.asked import Call
from functions.worker.model.progress import Progress
from shared import provider_words
from shared.limits import models
from shared.limits.models import Model
from shared.retry import ModelError
from shared.tasks import days
from shared.tasks.model import Usage

HIDDEN_TOKENS_PER_SECOND = 100
"""How fast a model may think without showing it; few are faster (see `limits.FAST_TOKENS_PER_SECOND`)."""
DEAD_SECONDS = 0.1
"""How soon it shows that a pooled connection had died: about a round trip."""
GAVE_UP = frozenset({504, 524})
"""By which a gateway says that it stopped waiting; the provider behind it may have gone on."""
UNREAD_SECONDS = 0.3
"""How much of a stream may be between the provider and us."""
UNREAD_SHARE = 0.25
"""Of what was read; a token written costs about as much as four read."""
_OWN_CUTS = frozenset({"model_call_too_long", "model_stalled"})
_OFF = frozenset({"none", "off", "disabled"})


def priced(
    model: str,
    use: Usage,
    progress: Progress,
    day: str,
    details: Mapping[str, int] | None = None,
    *,
    own: Model | None = None,
) -> Usage:
    """Return a call's use with all that it costs, on the day on which it was made.

    ``details`` are what the provider says of its cache, ``progress`` knows what else it says (`terms`); what is
    estimated is charged as if there were none. ``own``: it is made with its user's own key, and this is what they say
    that it costs them; the deployment pays nothing.
    """
    read = use.input_tokens + read_before(progress)
    micro_usd = terms.charge(model, read, use.output_tokens, progress, details or {}, at=own)
    return Usage(read, use.output_tokens, micro_usd, day, days.own(model) if own and micro_usd else model)


def read_before(progress: Progress) -> int:
    """Estimate what was read of earlier requests of the call, which were lost without an answer, or got an empty one.

    A connection that was dead already is lost at once, and nobody has read from it.
    """
    sent = [one for one in progress.tries if one.sent_at is not None]
    lost = sum(
        one.nothing or (not one.answered and (after.sent_at or 0.0) - (one.sent_at or 0.0) > DEAD_SECONDS)
        for one, after in itertools.pairwise(sent)
    )
    return lost * progress.prompt_tokens


def of_cut(model: str, call: Call, progress: Progress, error: ModelError | None) -> Usage | None:
    """Estimate what a call used that has no reply, tokens only; None if nothing of it was read.

    ``error`` is why; None: its run was stopped. Of a reply that is not streamed nothing shows until it is whole: it
    counts as long as it may have been.
    """
    if not progress.sent or (error is not None and error.own_fault):
        return None
    if not progress.written_bytes and error is not None and _refused(error):
        return None
    if not call.stream and not progress.written_bytes:
        return Usage(progress.input_tokens, call.max_output_tokens)
    written = progress.output_tokens
    more = hidden_tokens(model, call.options, progress)
    if error is None or error.code in _OWN_CUTS:
        more += unread_tokens(progress)
    return Usage(progress.input_tokens, written + min(more, max(0, call.max_output_tokens - written)))


def unread_tokens(progress: Progress) -> int:
    """Estimate what was on its way when we hung up: the provider had written it, and we had not read it yet."""
    if progress.first_at is None:
        return 0
    written, lasted = progress.output_tokens, time.monotonic() - progress.first_at
    on_its_way = written / max(lasted, UNREAD_SECONDS) * UNREAD_SECONDS
    return math.ceil(min(on_its_way, written * UNREAD_SHARE + progress.input_tokens * UNREAD_SHARE / 4))


def hidden_tokens(model: str, options: Mapping[str, Any], progress: Progress) -> int:
    """Estimate the thoughts that a call has had and not shown: by the time that it was silent after it was sent."""
    if progress.reasoning_bytes or not thinks(model, options):
        return 0
    sent = next((one.sent_at for one in reversed(progress.tries) if one.sent_at is not None), None)
    if sent is None:
        return 0
    until = progress.first_at if progress.first_at is not None else time.monotonic()
    return max(1, round((until - sent) * HIDDEN_TOKENS_PER_SECOND))


def thinks(model: str, options: Mapping[str, Any]) -> bool:
    """Tell whether a model thinks before it answers: because it is told to, or because it always does."""
    asked = options.get("reasoning_effort") or options.get("reasoning") or options.get("thinking")
    if asked is not None:
        effort = asked.get("effort", asked.get("type")) if isinstance(asked, dict) else asked
        return effort not in _OFF
    return models.thinks(model)


def _refused(error: ModelError) -> bool:
    if provider_words.of_code(error.code) == "malformed":
        return False  # the model wrote what was refused
    return error.status is not None and error.status >= 400 and error.status not in GAVE_UP
