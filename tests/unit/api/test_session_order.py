"""Runs of one session go one after the other, in the order in which they were submitted."""

from __future__ import annotations

from typing import Any

import pytest

from functions.api.door.gate import gate
from functions.sweeper import sweep as sweeper
from shared import valkey
from shared.clock import now
from shared.errors import DependencyDown
from shared.limits import names
from shared.tasks import aftermath, claims, settle, store, succession, table
from shared.tasks.items import row_key
from shared.tasks.model import Status, Task
from tests.unit.api.conftest import Api
from tests.unit.api.test_results import claim
from tests.unit.api.test_submit import messages

DONE = settle.Outcome(status=Status.COMPLETE, response="done")
FAILED = settle.Outcome(status=Status.FAILED, error={"code": "x", "message": "x", "type": "x"})


def talk(api: Api, session: str = "s", who: str = "load", **body: Any) -> str:
    answer = api.submit(who, session_id=session, **body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


def end(task_id: str, outcome: settle.Outcome = DONE, *, follow_up: bool = True) -> None:
    task = claim(task_id)
    settle.settle(task, outcome, message="hi")
    if follow_up:
        aftermath.finished(gate(), task)


def sent(api: Api, lane: str = "normal") -> list[str]:
    return [one["task_id"] for one in messages(api.lanes[lane])]


def reason(api: Api, task_id: str, who: str = "load") -> Any:
    return api.get(f"/result/{task_id}", who).json().get("reason")


@pytest.mark.parametrize("outcome", [DONE, FAILED])
def test_a_run_waits_for_the_one_before_it_in_its_session(api: Api, outcome: settle.Outcome) -> None:
    first, second, third = (talk(api) for _ in range(3))
    assert sent(api) == [first]
    assert [reason(api, one) for one in (first, second, third)] == [None, "session_busy", "session_busy"]
    assert isinstance(claims.claim(second, 0), claims.Refused)
    end(first, outcome)
    assert sent(api) == [second]
    assert [reason(api, one) for one in (second, third)] == [None, "session_busy"]
    end(second, outcome)
    assert sent(api) == [third]
    end(third, outcome)
    assert store.get(third).status is outcome.status


def test_other_sessions_and_runs_without_one_do_not_wait(api: Api) -> None:
    made = [talk(api, "a"), talk(api, "b"), talk(api, "a", "other")]
    made += [api.submit("load").json()["task_id"] for _ in range(2)]
    assert sorted(sent(api)) == sorted(made)


def test_a_session_is_free_again_when_its_run_has_ended(api: Api) -> None:
    end(talk(api))
    sent(api)
    second = talk(api)
    assert sent(api) == [second]


def test_a_submit_may_rather_be_refused_than_wait(api: Api) -> None:
    first = talk(api)
    refused = api.submit("load", session_id="s", on_busy="reject")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "session_busy")
    assert first in refused.json()["error"]["message"]
    assert valkey.client().hlen(names.user_keys("load").entries) == 1
    third = talk(api)
    assert store.get(third).after == first
    end(first)
    assert sent(api) == [first, third]


def test_a_submit_may_run_beside_the_others(api: Api) -> None:
    first, beside = talk(api), talk(api, on_busy="parallel")
    third = talk(api)
    assert sorted(sent(api)) == sorted([first, beside])
    assert store.get(third).after == first


def test_cancelling_who_waits_lets_the_next_one_go_on(api: Api) -> None:
    first, second, third = (talk(api) for _ in range(3))
    api.post(f"/agent/{second}/cancel", "load")
    end(first)
    assert sent(api) == [first, third]


def test_cancelling_who_waits_lets_nobody_pass_who_runs(api: Api) -> None:
    """Neither who is behind it already nor who comes now; nor when it ends by its time, or two in a row do."""
    first, second, third, fourth = (talk(api) for _ in range(4))
    api.post(f"/agent/{third}/cancel", "load")
    api.post(f"/agent/{second}/cancel", "load")
    assert sent(api) == [first]
    assert [reason(api, one) for one in (first, fourth)] == [None, "session_busy"]
    assert store.get(fourth).after == first
    api.post(f"/agent/{fourth}/cancel", "load")
    fifth = talk(api)
    assert (sent(api), store.get(fifth).after) == ([], first)
    refused = api.post("/agent", "load", message="hi", session_id="s", on_busy="reject")
    assert refused.status_code == 409
    end(first)
    assert sent(api) == [fifth]


