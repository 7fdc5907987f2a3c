"""What a call used up at the provider, whether or not its reply reached anybody: the truth that charges are held to.

A refused call uses nothing. Any other has read its prompt. A stream has written what was sent of it; a reply that is
not streamed is written to its end, though its client may have left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localstack.llm.state import Call


def of(call: Call) -> tuple[int, int]:
    """Return the tokens that a call has read and written."""
    if call.status >= 400 or not call.request:
        return 0, 0
    if call.fault in ("hang", "reset"):  # it never came to write
        return call.prompt_tokens, 0
    return call.prompt_tokens, call.sent_tokens if call.stream else call.completion_tokens
