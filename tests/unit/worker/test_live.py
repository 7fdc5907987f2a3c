"""A run followed live: one sequence that equals the log, whatever is cut, lost or away."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions.api.live import following
from functions.api.live import listener as listener_module
from functions.api.live.ear import Ear
from functions.api.live.following import Cursor, End, KeepAlive, LogEvent, follow
from functions.api.live.sequence import Place, place
from functions.worker.record import eventlog
from shared import live, valkey, watchers
from shared.tasks import events, settle, store
from shared.tasks.events import Event

from .conftest import LASTING, World, written

STREAM = "[[sim words=120 latency=1.5 ttft=0.05]] hello"
LONG = f"[[sim key=live {LASTING}]] hello"


@pytest.fixture(autouse=True)
def _own_listener(redis_settings: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert redis_settings
    monkeypatch.setattr(listener_module, "_listener", None)
    yield
    assert not any(thread.name == "listener" and thread.is_alive() for thread in _soon_over())


def _soon_over() -> list[threading.Thread]:
    """Threads, once those that have been told to end had the time."""
    for thread in threading.enumerate():
        if thread.name == "listener":
            thread.join(20)
    return threading.enumerate()


class Client:
    """Puts together what it is told, as any client may: by number, and what came in pieces as text.

    It does something after each item that it was told.
    """

    def __init__(self, each: Callable[[Client], object] = lambda _: None) -> None:
        self._each = each
        self.place = Place()
        self.log: list[tuple[int, str, dict[str, Any]]] = []
        self.status: str | None = None
        self.pieces = 0
        self._text = ""

    def take(self, item: LogEvent | KeepAlive | End) -> None:
        self._take(item)
        self._each(self)

    def _take(self, item: LogEvent | KeepAlive | End) -> None:
        if isinstance(item, End):
            self.status = item.status
        if not isinstance(item, LogEvent):
            return
        event, data = item.event, item.event.data
        self.place = item.place
        if not item.whole:
            self.pieces += 1
            self._text += data["text"]
            return
        if event.type in events.WRITTEN:
            data = data | {"text": self._text + data["text"]}
        self._text = ""
        self.log.append((event.seq, event.type, data))


def hurrying(world: World, enough: Callable[[Client], object]) -> Client:
    """Return a client that has the calls of `LONG` end once it was told enough."""
    return Client(lambda client: enough(client) and world.hurry("live"))


def tokens(client: Client) -> int:
    return [kind for _, kind, _ in client.log].count("token")


def logged(task_id: str) -> list[tuple[int, str, dict[str, Any]]]:
    return [(event.seq, event.type, event.data) for event in events.read(task_id, 0).events]


async def watch(task_id: str, client: Client, *, cuts: Callable[[], int | None] = lambda: None, **how: Any) -> None:
    """Follow to the end; ``cuts`` says after how many items the connection breaks next."""
    give_up = time.monotonic() + 60
    while client.status is None:
        left = cuts()
        async with contextlib.aclosing(follow(task_id, client.place, until=give_up, **how)) as items:
            async for item in items:
                client.take(place_survives(item))
                if left is not None:
                    left -= 1
                    if left <= 0:
                        break


def place_survives(item: LogEvent | KeepAlive | End) -> LogEvent | KeepAlive | End:
    """A place goes to the client and comes back as text."""
    if isinstance(item, LogEvent):
        assert place(str(item.place)) == item.place
    return item


def beside(world: World, *watching: Callable[[], Any]) -> None:
    """Work, and meanwhile watch, each in a thread with a loop of its own."""
    failed: list[BaseException] = []

    def run(make: Callable[[], Any]) -> None:
        try:
            asyncio.run(make())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(make,)) for make in watching]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    world.work_until_quiet()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive()
    assert failed == []


def test_what_is_followed_equals_the_log_and_text_comes_before_it_is_stored(world: World) -> None:
    task, client = world.submit(LONG), hurrying(world, lambda client: client.pieces > 5)
    beside(world, lambda: watch(task.task_id, client))
    assert client.log == logged(task.task_id)
    assert client.status == "complete"
    assert client.pieces > 5


def test_the_first_text_of_a_call_does_not_wait_for_the_next_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows since the run began is found when text comes, not when it is next time to store it."""
    monkeypatch.setattr(eventlog, "SLOW_FLUSH_SECONDS", 60.0)
    enough = hurrying(world, lambda client: client.pieces > 5)
    task, client = world.submit("[[sim key=live words=1200 latency=60 ttft=1]] hello"), enough
    beside(world, lambda: watch(task.task_id, client))
    assert client.log == logged(task.task_id)
    assert client.pieces > 5


