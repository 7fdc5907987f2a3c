"""Who gets an environment, and how many start at once: with functions that start and requests that end when told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from localstack.strict import starts
from localstack.strict.starts import PATIENCE_S, POLLERS_S, Deployed, Starts


class Named:
    """A function whose environments start when they are let."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = 0
        self.kept = 99
        """Idle environments that the emulator has, at most."""
        self._let = threading.Semaphore(0)

    def idle(self) -> int:
        return self.kept

    def start(self) -> None:
        self.begun += 1
        self._let.acquire()

    def runs(self, times: int = 1) -> None:
        """Let environments that start run."""
        for _ in range(times):
            self._let.release()


class World:
    """The starts, and a clock that stands."""

    def __init__(self, at_once: int = 1) -> None:
        self.at = 0.0
        self.starts = Starts(at_once, lambda: self.at)
        self.f, self.g = Named("f"), Named("g")

    def asks(self, function: Named) -> threading.Event:
        """Let a request come; returns what is set when it is let in."""
        let_in = threading.Event()
        waiting, free = len(self.starts._waiting), self.starts._free[function.name]

        def request() -> None:
            self.starts.begin(function)
            let_in.set()

        threading.Thread(target=request, daemon=True).start()
        until(lambda: let_in.is_set() or len(self.starts._waiting) > waiting or free > 0)
        return let_in

    def ready(self, function: Named) -> None:
        """Let a request come, get an environment that is started for it, and keep it."""
        let_in = self.asks(function)
        function.runs()
        assert let_in.wait(60)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    for function in (made.f, made.g):
        function.runs(100)


def test_so_many_start_at_once_and_the_next_when_one_runs() -> None:
    world = World(at_once=2)
    asked = [world.asks(world.f) for _ in range(4)]
    until(lambda: world.f.begun == 2)
    assert world.starts._starting.total() == 2
    world.f.runs()
    until(lambda: world.f.begun == 3)
    world.f.runs(3)
    for one in asked:
        assert one.wait(60)
    assert world.f.begun == 4


def test_one_that_starts_goes_to_the_last_to_come_whoever_it_was_started_for(world: World) -> None:
    first, last = world.asks(world.f), world.asks(world.f)
    world.f.runs()
    assert last.wait(60)
    assert not first.is_set()


@pytest.mark.parametrize(("age", "second"), [(PATIENCE_S, "newer"), (PATIENCE_S + 0.1, "oldest")])
def test_every_second_one_is_for_the_first_to_come_once_that_has_waited_long(
    world: World, age: float, second: str
) -> None:
    oldest = world.asks(world.f)
    world.at = age
    newer, newest = world.asks(world.f), world.asks(world.f)
    world.f.runs()
    assert newest.wait(60)
    world.f.runs()
    until(lambda: oldest.is_set() or newer.is_set())
    assert oldest.is_set() == (second == "oldest")


def test_an_environment_that_comes_free_goes_to_a_request_of_its_function(world: World) -> None:
    world.ready(world.f)
    other, same = world.asks(world.g), world.asks(world.f)
    world.starts.end(world.f)
    assert same.wait(60)
    assert not other.is_set()
    world.starts.end(world.f)
    assert world.asks(world.f).wait(60), "free for the next"
    assert world.f.begun == 1
    world.g.runs()
    assert other.wait(60)


def test_no_more_are_started_than_requests_wait(world: World) -> None:
    world = World(at_once=3)
    asked = world.asks(world.f)
    until(lambda: world.f.begun)
    other = world.asks(world.g)
    until(lambda: world.g.begun)
    assert (world.f.begun, world.g.begun) == (1, 1)
    world.f.runs()
    world.g.runs()
    assert asked.wait(60)
    assert other.wait(60)


def test_one_that_the_emulator_gave_up_is_not_free(world: World) -> None:
    world.ready(world.f)
    world.starts.end(world.f)
    world.f.kept = 0
    again = world.asks(world.f)
    until(lambda: world.f.begun == 2)
    assert not again.is_set()
    world.f.runs()
    assert again.wait(60)


def test_who_finds_none_for_too_long_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "LONGEST_S", 0.01)
    assert not world.starts.begin(world.f)
    assert world.starts._waiting == []
    world.f.runs()
    until(lambda: world.starts._free["f"])
    assert world.starts.begin(world.f)


def test_a_batch_of_messages_waits_for_longer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "LONGEST_S", 0.01)
    given: list[bool] = []
    polled = threading.Thread(target=lambda: given.append(world.starts.begin(world.f, POLLERS_S)), daemon=True)
    polled.start()
    until(lambda: world.f.begun)
    assert not world.starts.begin(world.g), "nobody else waits so long"
    world.f.runs()
    polled.join(60)
    assert given == [True]


class Runtime(SimpleNamespace):
    """MiniStack's environments."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self._workers: dict[str, list[Any]] = {}
        self._broken = broken
        self._lock = threading.Lock()

    def _worker_key(self, name: str, config: dict[str, Any], version: str) -> str:
        return f"{name}:{version}"

    def _worker_class_for(self, config: dict[str, Any]) -> Callable[..., SimpleNamespace]:
        return lambda name, config, code: SimpleNamespace(in_use=False, _proc=None)

    def ensure_spawned(self, worker: Any) -> None:
        if self._broken:
            raise RuntimeError("no module named x")
        worker._proc = object()

    def release_worker(self, worker: Any) -> None:
        worker.in_use = False


@pytest.mark.parametrize(("broken", "code", "idle"), [(False, b"x", 1), (True, b"x", 0), (False, None, 0)])
def test_an_emulators_environment_is_started_and_left_idle(broken: bool, code: bytes | None, idle: int) -> None:
    runtime = Runtime(broken=broken)
    function = Deployed(runtime, {"code_zip": code}, {"FunctionName": "f"})
    assert function.idle() == 0
    for n in (1, 2):
        function.start()
        assert function.idle() == n * idle, "each a new one"
    assert not any(one.in_use for those in runtime._workers.values() for one in those)
