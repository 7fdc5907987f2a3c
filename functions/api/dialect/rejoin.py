"""A client's library that tries a request again by itself joins the run that its first try made: it is paid once.

OpenAI's SDKs send no idempotency key. They say with ``x-stainless-retry-count`` that a request repeats another, and so
the same body under the same key, within a few minutes, means the same run. What a caller asks twice of its own accord
has a count of 0 and is run twice. Kept in Valkey: without it a repeat is a run of its own, as before.

A client whose patience is shorter than a submit takes repeats it before its run is there: the repeat waits for that.

Two clients of one user that send the same at once are not told apart by what they send, nor need they be: a repeat
joins the newest run of those. But none takes another's mark or run away, whatever comes of its own request.
"""

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import Headers

from functions.api.submit.repeats import canonical
from shared import valkey
from shared.errors import NotFound
from shared.limits.scripts import script
from shared.logs import get_logger
from shared.tasks import store
from shared.tasks.model import Task
from shared.valkey import RedisError

REJOIN_SECONDS = 600
"""How long a run can be joined: the SDKs wait ten minutes for an answer by default, and then try again at once."""
TAKING_SECONDS = 30
"""How long a request may take until its run is there. One whose function ended before is not waited for any longer."""
WAIT_SECONDS = 10.0
"""How long a repeat waits for the run of a request that is still being taken on."""
LOOK_SECONDS = 0.1
MARK = "?"
"""How what stands for a request begins whose run is not there yet; no id of anything does."""
COUNT_HEADER = "x-stainless-retry-count"

_log = get_logger("rejoin")


class Rejoin:
    """What a request would join, by its user, place and body."""

    def __init__(self, user: str, place: str, body: dict[str, Any], headers: Headers) -> None:
        """Bind to a request of ``user``'s; ``place`` keeps kinds of request apart."""
        digest = hashlib.sha256(f"{place}\n{canonical(body)}".encode()).hexdigest()
        self._user = user
        self._key = f"{{sluice:rejoin:{user}}}:{digest[:32]}"
        count = headers.get(COUNT_HEADER, "")
        self._counts = bool(count)
        self.retried = count.isascii() and count.isdecimal() and int(count[:9]) > 0

    def find(self) -> Task | None:
        """Return the run that this request repeats, if it is a repeat and the run is known."""
        task_id = self.found_id()
        if task_id is None:
            return None
        try:
            task = store.get(task_id)
        except NotFound:
            return None
        return task if task.user == self._user else None

    def found_id(self) -> str | None:
        """Return the id of what the request made that this one repeats, if it is a repeat and known."""
        if not self.retried:
            return None
        until = time.monotonic() + WAIT_SECONDS
        try:
            while _is_mark(found := valkey.client().get(self._key)) and time.monotonic() < until:
                time.sleep(LOOK_SECONDS)
        except RedisError as error:
            _log.warning("a retried request makes a run of its own", extra={"error": str(error)})
            return None
        return None if found is None or _is_mark(found) else str(found)

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Have repeats wait while this request is taken on; what it makes is to be remembered within.

        Costs a round trip to Valkey, so only where the client counts its tries: no other repeats one so.
        """
        if not self._counts:
            yield
            return
        mark = f"{MARK}{secrets.token_hex(8)}"
        try:
            before = valkey.client().set(self._key, mark, ex=TAKING_SECONDS, get=True)
        except RedisError:  # as telling of its run would: that is logged
            before = None
        if before == mark:  # its client asked once more as the answer was late: what stood before is not known
            before = None
        try:
            yield
        except BaseException:
            self._withdraw(mark, before)
            raise

    def _withdraw(self, mark: str, before: str | None) -> None:
        kept_s = TAKING_SECONDS if _is_mark(before) else REJOIN_SECONDS
        try:
            script("rejoin_withdraw")([self._key], [mark, before or "", kept_s])
        except RedisError as error:
            _log.warning("a repeat of this request will wait for nothing", extra={"error": str(error)})

    def remember(self, task_id: str) -> None:
        """Let repeats of this request find its run."""
        try:
            valkey.client().set(self._key, task_id, ex=REJOIN_SECONDS)
        except RedisError as error:
            _log.warning("a repeat of this request will not find its run", extra={"error": str(error)})


def _is_mark(found: str | None) -> bool:
    return found is not None and found.startswith(MARK)
