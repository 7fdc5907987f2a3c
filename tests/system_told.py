"""Says, where a test of the deployed system fails, what that system did meanwhile.

A run that waits for no reason to be seen cannot be explained afterwards: its system is gone with the tests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.stack_fixture import Stack

MOST_LINES = 40
"""Lines of a log that are shown: the last ones."""
MOST_CHARACTERS = 400
"""Of each."""
LOUD = ("WARNING", "ERROR", "CRITICAL")
LOGS = ("aws", "streaming", "llm")
ATTRIBUTES = ("", "NotVisible", "Delayed")

_began = pytest.StashKey[dict[str, int]]()


def loud(lines: list[str]) -> list[str]:
    """Return the lines that tell of something that should not be: records of a level, tracebacks and such."""
    found = [line[:MOST_CHARACTERS] for line in lines if _is_loud(line)]
    return [f"... and {len(found) - MOST_LINES} before"] * (len(found) > MOST_LINES) + found[-MOST_LINES:]


def _is_loud(line: str) -> bool:
    if line.startswith("{"):
        return any(f'"level":{space}"{level}"' in line for level in LOUD for space in ("", " "))
    return any(level in line for level in (*LOUD, "Traceback", "Error:", "timed out"))


def told(stack: Stack, sizes: dict[str, int], at: float) -> str:
    """Return what a system says of the time since its logs had these sizes; it is ``at`` now, epoch seconds."""
    lines: list[str] = []
    report = httpx2.get(f"{stack.outputs['aws_endpoint_url']}/_strict/report", timeout=10).json()
    for one in report["invocations"]:
        lines.append(f"invocation of {one['function']}: {one['state']}, for {at - one['at']:.1f} s")
    with stack.used():
        lines += _queues(stack)
    stats = stack.sim.get("/stats", timeout=10).json()
    lines.append(f"model calls under way: {stats['in_flight']}, of {stats['calls']}")
    for name, size in sizes.items():
        with _log_of(stack, name).open("rb") as file:
            file.seek(size)
            said = loud(file.read().decode(errors="replace").splitlines())
        lines += [f"{name}.log: {len(said)} loud lines", *(f"  {line}" for line in said)]
    return "\n".join(lines)


def _queues(stack: Stack) -> Iterator[str]:
    from shared import aws

    names = [f"ApproximateNumberOfMessages{kind}" for kind in ATTRIBUTES]
    for lane, url in sorted(stack.outputs["queues"].items()):
        found: Any = aws.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]  # type: ignore[arg-type]
        if any(int(found[name]) for name in names):
            yield f"queue {lane}: " + ", ".join(f"{found[name]} {name[len(names[0]) :] or 'ready'}" for name in names)


def _log_of(stack: Stack, name: str) -> Path:
    return Path(stack.outputs["state_dir"]) / "logs" / f"{name}.log"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note how long the system's logs are when a test begins."""
    stack = getattr(item, "funcargs", {}).get("stack")
    if isinstance(stack, Stack):  # a test may have something else of that name
        item.stash[_began] = {name: _size(_log_of(stack, name)) for name in LOGS}
    return (yield)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Add what the system says to the report of a test that failed."""
    report = yield
    if call.when == "call" and report.failed and _began in item.stash:
        stack: Any = item.funcargs["stack"]  # type: ignore[attr-defined]
        try:
            text = told(stack, item.stash[_began], time.time())
        except Exception as error:  # the test has failed for a reason of its own, which is not to be hidden
            text = f"{type(error).__name__}: {error}"
        report.sections.append(("What the system said meanwhile", text))
    return report
