"""The model's event stream, stored items and price tables."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.sweeper.sweep import sweep
from functions.worker.model.progress import Progress
from functions.worker.model.sse import DEAF, Assembler, WholeReply
from shared import aws
from shared.clock import day
from shared.limits import models, prices
from shared.retry import ModelError
from shared.settings import settings
from shared.tasks import blobs, items, store
from shared.tasks.model import Status, Task
from sluice import ModelReply
from tests.unit.fuzz.hostile import DEEP, DEEP_OBJECTS, FEW, LONG_NUMBER, bodies, texts, values

chunks = bodies(
    model=st.just("m"),
    choices=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "finish_reason": st.sampled_from(["stop", "length", None, 3]),
                "delta": st.one_of(
                    values, st.fixed_dictionaries({}, optional={"content": values, "tool_calls": values})
                ),
            },
        ),
        max_size=2,
    ),
    usage=values,
)


def outcome(pieces: list[bytes], kind: type[Assembler] = Assembler) -> ModelReply | str:
    assembler = kind("m", DEAF, Progress())
    try:
        for piece in pieces:
            assembler.feed(piece)
        return assembler.reply()
    except ModelError as error:
        return str(error)


@FEW
@given(st.lists(chunks, max_size=4), st.integers(1, 40))
def test_a_stream_gives_the_same_reply_or_error_however_it_is_cut(found: list[str], size: int) -> None:
    stream = "".join(f"data: {chunk}\n\n" for chunk in found).encode("utf-8", "surrogatepass")[:20_000]
    whole = outcome([stream])
    assert outcome([stream[n : n + size] for n in range(0, len(stream), size)]) == whole
    if isinstance(whole, ModelReply):
        json.dumps([whole.content, [list(call) for call in whole.tool_calls]], ensure_ascii=False).encode()
        assert whole.usage.tokens >= 0


@FEW
@given(bodies(model=st.just("m"), choices=values, usage=values), st.integers(1, 40))
def test_an_answer_gives_the_same_reply_or_error_however_it_is_cut(found: str, size: int) -> None:
    data = found.replace('"delta"', '"message"').encode("utf-8", "surrogatepass")[:20_000]
    whole = outcome([data], WholeReply)
    assert outcome([data[n : n + size] for n in range(0, len(data), size)], WholeReply) == whole


@FEW
@given(st.binary(max_size=300))
def test_bytes_that_are_no_answer_are_a_model_error(data: bytes) -> None:
    assert isinstance(outcome([data, b"}"], WholeReply), str)


@FEW
@given(st.binary(max_size=300))
def test_bytes_that_are_no_stream_are_a_model_error(data: bytes) -> None:
    assert isinstance(outcome([data, b"\ndata: ", data, b"\n"]), str)


@pytest.mark.parametrize("chunk", [DEEP, DEEP_OBJECTS, LONG_NUMBER, '{"choices":' + DEEP + "}"])
def test_deep_and_long_chunks_are_a_model_error(chunk: str) -> None:
    assert "malformed" in str(outcome([f"data: {chunk}\n".encode()]))


plain_texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
params: Any = st.dictionaries(
    plain_texts,
    st.recursive(st.none() | st.booleans() | st.integers() | plain_texts, st.lists, max_leaves=4),
    max_size=3,
)


@FEW
@given(
    st.builds(
        Task,
        task_id=st.just("t1"),
        user=st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30),
        lane=st.sampled_from(["high", "normal"]),
        agent=plain_texts,
        model=plain_texts,
        created=st.floats(1.7e9, 1.9e9).map(lambda at: round(at, 3)),
        day=st.just("2026-01-01"),
        status=st.sampled_from(Status),
        message=st.none() | plain_texts,
        params=params,
        last_error=st.none() | params.filter(bool),
        gen=st.integers(0, 2**40),
        reason=st.none() | plain_texts,
        parked=st.booleans(),
        cancel_requested=st.booleans(),
    ),
    st.dictionaries(plain_texts.map("x_{}".format), st.just({"S": "of another version"}), max_size=2),
)
def test_a_task_reads_back_as_it_was_whatever_stands_beside_it(task: Task, unknown: dict[str, Any]) -> None:
    again = items.read_task(items.task_row(task, due_at=0.0) | unknown)
    assert again == task


@FEW
@given(texts.map(lambda text: text.encode("utf-8", "replace").decode()))
def test_blobs_give_back_what_they_were_given(text: str) -> None:
    assert blobs.unpack(blobs.pack(text, "k")) == text


def test_a_damaged_row_does_not_keep_the_sweeper_from_the_others(fake_aws: dict[str, str], redis_settings: str) -> None:
    at = time.time() - 3600
    for task_id in ("a", "b", "c"):
        store.submit(
            Task(task_id=task_id, user="u", lane="normal", agent="chat", model="m", created=at, day=day(at)), "x"
        )
    damage = {
        "ExpressionAttributeNames": {"#s": "status"},
        "ExpressionAttributeValues": {":s": {"S": "no such status"}},
    }
    aws.dynamodb().update_item(
        TableName=settings().table_name, Key=items.row_key("b"), UpdateExpression="SET #s = :s", **damage
    )
    done = sweep(time.time() + 30)
    assert (done["sent"], done["unreadable"]) == (2, 1)


@FEW
@given(
    table=st.dictionaries(
        st.text("abc-*?[]0123456789", min_size=1, max_size=8),
        st.tuples(st.floats(0, 1000), st.floats(0, 1000)),
        max_size=5,
    ),
    model=st.text("abc-*?[]0123456789\n", max_size=12),
    tokens=st.integers(0, 10**7),
)
def test_any_price_table_prices_any_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: dict[str, tuple[float, float]], model: str, tokens: int
) -> None:
    text = json.dumps({"as_of": "2026-01-01", "default": [100, 200], "models": table})
    (tmp_path / "prices.json").write_text(text)
    monkeypatch.setattr(models, "__file__", str(tmp_path / "models.py"))
    try:
        models.forget()
        found = prices.price(model)
        assert found in {*map(models._model, models.table().models.values()), models.table().default}
        assert prices.cost_micro_usd(model, tokens, tokens) >= 0
        if model in table:
            assert found == models._model(models.table().models[model])
    finally:
        monkeypatch.undo()
        models.forget()
