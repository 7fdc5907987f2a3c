"""OpenAI's conversations: what was taken out is gone for who lists it and who runs in it; an item keeps its id."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from shared.clock import now
from shared.settings import settings
from shared.tasks import chains, conversation, sessions, settle, turn_pages
from shared.tasks.model import Status
from tests.unit.api.conftest import Api
from tests.unit.api.test_openai import address, client, task_of
from tests.unit.api.test_results import claim

__all__ = ["address", "client"]

CALLS = [{"id": f"c{n}", "name": "lookup", "arguments": "{}"} for n in range(2)]


def answered(client: openai.OpenAI, conversation_id: str, text: str, **data: Any) -> Any:
    """Run a response in a conversation to its end, as a worker does."""
    made = client.responses.create(model="sim-small", input="why?", conversation=conversation_id, background=True)
    outcome = settle.Outcome(status=Status.COMPLETE, response=text, data=data or None)
    settle.settle(claim(task_of(made)), outcome, message="why?")
    return client.responses.retrieve(made.id)


def seen(api: Api, conversation_id: str) -> list[Any]:
    """Return what a run in the conversation would see."""
    turns = chains.read("demo", conversation_id, last=None, before=now() + 9)
    messages = conversation.fitting([message for turn in turns for message in turn.messages], [])
    return [message["content"] for message in messages]


def listed(client: openai.OpenAI, conversation_id: str) -> list[Any]:
    return list(client.conversations.items.list(conversation_id, order="asc"))


def test_an_item_that_is_deleted_is_gone_and_the_others_keep_their_ids(api: Api, client: openai.OpenAI) -> None:
    given: Any = [{"role": "user", "content": f"m{n}"} for n in range(4)]
    made = client.conversations.create(items=given)
    before = listed(client, made.id)
    for item in (before[1], before[3]):
        assert client.conversations.items.delete(item.id, conversation_id=made.id).id == made.id
    assert [item.id for item in listed(client, made.id)] == [before[0].id, before[2].id]
    assert seen(api, made.id) == ["m0", "m2"]
    assert "m1" not in api.get(f"/sessions/{made.id}").text
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.delete(before[1].id, conversation_id=made.id)
    for item in (before[0], before[2]):
        client.conversations.items.delete(item.id, conversation_id=made.id)
    assert listed(client, made.id) == []
    assert seen(api, made.id) == []


def test_the_items_of_a_run_are_those_of_its_response(api: Api, client: openai.OpenAI) -> None:
    made = client.conversations.create()
    response = answered(client, made.id, "let me see", tool_calls=CALLS)
    ours = listed(client, made.id)
    assert [item.id for item in ours[1:]] == [item.id for item in response.output]
    client.conversations.items.delete(ours[2].id, conversation_id=made.id)
    left = listed(client, made.id)
    assert [item.id for item in left] == [ours[0].id, ours[1].id, ours[3].id]
    assert left[2].call_id == "c1"
    client.conversations.items.delete(ours[1].id, conversation_id=made.id)
    client.conversations.items.delete(ours[0].id, conversation_id=made.id)
    assert [item.id for item in listed(client, made.id)] == [ours[3].id]
    client.conversations.items.delete(ours[3].id, conversation_id=made.id)
    assert listed(client, made.id) == []


def test_a_plain_turn_loses_its_question_alone(api: Api, client: openai.OpenAI) -> None:
    made = client.conversations.create()
    answered(client, made.id, "so")
    client.conversations.items.delete(listed(client, made.id)[0].id, conversation_id=made.id)
    assert seen(api, made.id) == ["so"]
    [turn] = api.get(f"/sessions/{made.id}").json()["turns"]
    assert (turn["user"], turn["assistant"]) == ("", "so")


def test_another_users_items_are_not_found(api: Api, client: openai.OpenAI) -> None:
    made = client.conversations.create(items=[{"role": "user", "content": "mine"}])
    theirs = client.with_options(api_key=api.keys["other"])
    with pytest.raises(openai.NotFoundError):
        theirs.conversations.items.delete(listed(client, made.id)[0].id, conversation_id=made.id)
    reference: Any = {"type": "item_reference", "id": listed(client, made.id)[0].id}
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        theirs.responses.create(model="sim-small", input=[reference], background=True)
    assert len(listed(client, made.id)) == 1


def test_items_that_were_given_can_be_referred_to(api: Api, client: openai.OpenAI) -> None:
    made = client.conversations.create(items=[{"role": "user", "content": "added"}])
    first = client.responses.create(model="sim-small", input="asked", background=True)
    [asked] = client.responses.input_items.list(first.id)
    refer: Any = [{"type": "item_reference", "id": item.id} for item in (*listed(client, made.id), asked)]
    again = client.responses.create(model="sim-small", input=refer, background=True)
    texts = [item.content[0].text for item in client.responses.input_items.list(again.id, order="asc")]  # type: ignore[union-attr]
    assert texts == ["added", "asked"]
    for odd in (refer[0]["id"] + "9", "itm_" + "0" * 32 + "-abc.0", "itm_task_none.0"):
        with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
            client.responses.create(model="sim-small", input=[{"type": "item_reference", "id": odd}], background=True)


def test_what_ends_in_a_deleted_conversation_is_not_remembered(api: Api, client: openai.OpenAI) -> None:
    made = client.conversations.create()
    response = client.responses.create(model="sim-small", input="why?", conversation=made.id, background=True)
    task = claim(task_of(response))
    client.conversations.delete(made.id)
    settle.settle(task, settle.Outcome(status=Status.COMPLETE, response="so"), message="why?")
    assert client.responses.retrieve(response.id).output_text == "so"
    assert sessions.read(task.user, made.id, limit=5) == []


def test_a_conversation_begins_without_a_body_and_loses_its_metadata_by_null(api: Api, client: openai.OpenAI) -> None:
    made = api.client.post("/v1/conversations", headers={"Authorization": f"Bearer {api.keys['demo']}"})
    assert made.status_code == 200, made.text
    assert client.conversations.update(made.json()["id"], metadata={"k": "v"}).metadata == {"k": "v"}
    assert client.conversations.update(made.json()["id"], metadata=None).metadata == {}


def test_all_items_of_a_long_conversation_are_listed_page_by_page(
    api: Api, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_pages, "AT_ONCE", 7)
    monkeypatch.setenv("SESSION_TURNS", "2")  # what a run of a session sees has nothing to do with it
    settings.cache_clear()
    made = client.conversations.create()
    turns = 2 * turn_pages.AT_ONCE + 1  # and the answer's: they are read in three goes
    for n in range(turns):
        given: Any = [{"role": "user", "content": f"m{2 * n + m}"} for m in range(2)]
        client.conversations.items.create(made.id, items=given)
    answered(client, made.id, "so")
    texts = [*(f"m{n}" for n in range(2 * turns)), "why?", "so"]
    for order in ("asc", "desc"):
        for limit in (1, 3, 100):
            found = client.conversations.items.list(made.id, order=order, limit=limit)  # type: ignore[arg-type]
            assert len(found.data) == min(limit, len(texts))
            ordered = texts if order == "asc" else texts[::-1]
            assert [item.content[0].text for item in found] == ordered  # type: ignore[union-attr]
    oldest = client.conversations.items.list(made.id, order="asc", limit=1).data[0]
    assert client.conversations.items.retrieve(oldest.id, conversation_id=made.id) == oldest
    refer: Any = [{"type": "item_reference", "id": oldest.id}]
    again = client.responses.create(model="sim-small", input=refer, background=True)
    assert [item.content[0].text for item in client.responses.input_items.list(again.id)] == ["m0"]  # type: ignore[union-attr]
    client.conversations.items.delete(oldest.id, conversation_id=made.id)
    assert len(listed(client, made.id)) == len(texts) - 1


def test_a_page_behind_an_item_that_is_not_there_is_refused(client: openai.OpenAI) -> None:
    made = client.conversations.create(items=[{"role": "user", "content": "m"}])
    other = client.conversations.create(items=[{"role": "user", "content": "n"}])
    [elsewhere] = listed(client, other.id)
    for odd in ("x", elsewhere.id, "msg_task_0", "itm_" + "0" * 32 + "-" + "f" * 18 + ".0", "\u00e9"):
        with pytest.raises(openai.BadRequestError):
            client.conversations.items.list(made.id, after=odd)


def test_items_that_an_older_version_added_are_found(api: Api, client: openai.OpenAI) -> None:
    made = client.conversations.create()
    name = f"{made.id.removeprefix('conv_')}-0123456789ab"
    for n, of in enumerate((name, "itm0123456789ab")):
        said: Any = [{"role": "user", "content": f"old {n}"}, {"role": "user", "content": f"new {n}"}]
        sessions.add("demo", made.id, of, said, at=now() + n, expires=now() + 99)
    items = listed(client, made.id)
    assert [item.content[0].text for item in items] == ["old 0", "new 0", "old 1", "new 1"]
    for n, item in enumerate(items):
        assert client.conversations.items.retrieve(item.id, conversation_id=made.id) == item
        rest = list(client.conversations.items.list(made.id, order="asc", after=item.id))
        assert rest == items[n + 1 :]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_all_items_are_met_by_a_client_that_deletes_what_it_lists(api: Api, client: openai.OpenAI, order: Any) -> None:
    made = client.conversations.create()
    for n in range(3):
        given: Any = [{"role": "user", "content": f"m{2 * n + m}"} for m in range(2)]
        client.conversations.items.create(made.id, items=given)
        answered(client, made.id, "so", tool_calls=CALLS if n == 2 else None)
    items = client.conversations.items
    met = [one for one in items.list(made.id, order=order, limit=3) if items.delete(one.id, conversation_id=made.id)]
    assert len(met) == len({one.id for one in met}) == 14
    assert listed(client, made.id) == []


def test_outputs_of_calls_are_added_when_they_are_there(api: Api, client: openai.OpenAI) -> None:
    """The Agents SDK keeps calls in its session before a person has allowed them, and their outputs afterwards."""

    def call(n: int) -> dict[str, Any]:
        return {"type": "function_call", "call_id": f"c{n}", "name": "pay", "arguments": "{}"}

    def output(n: int) -> dict[str, Any]:
        return {"type": "function_call_output", "call_id": f"c{n}", "output": f"o{n}"}

    question: Any = {"role": "user", "content": "why?"}
    made = client.conversations.create(items=[question, call(0), call(1), call(2), output(0)])  # type: ignore[list-item]

    def add(*items: Any) -> None:
        client.conversations.items.create(made.id, items=items)

    def run(*items: Any) -> Any:
        return client.responses.create(model="sim-small", input=list(items), conversation=made.id, background=True)

    assert seen(api, made.id) == ["why?", None, "o0"], "what waits for its output is not for a model"
    add(output(1))
    assert seen(api, made.id) == ["why?", None, "o0", "o1"]
    with pytest.raises(openai.BadRequestError, match="No tool call found for function call output with call_id c0"):
        add(output(0))
    assert run(output(2)).status == "queued"
    add(output(2))
    assert seen(api, made.id) == ["why?", None, "o0", "o1", "o2"]
    with pytest.raises(openai.BadRequestError, match="No tool call found for function call output with call_id c2"):
        add(output(2))
    kinds = ["message", *["function_call"] * 3, *["function_call_output"] * 3]
    assert [item.type for item in listed(client, made.id)] == kinds


def test_a_run_wants_the_outputs_of_all_calls_that_it_is_given(client: openai.OpenAI) -> None:
    call = {"type": "function_call", "call_id": "c0", "name": "pay", "arguments": "{}"}
    made = client.conversations.create()
    with pytest.raises(openai.BadRequestError, match="No tool output found for function call c0"):
        client.responses.create(model="sim-small", input=[call], conversation=made.id)  # type: ignore[list-item]
