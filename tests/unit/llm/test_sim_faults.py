import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from .conftest import Simulator

Ask = Callable[..., Any]

REFUSED = [
    ("400", openai.BadRequestError, 400, "invalid_value"),
    ("401", openai.AuthenticationError, 401, "invalid_api_key"),
    ("403", openai.PermissionDeniedError, 403, "unsupported_country_region_territory"),
    ("404", openai.NotFoundError, 404, "model_not_found"),
    ("429", openai.RateLimitError, 429, "rate_limit_exceeded"),
    ("quota", openai.RateLimitError, 429, "insufficient_quota"),
    ("filter", openai.BadRequestError, 400, "content_filter"),
    ("500", openai.InternalServerError, 500, None),
    ("503", openai.InternalServerError, 503, "overloaded"),
    ("502", openai.InternalServerError, 502, None),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "error", "status", "code"), REFUSED)
def test_a_refusal_is_the_clients_own_exception(
    sim: Simulator,
    ask: Ask,
    fault: str,
    error: type[openai.APIStatusError],
    status: int,
    code: str,
    stream: bool,
) -> None:
    with pytest.raises(error) as caught:
        ask(f"[[sim key=f fail={fault}]]", stream=stream)
    assert caught.value.status_code == status
    assert caught.value.code == code
    assert caught.value.request_id is not None
    call = sim.calls()[0]
    assert (call["status"], call["fault"], call["completed"]) == (status, fault, False)
    assert sim.stats()["by_key"]["f"] == {"started": 1, "completed": 0, "failed": 1, "aborted": 0}


@pytest.mark.parametrize(
    ("fault", "stream", "error"),
    [
        ("garbage", False, json.JSONDecodeError),
        ("garbage", True, json.JSONDecodeError),
        ("mojibake", False, UnicodeDecodeError),
        ("mojibake", True, UnicodeDecodeError),
        ("truncate", False, json.JSONDecodeError),
        ("drop", False, openai.APIConnectionError),
        ("drop", True, openai.APIConnectionError),
        ("reset", False, openai.APIConnectionError),
        ("reset", True, openai.APIConnectionError),
        ("error_event", False, openai.InternalServerError),
        ("error_event", True, openai.APIError),
    ],
)
def test_a_breakage_as_the_client_sees_it(
    sim: Simulator, ask: Ask, fault: str, stream: bool, error: type[Exception]
) -> None:
    with pytest.raises(error):
        list(ask(f"hello [[sim fail={fault}]]", stream=stream))
    sim.until(lambda stats: stats["in_flight"] == 0)
    call = sim.calls()[0]
    assert (call["fault"], call["completed"], call["aborted"]) == (fault, False, False)


def test_a_truncated_stream_just_ends(ask: Ask) -> None:
    chunks = list(ask("hello [[sim fail=truncate words=20]]", stream=True))
    assert 5 < len(chunks) < 20
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_a_filtered_answer_says_so(ask: Ask, stream: bool) -> None:
    answer = ask("hello [[sim fail=filtered words=20]]", stream=stream)
    choice = list(answer)[-1].choices[0] if stream else answer.choices[0]
    assert choice.finish_reason == "content_filter"


@pytest.mark.parametrize("fault", ["hang", "stall"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_gives_up_is_noticed(sim: Simulator, fault: str, stream: bool) -> None:
    timeout = httpx2.Timeout(30, read=0.2)
    with openai.OpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0, timeout=timeout) as client:
        messages = [{"role": "user", "content": f"[[sim key=h fail={fault}]]"}]
        create: Any = client.chat.completions.create
        with pytest.raises(openai.APITimeoutError):
            list(create(model="m", messages=messages, stream=stream))
    sim.until(lambda stats: stats["in_flight"] == 0)
    assert sim.stats()["by_key"]["h"]["aborted"] == 1
    assert sim.calls()[0]["status"] == (0 if fault == "hang" else 200)


def test_a_hang_may_end_by_itself(sim: Simulator, ask: Ask) -> None:
    with pytest.raises(openai.APIConnectionError):
        ask("[[sim hang=0.1]]")
    sim.until(lambda stats: stats["in_flight"] == 0)
    assert sim.calls()[0]["aborted"] is False


def test_a_key_fails_so_often_and_then_succeeds(sim: Simulator, ask: Ask) -> None:
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            ask("[[sim key=k fail=500 times=2]]")
    assert ask("[[sim key=k fail=500 times=2]]").choices[0].finish_reason == "stop"
    with pytest.raises(openai.InternalServerError):
        ask("[[sim key=other fail=500 times=2]]")
    assert sim.stats()["by_key"]["k"] == {"started": 3, "completed": 1, "failed": 2, "aborted": 0}


def test_without_a_key_the_conversation_is_counted(ask: Ask) -> None:
    with pytest.raises(openai.InternalServerError):
        ask("one [[sim fail=500 times=1]]")
    with pytest.raises(openai.InternalServerError):
        ask("two [[sim fail=500 times=1]]")
    assert ask("one [[sim fail=500 times=1]]").choices


def test_faults_may_come_late_and_in_turn(ask: Ask) -> None:
    seen = []
    for _ in range(6):
        try:
            ask("[[sim key=t fail=500,429 skip=2 times=3]]")
            seen.append(200)
        except openai.APIStatusError as error:
            seen.append(error.status_code)
    assert seen == [200, 200, 500, 429, 500, 200]


@pytest.mark.parametrize(
    ("directive", "after", "after_ms"),
    [
        ("", None, None),
        ("retry_after=1", "1", None),
        ("retry_after=1.2", "2", None),
        ("retry_after_ms=150", None, "150"),
        ("retry_after=3 retry_after_ms=2500", "3", "2500"),
    ],
)
def test_retry_after(ask: Ask, directive: str, after: str | None, after_ms: str | None) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(f"[[sim fail=429 {directive}]]")
    assert caught.value.response.headers.get("retry-after") == after
    assert caught.value.response.headers.get("retry-after-ms") == after_ms


def test_the_clients_own_retries_get_through(sim: Simulator) -> None:
    with openai.OpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=2) as client:
        answer = client.chat.completions.create(
            model="m",
            messages=[
                {
                    "role": "user",
                    "content": "[[sim key=r fail=429,reset times=2 retry_after_ms=1 echo]]it works",
                }
            ],
        )
    assert answer.choices[0].message.content == "it works"
    assert sim.stats()["by_key"]["r"]["started"] == 3


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("sim-down", openai.InternalServerError),
        ("sim-limited", openai.RateLimitError),
        ("sim-quota", openai.RateLimitError),
        ("sim-garbage", json.JSONDecodeError),
        ("sim-unheard-of", openai.NotFoundError),
    ],
)
def test_models_that_fail(ask: Ask, model: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ask("hello", model)


def test_models_that_work(sim: Simulator, ask: Ask) -> None:
    sim.config(latency=600)
    assert ask("hello", "sim-fast").model == "sim-fast"
    assert len(ask("hello [[sim latency=0]]", "sim-long").choices[0].message.content.split()) == 600
    assert ask("hello [[sim fail=none latency=0]]", "sim-down").model == "sim-down"


def test_a_flaky_model_fails_reproducibly(sim: Simulator, ask: Ask) -> None:
    def campaign() -> list[str | None]:
        sim.admin.post("/reset")
        for number in range(60):
            try:
                ask(f"question {number}", "sim-flaky")
            except (openai.APIError, json.JSONDecodeError):
                continue
        return [call["fault"] for call in sim.calls()]

    first = campaign()
    assert 3 < sum(fault is not None for fault in first) < 30
    assert first == campaign()