def test_where_many_streams_share_an_environment_a_piece_holds_more_text(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PIECES_PER_SECOND", 10)  # of four streams
    words: list[int] = []

    def enough(_: Client) -> bool:
        if all(client.pieces > 2 for client in clients) and not words and (now := written(world, "live")) > 60:
            words.append(now)
        return bool(words)

    task, clients = world.submit(LONG), [hurrying(world, enough) for _ in range(4)]
    beside(world, *(lambda client=client: watch(task.task_id, client) for client in clients))
    assert [client.log for client in clients] == [logged(task.task_id)] * 4
    assert all(client.pieces < words[0] / 4 for client in clients)  # eight words come between two pieces


def test_without_pieces_every_event_is_whole(world: World) -> None:
    task, client = world.submit(LONG), hurrying(world, tokens)
    beside(world, lambda: watch(task.task_id, client, pieces=False))
    assert client.log == logged(task.task_id)
    assert client.pieces == 0
    assert tokens(client) > 1  # as it came, not at the end


def test_a_response_is_stored_as_it_is_written_to_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "QUICK_BATCHES", 1)
    monkeypatch.setattr(eventlog, "SLOW_FLUSH_SECONDS", 30.0)
    client = hurrying(world, lambda client: tokens(client) > 3)
    task = world.submit(LONG, params={"dialect": "responses"})
    beside(world, lambda: watch(task.task_id, client, pieces=False))
    assert client.log == logged(task.task_id)
    assert tokens(client) > 3


def test_the_first_text_of_a_call_is_stored_before_it_is_told(world: World) -> None:
    task, seen = world.submit(LONG), list[tuple[Place, int]]()

    async def look() -> None:
        async for item in follow(task.task_id, Place(), until=time.monotonic() + 60):
            if isinstance(item, LogEvent) and not item.whole:
                page = await asyncio.to_thread(events.read, task.task_id, 0)
                calls = [event.data["call"] for event in page.events if event.type == "token"]
                assert item.event.data["call"] in calls
                seen.append((item.place, page.task.last_seq))
                await asyncio.to_thread(world.hurry, "live")

    beside(world, look)
    assert seen


@pytest.mark.parametrize("seed", range(3))
def test_a_connection_cut_anywhere_goes_on_where_it_was(world: World, seed: int) -> None:
    chance = random.Random(seed)
    task = world.submit("[[sim words=200 latency=2 ttft=0.05]] hello")
    clients = [Client() for _ in range(4)]
    beside(world, *[
        lambda client=client: watch(task.task_id, client, cuts=lambda: chance.randint(1, 6)) for client in clients
    ])  # fmt: skip
    log = logged(task.task_id)
    assert [client.log for client in clients] == [log] * 4


def test_lost_and_doubled_messages_change_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, heard = random.Random(5), listener_module.Listener.heard
    monkeypatch.setattr(following, "LOOK_SECONDS", 1.0)

    def shaky(self: listener_module.Listener, text: str) -> None:
        for _ in range(chance.choice((0, 0, 1, 2))):
            heard(self, text)

    monkeypatch.setattr(listener_module.Listener, "heard", shaky)
    task, client = world.submit(STREAM), Client()
    beside(world, lambda: watch(task.task_id, client))
    assert client.log == logged(task.task_id)
    assert client.status == "complete"


