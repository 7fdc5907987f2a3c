"""A request that is alone in its environment runs where it is: no thread is started for it.

FastAPI hands what blocks (routes and dependencies without ``async``) to a thread, so that other requests go on. A
Lambda environment behind the HTTP API has one request at a time, and anyio ends its threads with each: a submit began
one thread and changed threads four times. The streaming function serves many and goes on so.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from starlette.concurrency import run_in_threadpool

ASK = ("fastapi.routing", "fastapi.dependencies.utils", "starlette._exception_handler")
"""Modules that ask for threads: for routes, dependencies and what answers errors."""
_alone: ContextVar[bool] = ContextVar("alone", default=False)


async def run[**P, T](fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what may block: here if the request is alone, else in a thread."""
    if _alone.get():
        return fn(*args, **kwargs)
    return await run_in_threadpool(fn, *args, **kwargs)


def install() -> None:
    """Have FastAPI call so. Should a later version ask elsewhere, requests are slower and nothing else changes."""
    for name in ASK:
        module: Any = sys.modules.get(name)
        if hasattr(module, "run_in_threadpool"):
            module.run_in_threadpool = run


@contextmanager
def alone() -> Iterator[None]:
    """Say that no other request is served here meanwhile."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)
