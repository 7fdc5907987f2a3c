"""Chat completions with `store: true` are found again, listed, described anew and deleted, with the real client."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from shared.tasks import settle, store, stored_chats
from shared.tasks.model import Status
from tests.unit.api.bulk import CHAT, begin, carry_out, line
from tests.unit.api.conftest import Api
from tests.unit.api.test_openai import address, client
from tests.unit.api.test_results import claim

__all__ = ["address", "client"]


def asked(api: Api, n: int = 0, **more: Any) -> str:
    """Ask for a completion, and leave its run to a worker; returns its id."""
    body = {"model": "sim-small", "messages": [{"role": "user", "content": f"q{n}"}], "store": True, **more}
    made = api.client.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {api.keys['demo']}"})
    return f"chatcmpl-{made.headers['x-sluice-task-id']}"


def answered(api: Api, n: int = 0, **more: Any) -> str:
    """The same, complete."""
    made = asked(api, n, **more)
    outcome = settle.Outcome(status=Status.COMPLETE, response=f"a{n}")
    settle.settle(claim(made.removeprefix("chatcmpl-")), outcome, message=f"q{n}")
    return made


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.api.dialect.runs.MAX_WAIT_SECONDS", 0)
    monkeypatch.setattr("functions.api.dialect.runs.streams", lambda _: False)


def test_a_stored_completion_is_retrieved_with_its_messages(api: Api, client: openai.OpenAI) -> None:
    said = [{"role": "system", "content": "be brief"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    image = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
    said.append({"role": "user", "content": [{"type": "text", "text": "look"}, image]})
    made = answered(api, messages=said, metadata={"k": "v"}, temperature=0.5)
    found = client.chat.completions.retrieve(made)
    assert (found.id, found.choices[0].message.content) == (made, "a0")
    assert found.to_dict()["metadata"] == {"k": "v"}
    assert found.to_dict()["temperature"] == 0.5
    messages = list(client.chat.completions.messages.list(made))
    assert [message.content for message in messages] == ["be brief", "hi", "look"]
    assert messages[2].content_parts is not None
    assert len({message.id for message in messages}) == 3
    assert [one.id for one in client.chat.completions.messages.list(made, order="desc", limit=1)] == [
        message.id for message in messages[::-1]
    ]


def test_stored_completions_are_listed_page_by_page(
    api: Api, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_chats, "AT_ONCE", 2)
    made = [answered(api, n, metadata={"n": str(n % 2)}) for n in range(5)]
    answered(api, 9, store=False)
    answered(api, 9, store=None)
    asked(api, 9)  # it has not ended
    assert [one.id for one in client.chat.completions.list(limit=2)] == made
    assert [one.id for one in client.chat.completions.list(order="desc", limit=3)] == made[::-1]
    assert [one.id for one in client.chat.completions.list(metadata={"n": "1"}, limit=1)] == made[1::2]
    assert list(client.chat.completions.list(model="another")) == []
    assert len(list(client.chat.completions.list(model="sim-small"))) == 5
    first = client.chat.completions.list(limit=2)
    assert (first.has_next_page(), len(first.data)) == (True, 2)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.list(after="chatcmpl-task_none")
    assert client.chat.completions.delete(made[0]).deleted
    assert [one.id for one in client.chat.completions.list()] == made[1:]


def test_metadata_is_replaced(api: Api, client: openai.OpenAI) -> None:
    made = answered(api, metadata={"k": "v"}, temperature=0.5)
    assert client.chat.completions.update(made, metadata={"other": "w"}).to_dict()["metadata"] == {"other": "w"}
    assert client.chat.completions.retrieve(made).to_dict()["metadata"] == {"other": "w"}
    assert store.get(made.removeprefix("chatcmpl-")).params["options"] == {"temperature": 0.5}
    assert client.chat.completions.update(made, metadata=None).to_dict()["metadata"] == {}
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.update(made, metadata={"k": "v" * 600})


def test_others_do_not_see_it(api: Api, client: openai.OpenAI) -> None:
    made = answered(api)
    theirs = client.with_options(api_key=api.keys["other"]).chat.completions
    assert list(theirs.list()) == []
    for ask in (
        theirs.retrieve,
        theirs.delete,
        lambda one: theirs.messages.list(one),
        lambda one: theirs.update(one, metadata={}),
    ):
        with pytest.raises(openai.NotFoundError):
            ask(made)
    assert list(theirs.list(after=made)) == []
    assert client.chat.completions.retrieve(made).id == made


def test_what_was_not_stored_or_has_not_ended_is_not_found_and_says_where_its_run_is(
    api: Api, client: openai.OpenAI
) -> None:
    plain, running = answered(api, store=None), asked(api)
    for made in (plain, running):
        with pytest.raises(openai.NotFoundError, match=f"GET /result/{made.removeprefix('chatcmpl-')}"):
            client.chat.completions.retrieve(made)
    with pytest.raises(openai.ConflictError):
        client.chat.completions.delete(running)
    for odd in ("x", "chatcmpl-", "resp_" + plain.removeprefix("chatcmpl-"), "chatcmpl-a b"):
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.retrieve(odd)


def test_nothing_is_left_of_a_user_who_is_erased(api: Api, client: openai.OpenAI) -> None:
    answered(api)
    assert api.client.delete("/me/data", headers={"Authorization": f"Bearer {api.keys['demo']}"}).is_success
    assert list(client.chat.completions.list()) == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_all_are_met_by_a_client_that_deletes_what_it_lists(api: Api, client: openai.OpenAI, order: Any) -> None:
    made = {answered(api, n) for n in range(5)}
    met = [
        one.id for one in client.chat.completions.list(order=order, limit=2) if client.chat.completions.delete(one.id)
    ]
    assert set(met) == made
    assert list(client.chat.completions.list()) == []


def test_a_run_again_and_a_line_of_a_batch_are_listed_too(api: Api, client: openai.OpenAI) -> None:
    first = answered(api)
    again = api.post(f"/agent/{first.removeprefix('chatcmpl-')}/retry").json()["task_id"]
    settle.settle(claim(again), settle.Outcome(status=Status.COMPLETE, response="b"), message="q0")
    carry_out("demo", begin("demo", api.keys["demo"], [line("c", CHAT, store=True)], CHAT).batch_id)
    shown = [one.id for one in client.chat.completions.list()]
    assert len(shown) == 3
    assert {first, f"chatcmpl-{again}"} < set(shown)
    assert list(client.chat.completions.list(after=shown[0])) == list(client.chat.completions.list())[1:]
