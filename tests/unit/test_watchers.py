"""Who follows a task: the bounds, and what is left behind by whoever goes."""

from typing import Any

import pytest

from shared import valkey, watchers
from shared.limits.scripts import script
from shared.settings import settings


@pytest.fixture(autouse=True)
def server(any_valkey: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(valkey, "client", lambda: any_valkey)
    settings.cache_clear()
    return any_valkey


def test_a_task_has_so_many_watchers_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "WATCHERS_PER_TASK", 3)
    for n in range(3):
        watchers.add("t", f"c{n}", 0)
    with pytest.raises(watchers.TooMany, match="at most 3 watchers"):
        watchers.add("t", "c3", 0)
    assert set(watchers.of("t")) == {"c0", "c1", "c2"}
    watchers.add("t", "c1", 7)  # again, from further on
    assert watchers.of("t")["c1"] == 7
    watchers.remove("t", "c0")
    watchers.add("t", "c3", 0)


def test_a_connection_follows_so_many_tasks_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "TASKS_PER_CONNECTION", 2)
    watchers.add("t0", "c", 0)
    watchers.add("t1", "c", 0)
    with pytest.raises(watchers.TooMany, match="at most 2 tasks"):
        watchers.add("t2", "c", 0)
    assert watchers.of("t2") == {}
    assert watchers.remove("t0", "c")
    watchers.add("t2", "c", 0)


def test_who_takes_a_connection_off_knows_it_though_the_answer_came_late(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks again, and whoever takes it off pushes the rest: else nobody would."""

    def asked_again(name: str) -> Any:
        def call(*args: Any) -> Any:
            script(name)(*args)
            return script(name)(*args)

        return call

    watchers.add("t", "c", 0)
    with monkeypatch.context() as late:
        late.setattr(watchers, "script", asked_again)
        assert watchers.remove("t", "c")
        assert not watchers.remove("t", "c")
    watchers.add("t", "c", 0)
    assert [watchers.remove("t", "c") for _ in range(2)] == [True, False]
    marks = server.keys("*taken*")
    assert len(marks) == 2
    assert all(0 < server.ttl(mark) <= watchers.TAKEN_SECONDS for mark in marks)


def test_a_closed_connection_is_taken_off_everywhere(server: Any) -> None:
    for n in range(3):
        watchers.add(f"t{n}", "c", 0)
        watchers.add(f"t{n}", "other", 0)
    watchers.remove_connection("c")
    assert [set(watchers.of(f"t{n}")) for n in range(3)] == [{"other"}] * 3
    assert not server.exists("{sluice:watching:c}")
