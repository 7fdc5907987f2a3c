"""Who may start an environment, and who goes first: with threads that do as they are told."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from localstack.strict import starts
from localstack.strict.starts import PATIENCE_S, Starts


class Call:
    """An invocation on a thread of its own."""

    def __init__(self, world: World, function: str = "f") -> None:
        self._orders: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self.let_in = threading.Event()
        self.told = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(world.starts, function), daemon=True)
        self._thread.start()

    def _run(self, all_of_them: Starts, function: str) -> None:
        all_of_them.begin(function)
        self.let_in.set()
        while (order := self._orders.get()) is not None:
            self.told.clear()
            order()
            self.told.set()
        all_of_them.end()

    def does(self, order: Callable[[], None]) -> Call:
        """Have the thread do something; returns at once."""
        self.told.clear()
        self._orders.put(order)
        return self

    def did(self, order: Callable[[], None]) -> Call:
        """Have the thread do something, and wait until it has."""
        self.does(order)
        assert self.told.wait(10)
        return self

    def ends(self) -> None:
        """Have the invocation end."""
        self._orders.put(None)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def __bool__(self) -> bool:
        return self.let_in.is_set()


class World:
    """The starts, and a clock that stands."""

    def __init__(self, at_once: int = 1) -> None:
        self.at = 0.0
        self.starts = Starts(at_once, lambda: self.at)

    def let_in(self, function: str = "f") -> Call:
        """Return an invocation that went on."""
        call = Call(self, function)
        assert call.let_in.wait(10)
        return call

    def waits(self, function: str = "f") -> Call:
        """Return an invocation that stands in the line."""
        before = len(self.starts._waiting)
        call = Call(self, function)
        until(lambda: len(self.starts._waiting) > before)
        assert not call
        return call


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.starts._at_once = 1000  # whoever still waits may go
    with made.starts._lock:
        made.starts._let_start()


def test_so_many_start_at_once_and_the_next_when_one_runs() -> None:
    world = World(at_once=2)
    first, second = world.let_in(), world.let_in()
    third = world.waits()
    first.did(world.starts.running)
    assert third.let_in.wait(10)
    for call in (first, second, third):
        call.ends()


def test_the_last_to_come_goes_first(world: World) -> None:
    first = world.let_in()
    older, younger = world.waits(), world.waits("g")
    first.did(world.starts.running)
    assert younger.let_in.wait(10)
    assert not older


@pytest.mark.parametrize(("age", "goes_first"), [(PATIENCE_S, False), (PATIENCE_S + 0.1, True)])
def test_nobody_stands_behind_younger_ones_for_ever(world: World, age: float, goes_first: bool) -> None:
    first = world.let_in()
    older = world.waits()
    world.at = age
    younger = world.waits()
    first.did(world.starts.running)
    until(lambda: older or younger)
    assert bool(older) is goes_first


def test_an_environment_that_comes_free_goes_to_a_request_of_its_function(world: World) -> None:
    first = world.let_in().did(world.starts.running)
    blocker = world.let_in("h")  # the one start that there may be
    same, other = world.waits(), world.waits("g")
    first.ends()
    assert same.let_in.wait(10)
    assert not other
    same.ends()
    assert world.let_in()  # free for the next, too
    assert not other
    blocker.ends()
    assert other.let_in.wait(10)


def test_who_is_refused_leaves_no_environment(world: World) -> None:
    world.let_in().ends()  # never ran
    blocker = world.let_in("h")
    later = world.waits()
    blocker.ends()
    assert later.let_in.wait(10)


def test_an_environment_that_is_gone_is_started_anew_in_turn(world: World) -> None:
    world.let_in().did(world.starts.running).ends()
    blocker = world.let_in("h")
    again = world.let_in()  # one is thought free, but the emulator gave it up
    again.does(world.starts.starting)
    until(lambda: world.starts._waiting)
    assert not again.told.is_set()
    blocker.did(world.starts.running)
    assert again.told.wait(10)
    waiting = world.waits()
    again.did(world.starts.running)
    assert waiting.let_in.wait(10)


def test_nobody_waits_for_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "LONGEST_S", 0.01)
    world.let_in()
    world.let_in().ends()  # though the first never says that it runs
    assert world.starts._waiting == []


def test_an_emulators_environment_says_when_it_starts_and_when_it_runs(world: World) -> None:
    class Environment:
        _proc: SimpleNamespace | None = None

        def _spawn(self) -> None:
            self._proc = SimpleNamespace(poll=lambda: None)

        def invoke(self, event: str, *, broken: bool = False) -> str:
            if self._proc is None:
                self._spawn()
            if broken:
                self._proc = None
            return event

    world.starts.watch(Environment)
    environment = Environment()
    answers: list[str] = []
    call = world.let_in().did(lambda: answers.append(environment.invoke("1")))
    other = world.let_in("g")  # the first runs, so another may start
    other.did(lambda: answers.append(environment.invoke("2")))  # it was given one that runs: no start
    assert world.let_in("h")
    call.ends()
    assert answers == ["1", "2"]


def test_another_version_of_the_emulator_is_not_watched(world: World) -> None:
    with pytest.raises(RuntimeError, match="does not fit"):
        world.starts.watch(SimpleNamespace(_spawn=None))