def test_a_retried_call_is_void_in_what_was_followed(world: World) -> None:
    task, client = world.submit("[[sim words=60 latency=1 ttft=0.05 fail=drop times=1]] hello"), Client()
    beside(world, lambda: watch(task.task_id, client))
    assert client.log == logged(task.task_id)
    done = settle.result_of(store.get(task.task_id))
    voided = {call for _, _, data in client.log for call in data.get("void", ())}
    calls = {data["call"] for _, kind, data in client.log if kind == "token"}
    assert done is not None
    stands = calls - voided
    assert (
        "".join(data["text"] for _, kind, data in client.log if kind == "token" and data["call"] in stands)
        == (done["response"])
    )


def test_without_valkey_the_log_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise valkey.Away("away")

    monkeypatch.setattr(live, "listen", away)
    monkeypatch.setattr(eventlog, "SLOW_FLUSH_SECONDS", 0.25)
    task, client = world.submit(STREAM), Client()
    monkeypatch.setattr(following, "DEAF_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(listener_module.Listener, "well", False)
    beside(world, lambda: watch(task.task_id, client))
    assert client.log == logged(task.task_id)
    assert client.status == "complete"


def test_what_is_stored_is_told_while_the_subscription_is_still_being_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id, add, go_on = world.submit(LONG).task_id, listener_module.Listener.add, threading.Event()

    def slow(self: listener_module.Listener, ear: Ear) -> None:
        assert go_on.wait(60)
        add(self, ear)

    monkeypatch.setattr(listener_module.Listener, "add", slow)
    client = hurrying(world, lambda client: client.pieces)

    async def main() -> None:
        async with contextlib.aclosing(follow(task_id, Place(), until=time.monotonic() + 60)) as items:
            client.take(await anext(items))
        assert client.log == logged(task_id)
        go_on.set()

    asyncio.run(main())
    assert client.place == Place(1)
    beside(world, lambda: watch(task_id, client))
    assert (client.status, client.log) == ("complete", logged(task_id))
    assert client.pieces  # and it is heard of afterwards


def test_a_stream_that_ends_while_it_is_registered_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id, listen, listener = world.submit("hello").task_id, live.listen, listener_module.Listener()

    async def main() -> Ear:
        return Ear(task_id)

    ear = asyncio.run(main())

    def late(task_id: str, name: str) -> None:
        listener.remove(ear)
        listen(task_id, name)

    monkeypatch.setattr(live, "listen", late)
    listener.add(ear)
    assert watchers.look(task_id).listeners == ()


def test_a_task_that_ended_is_replayed_from_any_place(world: World) -> None:
    task = world.submit("[[sim words=30]] hello")
    world.work()
    log = logged(task.task_id)
    token = next(seq for seq, kind, _ in log if kind == "token")
    for start in (Place(), Place(1), Place(token - 1, 7), Place(len(log)), Place(len(log) + 5)):
        client = Client()
        client.place = start
        asyncio.run(watch(task.task_id, client))
        assert client.status == "complete"
        wanted = [row for row in log if row[0] > start.seq]
        if start.chars:
            seq, kind, data = wanted[0]
            wanted[0] = (seq, kind, data | {"text": data["text"][7:]})
        assert client.log == wanted


def test_a_stream_ends_with_its_longest_life_and_says_where(world: World) -> None:
    task = world.submit("hello")

    async def collect() -> list[Any]:
        return [item async for item in follow(task.task_id, Place(), until=time.monotonic() + 2)]

    items = asyncio.run(collect())
    assert [type(item) for item in items] == [LogEvent, End]
    assert items[-1] == End(None, Place(1))


def test_silence_is_broken_by_keep_alives(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "KEEP_ALIVE_SECONDS", 0.2)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.1)
    task = world.submit("hello")

    async def until_two() -> int:
        found = 0
        async for item in follow(task.task_id, Place(), until=time.monotonic() + 60):
            found += isinstance(item, KeepAlive)
            if found == 2:
                break
        return found

    assert asyncio.run(until_two()) == 2


