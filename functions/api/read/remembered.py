"""Values that are costly to get and good for a moment: asked for by many, fetched once."""

import threading
import time
from collections.abc import Callable


class Remembered[T]:
    """Calls ``fetch`` at most once in ``seconds``. Callers that come while it runs share its result."""

    def __init__(self, fetch: Callable[[], T], seconds: float) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._lock = threading.Lock()
        self._last: tuple[float, T] | None = None

    def __call__(self) -> T:
        """Return the value; what ``fetch`` raises passes through and is not remembered."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] >= self._seconds:
                value = self._fetch()
                self._last = (time.monotonic(), value)
            return self._last[1]

    def forget(self) -> None:
        """Fetch it again the next time."""
        with self._lock:
            self._last = None
