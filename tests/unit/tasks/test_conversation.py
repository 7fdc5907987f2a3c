"""Whatever a session remembers and whatever is cut, a provider takes it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from localstack.llm.faults import ApiError
from localstack.llm.messages import check_messages
from shared.tasks import conversation
from shared.tasks.conversation import ASKED_BYTES, SHORTEST_CHARACTERS, TURN_CHARACTERS, bounded, fitting, within
from tests.examples import examples


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def calls(*ids: str, text: str | None = None) -> dict[str, Any]:
    made = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": text, "tool_calls": made}


def answer(call_id: str, text: str = "42") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


IDS = st.sampled_from(["a", "b", "c"])
CALLS = st.lists(IDS, min_size=1, max_size=3, unique=True)
MESSAGES = st.lists(
    st.one_of(
        st.builds(user, st.just("u")),
        st.just({"role": "assistant", "content": "said"}),
        st.builds(lambda ids, text: calls(*ids, text=text), CALLS, st.sampled_from([None, "", "text"])),
        st.builds(answer, IDS),
    ),
    max_size=12,
)


def takes(messages: list[dict[str, Any]]) -> bool:
    """Tell whether a provider takes a conversation."""
    try:
        check_messages([{"role": "system", "content": "s"}, *messages])
    except ApiError:
        return False
    return True


@settings(max_examples=examples(60, usual=30), deadline=None)
@given(MESSAGES)
def test_whatever_is_remembered_is_taken_before_a_plain_message(remembered: list[dict[str, Any]]) -> None:
    fit = fitting(remembered, [user("now")])
    assert takes([*fit, user("now")])
    assert [one for one in fit if one["role"] == "user"] == [one for one in remembered if one["role"] == "user"]
    if takes(remembered):
        assert fit == remembered


@settings(max_examples=examples(60, usual=30), deadline=None)
@given(MESSAGES, CALLS)
def test_answers_to_remembered_calls_are_taken(remembered: list[dict[str, Any]], ids: list[str]) -> None:
    remembered = [*remembered, calls(*ids)]
    asked = [*map(answer, ids), user("now")]
    assert takes([*fitting(remembered, asked), *asked])
    assert takes([*fitting([*remembered, user("else"), calls("z"), user("more")], asked), *asked])


def test_a_call_is_found_again_behind_another_branch() -> None:
    remembered = [user("q"), calls("a", "b"), answer("a"), user("else"), calls("z", text="hm"), answer("z")]
    assert fitting(remembered, [answer("b")]) == [user("q"), calls("a", "b"), answer("a")]
    assert fitting(remembered, [answer("a"), answer("b")]) == [user("q"), calls("a", "b")]
    assert fitting(remembered, [answer("unknown")])[-1] == answer("z")


def size_of(messages: list[dict[str, Any]]) -> int:
    return len(json.dumps(messages, ensure_ascii=False, separators=(",", ":")).encode())


def test_what_fits_is_left_as_it_is() -> None:
    said = [user("q"), calls("a"), answer("a", "x" * TURN_CHARACTERS), user("ö" * 10_000)]
    assert bounded(said) == said
    assert bounded([]) == []


def test_a_long_text_is_cut_like_the_texts_of_a_turn() -> None:
    assert bounded([user("x" * (TURN_CHARACTERS + 1))]) == [user("x" * TURN_CHARACTERS)]


def test_the_longest_texts_are_cut_first_and_short_ones_kept() -> None:
    said = [user("short"), *(user("x" * 30_000) for _ in range(5)), user("end")]
    cut = bounded(said)
    assert size_of(cut) <= ASKED_BYTES
    assert (len(cut), cut[0], cut[-1]) == (len(said), said[0], said[-1])


@settings(max_examples=50, deadline=None)
@given(MESSAGES, st.integers(1, 400), st.integers(0, 3))
def test_many_messages_are_cut_to_the_newest(some: list[dict[str, Any]], times: int, long: int) -> None:
    said = [
        *some,
        *(message for n in range(times) for message in (user("q" * 300), calls("a"), answer("a", "x" * 300))),
    ]
    said += [calls("big"), answer("big", "y" * 200_000)] * long
    cut = bounded(said)
    assert size_of(cut) <= ASKED_BYTES + len("[]")
    assert takes([*fitting(cut, [user("now")]), user("now")])
    assert cut[-1]["role"] == said[-1]["role"]
    assert len(cut[-1]["content"]) >= min(len(said[-1]["content"]), SHORTEST_CHARACTERS // 2)


def test_arguments_are_never_cut() -> None:
    large = calls("a")
    large["tool_calls"][0]["function"]["arguments"] = "x" * (ASKED_BYTES + 1)
    assert bounded([user("q"), large, answer("a"), user("now")]) == [user("now")]
    assert bounded([large]) == []


def test_a_reply_is_its_text_and_the_calls_that_it_left() -> None:
    assert conversation.reply("t", None) == {"role": "assistant", "content": "t"}
    assert conversation.reply("t", {"rounds": 3}) == {"role": "assistant", "content": "t"}
    data = {"tool_calls": [{"id": "a", "name": "f", "arguments": "{}"}]}
    assert conversation.reply("", data) == calls("a")
    assert conversation.reply("t", data) == calls("a", text="t")


def test_a_question_stays_whatever_else_must_go() -> None:
    large = calls("a")
    large["tool_calls"][0]["function"]["arguments"] = "x" * (ASKED_BYTES + 1)
    assert bounded([user("q"), large, answer("a"), calls("b"), answer("b")]) == [user("q"), calls("b"), answer("b")]


def test_a_picture_is_remembered_as_one() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * (2 * ASKED_BYTES)}}
    said = {"role": "user", "content": [{"type": "text", "text": "what is this?"}, picture]}
    (kept,) = bounded([said])
    assert kept["content"] == [
        {"type": "text", "text": "what is this?"},
        {"type": "text", "text": "[image_url left out]"},
    ]
    small = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}
    assert bounded([small]) == [small]


@settings(max_examples=examples(100, usual=30), deadline=None)
@given(MESSAGES, st.integers(0, 1_000), st.booleans())
def test_history_is_fitted_by_whole_exchanges(some: list[dict[str, Any]], room: int, open_loop: bool) -> None:
    fit = within(fitting(some, []), room, open_loop=open_loop)
    assert takes([*fit, user("now")])
    whole = fitting(some, [])
    assert whole[len(whole) - len(fit) :] == fit
    if not open_loop:
        assert sum(size_of([one]) for one in fit) <= room + 2 * len(fit)
    if fit and len(fit) < len(whole):
        assert fit[0]["role"] == "user"


def test_an_open_loop_is_kept_from_its_question_on() -> None:
    loop = [user("q" * 100), calls("a"), answer("a"), calls("b")]
    assert within([user("before"), calls("z"), answer("z"), *loop], 0, open_loop=True) == loop
    assert within([user("before"), *loop], 0, open_loop=False) == []
