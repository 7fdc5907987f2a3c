"""Fixtures for all tests."""

import gc
from collections import Counter
from functools import cache
from itertools import zip_longest
from pathlib import Path

import botocore.session
import httpcore2
import pytest
from _pytest.unraisableexception import gc_collect_iterations_key

from shared import aws
from tests import copies, rewritten

# What is loaded and collected stays: to look for garbage among it took a second. On again when all is collected.
gc.disable()

rewritten.install()

pytest_plugins = ["tests.limited", "tests.stack_fixture", "tests.system_told"]

# Every client of httpx2 and of openai would read the certificate authorities again: 30 ms each, hundreds of times.
httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)

# Every session of boto, of which moto ends one with each account, would read AWS's regions again: 60 ms. They are only
# looked at.
botocore.session.create_loader = cache(botocore.session.create_loader)


LONG = (
    "bundles", "tree_model", "money_property", "batch_kills", "memory", "pool", "workload_and_costs", "engine",
    "chains", "streaming_loop", "life_model", "traces", "vanished", "largest_answers", "openapi", "growth_search",
    "sam_build",
)  # fmt: skip
"""Files that keep a processor busy for seconds, though they hold few tests."""
WAIT = (
    "live_calls", "group_commit", "call_limits", "outage", "last_step", "runs", "share", "live", "lost_calls",
    "cancels", "openai", "unread_text", "refill", "parallel_calls", "unstorable", "voided", "together", "charges",
    "lost_answers", "cut_calls", "slots", "wait_costs", "valkey", "lasting", "late", "response_stream", "stream_route",
    "ten_stories",
)  # fmt: skip
"""Files whose tests mostly wait. While they do, other tests have the processors, which at the end nobody would want."""
WAITS, BUSY, OTHER = range(3)
_KIND = {f"test_{name}": n for n, names in enumerate((WAIT, LONG)) for name in names}


def pytest_configure(config: pytest.Config) -> None:
    """Have what was left behind be looked for once at the end, not five times: three seconds a process."""
    config.stash[gc_collect_iterations_key] = 1
    copies.pytest_configure(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have processes of a run begin with what takes longest: at its end one would wait for it."""
    if not hasattr(config, "workerinput") and config.getoption("copies", 1) < 2:
        return
    tests = Counter(item.path for item in items)
    groups: tuple[list[Path], ...] = ([], [], [])
    for path in sorted(tests, key=lambda path: -tests[path]):
        groups[_KIND.get(path.stem, 2)].append(path)
    waiting, busy = groups[WAITS], groups[BUSY] + groups[OTHER]
    # By turns, as long as there are both: copies that all waited would leave the processors to nobody.
    order = [path for pair in zip_longest(waiting, busy) for path in pair if path]
    places = {path: n for n, path in enumerate(order)}
    items.sort(key=lambda item: places[item.path])


def _make_what_all_copies_want() -> None:
    """Make an account and its clients before the process is copied: a second of each copy's."""
    # Moto takes a second to load, and only unit tests are copied. OpenAI's clients load these with their first call.
    import openai.resources.chat
    import openai.resources.conversations
    import openai.resources.responses  # noqa: F401

    from sluice.testing import account

    with pytest.MonkeyPatch.context() as patch, account.account(patch):
        for make in (aws.dynamodb, aws.sqs, aws.s3, aws.s3_signer):
            make()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the collector pass over what collecting made, which stays to the end: a tenth of the unit tests' time."""
    if copies.has_copies(session) and any("unit" in item.path.parts for item in session.items):
        _make_what_all_copies_want()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # what tests make is mostly freed by its counts: a twentieth
    gc.enable()