def test_who_waits_behind_a_cancelled_one_is_found_by_the_sweeper(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canceller died before it could pass the place on."""
    first, second, third = (talk(api) for _ in range(3))
    with monkeypatch.context() as patch:
        patch.setattr(aftermath, "finished", lambda *_, **__: True)
        api.post(f"/agent/{second}/cancel", "load")
    sent(api)
    much_later(third)
    sweeper.sweep(now() + 60)
    assert (sent(api), store.get(third).after) == ([], first)
    end(first)
    assert sent(api) == [third]


def test_cancelling_who_is_first_lets_the_next_one_go_on(api: Api) -> None:
    first, second = talk(api), talk(api)
    api.post(f"/agent/{first}/cancel", "load")
    assert sent(api) == [first, second]


def test_who_waits_for_a_session_holds_no_running_slot(api: Api) -> None:
    first, second = talk(api, who="narrow"), talk(api, who="narrow")
    end(first)
    assert sent(api) == [first, second]
    waits, beside = talk(api, who="narrow"), talk(api, "another", "narrow")
    assert [reason(api, one, "narrow") for one in (waits, beside)] == ["session_busy", "running_cap"]
    end(second)
    # There is one slot for the two of them; both get it in the end.
    (next_one,) = sent(api)
    end(next_one)
    (last,) = sent(api)
    assert {next_one, last} == {waits, beside}


def test_an_end_that_nobody_followed_up_is_found_by_the_sweeper(api: Api) -> None:
    first, second = talk(api), talk(api)
    sent(api)
    end(first, follow_up=False)
    much_later(second)
    sweeper.sweep(now() + 60)
    assert sent(api) == [second]


def much_later(task_id: str) -> None:
    sweeper._gate.cache_clear()
    table.update(table.update_op(row_key(task_id), sets={"due_at": now() - 1}))


def test_a_submit_that_died_before_it_was_noted_is_found_by_the_sweeper(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = talk(api)

    def dies(task: Task) -> bool:
        raise DependencyDown("dynamodb")

    with monkeypatch.context() as patch:
        patch.setattr(succession, "follow", dies)
        second = talk(api)
    much_later(second)
    sweeper.sweep(now() + 60)
    assert sent(api) == [first]
    end(first)
    assert sent(api) == [second]


def test_an_end_between_the_look_and_the_note_is_not_missed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = talk(api)
    follow = succession.follow

    def ends_just_now(task: Task) -> bool:
        end(first)
        return follow(task)

    monkeypatch.setattr(succession, "follow", ends_just_now)
    second = talk(api)
    assert sent(api) == [first, second]


def test_a_repeat_of_a_submit_keeps_its_place(api: Api) -> None:
    first = talk(api)
    headers = {"Idempotency-Key": "k"}
    made = [api.submit("load", headers=headers, session_id="s").json()["task_id"] for _ in range(2)]
    assert made[0] == made[1]
    third = talk(api)
    assert (store.get(made[0]).after, store.get(third).after) == (first, made[0])


def test_a_row_that_could_not_be_written_leaves_the_line(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = talk(api)

    def away(*_: Any, **__: Any) -> Task:
        raise DependencyDown("dynamodb")

    with monkeypatch.context() as patch:
        patch.setattr(store, "submit", away)
        assert api.submit("load", session_id="s").status_code == 503
    assert store.get(talk(api)).after == first


def test_who_answers_a_run_waits_for_it_in_its_conversation(api: Api) -> None:
    body = {"model": "gpt-4o-mini", "input": "hi", "background": True}
    first = api.post("/v1/responses", "load", **body).json()["id"]
    second = api.post("/v1/responses", "load", previous_response_id=first, **body)
    if second.status_code == 200:  # or refused: never run without what it answers
        task_id = second.json()["id"].removeprefix("resp_")
        assert store.get(task_id).after == first.removeprefix("resp_")


def test_the_line_is_lost_with_valkey_and_nothing_else(api: Api) -> None:
    first = talk(api)
    valkey.client().flushall()
    second, third = talk(api), talk(api)
    assert [store.get(one).after for one in (first, second, third)] == [None, None, second]
    end(second)
    assert set(sent(api)) == {first, second, third}
