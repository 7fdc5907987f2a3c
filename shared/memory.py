"""What an environment remembers of what it has read: so many names, each for so long.

By the wall clock, which goes on while the environment is frozen: nobody's change takes longer to be seen for that.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class Memory[T]:
    """Remembers what is there of ``most`` names, and what is not; the longest unused goes first."""

    def __init__(self, most: int, seconds: float, *, none_seconds: float | None = None) -> None:
        """Keep it for ``seconds``; for ``none_seconds``, if given, that there is nothing."""
        self.most = most
        self.seconds = seconds
        self._none_seconds = seconds if none_seconds is None else none_seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, T | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def holds(self, name: str) -> bool:
        """Tell whether ``get`` would answer at once."""
        until, _ = self._known.get(name, (0.0, None))
        return time.time() < until

    def get(self, name: str, read: Callable[[str], T | None]) -> T | None:
        """Return what is remembered, or else read it; what ``read`` raises passes through and is not remembered."""
        at = time.time()
        with self._lock:
            until, found = self._known.get(name, (0.0, None))
            if at < until <= at + self.seconds:  # not by a clock that was set back since
                self._known.move_to_end(name)
                return found
        found = read(name)
        with self._lock:
            self._known[name] = at + (self._none_seconds if found is None else self.seconds), found
            self._known.move_to_end(name)
            while len(self._known) > self.most:
                self._known.popitem(last=False)
        return found

    def forget(self, name: str | None = None) -> None:
        """Forget one name, or all."""
        with self._lock:
            if name is None:
                self._known.clear()
            else:
                self._known.pop(name, None)
