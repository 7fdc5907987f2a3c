"""How a run says that it stops without having ended. Raised through agent code, handled by the runner."""


class Stop(BaseException):
    """Base of the stops. Not an `Exception`, so that an agent's own error handling does not swallow one."""


class Defer(Stop):
    """The provider cannot take the call now: try the task again after ``delay_s``, at no cost to it."""

    def __init__(self, delay_s: float, reason: str) -> None:
        """Say for how long and why; the task's owner sees the reason."""
        super().__init__(reason)
        self.delay_s = delay_s
        self.reason = reason


class Continue(Stop):
    """Too little of the function's time is left: go on in another environment."""


class GiveWay(Continue):
    """Another owner's task waits, and this run's owner has more slots than it: go on when there is one again."""


class Final(Stop):
    """An error that ends the run's stay here, whatever its code makes of errors: it goes on with a loop, or retries."""

    def __init__(self, error: Exception) -> None:
        """Carry the error, as which it is judged."""
        super().__init__(str(error))
        self.error = error


class Ended(Stop):
    """The run has ended, and a task that it left behind wants to begin another step."""