def test_whoever_stops_following_is_told_no_more(world: World) -> None:
    task = world.submit("hello")

    async def glance() -> None:
        async with contextlib.aclosing(follow(task.task_id, Place(), until=time.monotonic() + 30)) as items:
            await anext(items)
            while len(watchers.look(task.task_id).listeners) != 1:  # noqa: ASYNC110 - what is stored goes out first
                await asyncio.sleep(0.01)

    asyncio.run(glance())
    assert watchers.look(task.task_id) == watchers.Watched({})


def test_a_listener_is_no_watcher_and_lapses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world
    live.listen("t", "ear")
    watchers.add("t", "c", 3)
    assert watchers.look("t") == ({"c": 3}, False, ("ear",))
    monkeypatch.setattr(watchers, "now", lambda: time.time() + live.LISTEN_SECONDS + 2)
    assert watchers.look("t").listeners == ()


@pytest.fixture(params=["valkey_url", "valkey_cluster_url"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A plain server and a cluster."""
    from shared.settings import settings

    monkeypatch.setenv("REDIS_URL", request.getfixturevalue(request.param))
    settings.cache_clear()
    valkey.reset()
    valkey.client().flushall()
    yield valkey.client()
    _soon_over()
    valkey.client().close()
    valkey.reset()
    settings.cache_clear()


def told(task_id: str, seq: int) -> live.Message:
    """Publish an event of a task; returns what is to be heard."""
    event = Event("token", 1.0, {"text": "x"}, seq)
    live.publish([(task_id, live.encode(task_id, [event]))])
    return live.Message(task_id, [event])


@pytest.mark.usefixtures("server")
def test_a_message_reaches_every_environment_that_streams_the_task() -> None:
    """Once, and also who came after the worker had last looked who listens: it names no listener."""

    async def hear() -> list[Any]:
        ears = [Ear("t") for _ in range(2)]
        ours = [listener_module.Listener() for _ in range(2)]
        for environment, ear in zip(ours, ears, strict=True):
            await asyncio.to_thread(environment.add, ear)
        sent = await asyncio.to_thread(told, "t", 7)
        assert len((await asyncio.to_thread(watchers.look, "t")).listeners) == 2
        try:
            return [sent, *[await ear.next(60) for ear in ears]]
        finally:
            for environment, ear in zip(ours, ears, strict=True):
                await asyncio.to_thread(environment.remove, ear)

    sent, *heard = asyncio.run(hear())
    assert heard == [sent, sent]


@pytest.mark.usefixtures("server")
def test_streams_of_many_tasks_share_a_subscription_and_come_and_go() -> None:
    async def main() -> None:
        ours, tasks = listener_module.Listener(), [f"t{n}" for n in range(5)]
        kept = Ear("kept")
        await asyncio.to_thread(ours.add, kept)
        for turn in range(3):
            ears = [Ear(task_id) for task_id in tasks]
            await asyncio.gather(*(asyncio.to_thread(ours.add, ear) for ear in ears))
            for ear in ears:
                sent = await asyncio.to_thread(told, ear.task_id, turn + 1)
                assert await ear.next(60) == sent
            await asyncio.gather(*(asyncio.to_thread(ours.remove, ear) for ear in ears))
        sent = await asyncio.to_thread(told, "kept", 9)
        assert await kept.next(60) == sent
        assert [thread.name for thread in threading.enumerate()].count("listener") == 1
        await asyncio.to_thread(ours.remove, kept)

    asyncio.run(main())


def test_of_text_that_waits_for_a_slow_reader_the_newest_is_enough() -> None:
    def piece(seq: int, text: str) -> live.Message:
        return live.Message("t", [], Event("token", 0, {"call": "c", "text": text}, seq))

    async def main() -> list[Any]:
        ear = Ear("t")
        stored = live.Message("t", [Event("token", 0, {"call": "c", "text": "abc"}, 5)])
        for message in (piece(5, "a"), piece(5, "ab"), stored, piece(6, "d"), None, piece(6, "de"), piece(6, "def")):
            ear.hear(message)
        await asyncio.sleep(0)
        return [await ear.next(1) for _ in range(5)]

    heard = asyncio.run(main())
    assert [message and (message.piece.data["text"] if message.piece else "stored") for message in heard] == [
        "ab", "stored", "d", None, "def",
    ]  # fmt: skip


def test_whoever_comes_back_to_another_environment_hears_text_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker looks who listens only when it stores something, and here that is before."""
    monkeypatch.setattr(eventlog, "SLOW_FLUSH_SECONDS", 0.2)
    task, first = world.submit(LONG), Client()
    second = hurrying(world, lambda client: client.pieces > 5)

    async def come_and_come_back() -> None:
        async with contextlib.aclosing(follow(task.task_id, Place(), until=time.monotonic() + 60)) as items:
            async for item in items:
                first.take(place_survives(item))
                if first.pieces > 2:
                    monkeypatch.setattr(eventlog, "SLOW_FLUSH_SECONDS", 60.0)
                    await asyncio.sleep(0.6)  # the store that was due is over
                    monkeypatch.setattr(listener_module, "_listener", None)  # another environment
                    second.place, second._text = first.place, first._text
                    second.log = [*first.log]
                    await watch(task.task_id, second)
                    return

    beside(world, come_and_come_back)
    assert second.pieces > 5
    assert second.log == logged(task.task_id)


def test_a_lost_subscription_is_made_anew_and_the_log_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "RETRY_SECONDS", 0.05)
    task, client = world.submit(STREAM), Client()

    async def break_in() -> None:
        await asyncio.sleep(0.4)
        await asyncio.to_thread(valkey.client().execute_command, "CLIENT", "KILL", "TYPE", "pubsub")

    beside(world, lambda: watch(task.task_id, client), break_in)
    assert client.log == logged(task.task_id)
    assert client.status == "complete"


def test_large_and_last_events_are_read_not_told() -> None:
    large = Event("news", 1.0, {"text": "x" * live.MESSAGE_BYTES}, 3)
    for event in (large, Event("complete", 1.0, {"response": "x"}, 4)):
        assert live.decode(live.encode("t", [event])) == live.Message("t")


def test_the_sequence_knows_what_it_had() -> None:
    cursor = Cursor(Place(4))
    piece = Event("token", 0, {"call": "c", "text": "hel"}, 5)
    taken = cursor.take_piece(piece)
    assert taken is not None
    assert (taken.event.data["text"], str(taken.place)) == ("hel", "4.3")
    assert cursor.take_piece(piece) is None
    taken = cursor.take(Event("token", 0, {"call": "c", "text": "hello"}, 5))
    assert taken is not None
    assert (taken.event.data["text"], str(taken.place)) == ("lo", "5")
    assert cursor.take(Event("token", 0, {"call": "c", "text": "hello"}, 5)) is None
    for event in (Event("token", 0, {"text": "x"}, 7), Event("step", 0, {}, 8)):
        with pytest.raises(LookupError):
            cursor.take(event)
    with pytest.raises(LookupError):
        cursor.take_piece(Event("token", 0, {"text": "x"}, 7))


def test_text_that_was_never_stored_gives_way_to_the_event_that_was() -> None:
    cursor = Cursor(Place(4, 3))
    taken = cursor.take(Event("resumed", 0, {"void": ["c"]}, 5))
    assert taken is not None
    assert (taken.event.type, taken.event.data, taken.place) == ("resumed", {"void": ["c"]}, Place(5))


@pytest.mark.parametrize("text", ["", "x", "1.", "1.x", "-1", "1.2.3", "1e3", "٣", "9" * 10, " "])
def test_what_is_no_place_is_refused(text: str) -> None:
    if text == "1.":
        assert place(text) == Place(1)
        return
    with pytest.raises(ValueError, match="no place"):
        place(text)
