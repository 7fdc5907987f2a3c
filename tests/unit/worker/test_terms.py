"""What a call costs that is not plain text at the usual price: tiers, kinds of tokens, searches, regions, told sums."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from functions.worker.model import reply_terms, terms
from functions.worker.model.asked import Call
from functions.worker.model.progress import Progress
from functions.worker.model.unusual import PLAIN
from shared.limits import models, prices, surcharges
from shared.limits.surcharges import Terms
from shared.settings import settings
from shared.tasks import store
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context
from tests.examples import examples
from tests.unit.worker.conftest import Install, World
from tests.unit.worker.raw_provider import Answer, RawProvider, delta, provider, refused, sse

__all__ = ["provider"]

SAID = [{"role": "user", "content": "hi"}]
READ, WRITTEN = 1_000, 100
USAGE = {"prompt_tokens": READ, "completion_tokens": WRITTEN, "total_tokens": READ + WRITTEN}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    terms.forget()
    yield
    terms.forget()


def call(options: dict[str, Any] | None = None, **changes: Any) -> Call:
    values: dict[str, Any] = {"tools": None, "tool_choice": None, "max_output_tokens": 1_000}
    return Call("", SAID, **(values | changes), options=options or {})


def usual(model: str, read: int = READ, written: int = WRITTEN) -> int:
    return prices.cost_micro_usd(model, read, written)


def run(world: World, install: Install, model: str, told: dict[str, Any], *, top: Any = None, **options: Any) -> Task:
    """Return the row of a run of one call, whose reply's last chunk says so much."""

    async def agent(ctx: Context) -> AgentResult:
        return AgentResult((await ctx.model(SAID, max_output_tokens=100, **options)).content)

    install(agent)
    task = world.submit("hi", model=model)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE, row.error
    return row


def answered(told: dict[str, Any], **top: Any) -> Answer:
    return sse(delta("fine") | top, delta(finish="stop") | top, {"choices": [], "usage": USAGE | told, **top})


@pytest.mark.parametrize(
    ("model", "tier", "times"),
    [
        ("gpt-4o", "priority", 1.7),
        ("gpt-5", "priority", 2.0),
        ("gpt-5", "flex", 0.5),
        ("gpt-5", "default", 1.0),
        ("gpt-5", "Priority", 2.0),
        ("openai/gpt-5", "SERVICE_TIER_PRIORITY", 2.0),
        ("gemini-2.5-flash", "ON_DEMAND_PRIORITY", 1.8),
        ("gpt-6-astra", "ultrafast", 6.0),
        ("claude-opus-5", "fast", 2.0),
        ("gpt-4o", "flex", 1.0),  # not sold so
        ("gpt-4o", "scale", 1.0),  # paid for ahead
        ("gpt-4", "priority", 2.5),  # no figure: as the dearest there is
        ("gpt-4", "hyperdrive", 2.5),
        ("gpt-6-astra", "hyperdrive", 6.0),
        ("gpt-5", "fast", 6.0),
    ],
)
def test_a_tier_costs_what_the_table_says_and_what_nobody_knows_the_dearest(
    model: str, tier: str, times: float
) -> None:
    money = surcharges.cost(model, 10_000, 1_000, Terms(tiers=(tier,)))
    assert money == pytest.approx(usual(model, 10_000, 1_000) * times, abs=1)


@pytest.mark.parametrize(
    ("asked", "told", "times"),
    [
        ("priority", "priority", 2.0),
        ("priority", "default", 1.0),  # it had no room there
        ("priority", None, 2.0),
        ("priority", "auto", 2.0),
        (None, "priority", 2.0),
        (None, "flex", 0.5),
        ("flex", "flex", 0.5),
        ("flex", None, 1.0),  # not known to be cheaper
        ("flex", "default", 1.0),
        ("scale", "scale", 1.0),
        ("warp", "warp", 2.5),
        (None, "warp", 2.5),
    ],
)
def test_a_run_is_charged_by_the_tier_that_its_reply_names(
    world: World, install: Install, provider: RawProvider, asked: str | None, told: str | None, times: float
) -> None:
    provider.answers = [answered({}, **({"service_tier": told} if told else {}))]
    row = run(world, install, "gpt-5", {}, **({"service_tier": asked} if asked else {}))
    assert row.micro_usd == pytest.approx(usual("gpt-5") * times, abs=1)


def test_a_tier_in_the_usage_counts_too_and_so_does_a_speed(
    world: World, install: Install, provider: RawProvider
) -> None:
    provider.answers = [answered({"service_tier": "standard", "speed": "fast"})]
    assert run(world, install, "claude-opus-5", {}).micro_usd == 2 * usual("claude-opus-5")


def test_a_cut_stream_is_charged_by_the_tier_that_its_chunks_named(
    world: World, install: Install, provider: RawProvider
) -> None:
    provider.answers = [sse(*[delta(" word") | {"service_tier": "priority"}] * 50, done=False), answered({})]
    row = run(world, install, "gpt-5", {})
    whole = usual("gpt-5")
    assert row.micro_usd >= whole + 2 * usual("gpt-5", 0, 50)


def test_a_cut_answer_in_audio_is_charged_by_how_long_it_had_spoken(
    world: World, install: Install, provider: RawProvider
) -> None:
    second = delta(audio={"id": "a", "data": "A" * 64_000})
    provider.answers = [sse(*[second] * 5, done=False), answered({})]
    row = run(world, install, "gpt-audio", {}, extra={"modalities": ["text", "audio"], "audio": {"format": "pcm16"}})
    assert row.micro_usd >= 5 * 20 * 64


def test_a_refused_tier_is_not_charged(world: World, install: Install, provider: RawProvider) -> None:
    error = {"error": {"message": "Unknown parameter: 'service_tier'.", "param": "service_tier"}}
    provider.answers = [refused(400, error), answered({})]
    assert run(world, install, "gpt-5", {}, service_tier="priority").micro_usd == usual("gpt-5")
    assert "service_tier" not in provider.asked[1]


@pytest.mark.parametrize("extra", [{"service_tier": "priority"}, {"extra": {"service_tier": "priority"}}])
def test_a_ceiling_holds_for_the_tier_that_is_asked_for(
    world: World, install: Install, provider: RawProvider, extra: dict[str, Any]
) -> None:
    provider.answers = [answered({}, service_tier="priority")]

    async def agent(ctx: Context) -> AgentResult:
        return AgentResult((await ctx.model(SAID, max_output_tokens=100, **extra)).content)  # type: ignore[arg-type]

    install(agent)
    _, plain = prices.worst_case("gpt-5", call().payload_bytes, 100)
    ends = []
    for most in (1.5 * plain, 3 * plain):
        task = world.submit("hi", model="gpt-5", params={"max_cost_usd": most / 1e6})
        world.work_until_quiet()
        ends.append(store.get(task.task_id).status)
    assert ends == [Status.FAILED, Status.COMPLETE]
    assert len(provider.asked) == 1, "the call was begun that could pass the ceiling"


def test_a_dear_tier_that_nobody_asked_for_is_reserved_for_from_then_on() -> None:
    plain = terms.worst_case("gpt-5", 1_000, 100, PLAIN)
    progress = Progress()
    reply_terms.hear_tier(progress, "priority")
    assert terms.charge("gpt-5", 1_000, 100, progress, {}) == 2 * usual("gpt-5")
    assert terms.worst_case("gpt-5", 1_000, 100, PLAIN)[1] == 2 * plain[1]
    assert terms.worst_case("gpt-4o", 1_000, 100, PLAIN)[1] == prices.worst_case("gpt-4o", 1_000, 100)[1]


def test_models_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "MOST_SEEN", 3)
    for n in range(5):
        progress = Progress()
        reply_terms.hear_tier(progress, "priority")
        terms.charge(f"gpt-5-{n}", 1, 1, progress, {})
    assert len(terms._seen) == 3


@pytest.mark.parametrize(
    ("model", "told", "more"),
    [
        # 32 and 64 USD per million for audio where text is 2.5 and 10
        ("gpt-audio", {"prompt_tokens_details": {"audio_tokens": 400}}, 400 * (32 - 2.5)),
        ("gpt-audio", {"completion_tokens_details": {"audio_tokens": 50}}, 50 * (64 - 10)),
        ("gpt-audio", {"prompt_tokens_details": {"audio_tokens": 400, "cached_tokens": 0}}, 400 * (32 - 2.5)),
        ("gpt-audio", {"prompt_tokens_details": {"audio_tokens": 10_000}}, READ * (32 - 2.5)),  # no more than there are
        ("gpt-4", {"prompt_tokens_details": {"audio_tokens": 400}}, 0),  # no price of its own
        ("claude-opus-5", {"server_tool_use": {"web_search_requests": 3}}, 3 * 10_000),
        ("claude-opus-5", {"server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 9}}, 3 * 10_000),
        ("sonar-pro", {"num_search_queries": 4}, 4 * 14_000),
        ("sonar-pro", {}, 14_000),  # it searches in each call
        ("claude-opus-5", {"inference_geo": "us"}, 0.1 * (READ * 5 + WRITTEN * 25)),
        ("claude-opus-5", {"inference_geo": "global"}, 0),
        ("claude-opus-5", {"speed": "85 tokens/s"}, 0),
        ("perplexity/sonar-pro", {}, 14_000),
        ("gpt-4o", {"cost": 0.5}, 500_000 - 3_500),
        ("gpt-4o", {"cost": "0.5"}, 500_000 - 3_500),
        ("gpt-4o", {"cost": {"total_cost": 0.5}}, 500_000 - 3_500),
        ("gpt-4o", {"estimated_cost": 0.5}, 500_000 - 3_500),
        ("gpt-4o", {"cost_in_usd_ticks": 5_000_000_000}, 500_000 - 3_500),
        ("gpt-4o", {"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.4}}, 500_000 - 3_500),
        ("gpt-4o", {"cost": 0.000001}, 0),  # never for less than the list price
        ("gpt-4o", {"cost": 1e9}, 0),
        ("gpt-4o", {"cost": -5}, 0),
        ("gpt-4o", {"cost": "a lot", "cost_details": "x", "server_tool_use": 3, "cache_creation": [1]}, 0),
        ("gpt-4o", {"cost": float("nan")}, 0),
        ("gpt-4o", {"cost": float("inf")}, 0),
        ("gpt-4o", {"cost": True}, 0),
    ],
)  # fmt: skip
def test_a_reply_that_tells_of_more_costs_more(
    world: World, install: Install, provider: RawProvider, model: str, told: dict[str, Any], more: float
) -> None:
    provider.answers = [answered(told)]
    row = run(world, install, model, {})
    assert row.micro_usd == pytest.approx(usual(model) + more, abs=1)


def test_geminis_counts_by_modality_are_read() -> None:
    progress = Progress()
    modality = [{"modality": "TEXT", "tokenCount": 10}, {"modality": "AUDIO", "tokenCount": 400}]
    reply_terms.hear(progress, {"usageMetadata": {"promptTokensDetails": modality, "trafficType": "ON_DEMAND_FLEX"}})
    assert progress.told is not None
    assert progress.told.counts == {"audio_in": 400}
    assert terms.charge("gemini-2.5-flash", READ, 0, progress, {}) == (600 * 0.3 + 400 * 1.0) / 2


@pytest.mark.parametrize(
    ("usage", "money"),
    [
        ({"cache_creation_input_tokens": 500}, 500 * 3.75),
        ({"cache_creation_input_tokens": 500, "cache_creation": {"ephemeral_5m_input_tokens": 500}}, 500 * 3.75),
        ({"cache_creation_input_tokens": 500, "cache_creation": {"ephemeral_1h_input_tokens": 200}}, 300 * 3.75 + 1200),
        (
            {
                "prompt_tokens_details": {
                    "cache_write_tokens": 500,
                    "cache_creation_token_details": {"ephemeral_1h_input_tokens": 500},
                }
            },
            500 * 6,
        ),
    ],
)
def test_what_is_written_to_a_cache_of_an_hour_costs_more(
    world: World, install: Install, provider: RawProvider, usage: dict[str, Any], money: float
) -> None:
    provider.answers = [answered(usage)]
    row = run(world, install, "claude-sonnet-4-5", {})
    assert row.micro_usd == pytest.approx(500 * 3 + WRITTEN * 15 + money, abs=1)


def test_a_cache_of_an_hour_is_reserved_for() -> None:
    control = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    long = [{"role": "user", "content": [{"type": "text", "text": "hi", **control}]}]
    asked = terms.of_call(Call("", long, None, None, 100), "claude-sonnet-4-5", "")
    assert asked.long_cache
    _, money = terms.worst_case("claude-sonnet-4-5", 10_000, 100, asked)
    assert money == (10_000 + prices.FRAMING_TOKENS) * 6 + 100 * 15


@pytest.mark.parametrize(
    ("model", "changes", "field"),
    [
        ("gpt-4o", {"options": {"web_search_options": {}}}, {"searches": 1}),
        ("gpt-4o-search-preview", {}, {"searches": 1}),
        ("openai/gpt-4o:online", {}, {"searches": 1}),
        ("gpt-4o", {"tools": [{"type": "web_search_20250305", "max_uses": 5}]}, {"offered": 5}),
        ("gpt-4o", {"tools": [{"googleSearch": {}}]}, {"offered": 1}),
        ("gpt-4o", {"tools": [{"type": "function", "function": {"name": "web_search"}}]}, {"offered": 0}),
        ("gpt-audio", {"options": {"modalities": ["text", "audio"]}}, {"speaks": True}),
        ("claude-opus-5", {"options": {"inference_geo": "us"}}, {"in_region": True}),
        ("claude-opus-5", {"options": {"speed": "fast"}}, {"tiers": ("fast",)}),
        ("gpt-5", {"options": {"prompt_cache_retention": "24h"}}, {"long_cache": True}),
        ("gpt-5", {"options": {"prompt_cache_retention": "in_memory"}}, {"long_cache": False}),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_known_before_the_call(model: str, changes: dict[str, Any], field: dict[str, Any]) -> None:
    asked = terms.of_call(call(**changes), model, "")
    assert asked._asdict() | field == asked._asdict()
    plain = terms.worst_case(model, 1_000, 100, PLAIN)[1]
    if any(field.values()) and model != "gpt-5":
        assert terms.worst_case(model, 1_000, 100, asked)[1] > plain


def test_an_image_that_stands_elsewhere_is_reserved_for() -> None:
    def asked(url: str, model: str = "gpt-4o") -> int:
        parts = [{"type": "image_url", "image_url": {"url": url}}]
        return terms.of_call(Call("", [{"role": "user", "content": parts}], None, None, 1), model, "").images

    assert asked("https://example.com/a.png") == terms.IMAGE_TOKENS
    assert asked("https://example.com/a.png", "gpt-4o-mini") == 50_000
    assert asked("data:image/png;base64,aaaa") == 0


@pytest.mark.parametrize(
    ("base", "times"),
    [
        ("https://eu.api.openai.com/v1", 1.1),
        ("https://us.api.openai.com/v1", 1.1),
        ("https://api.openai.com/v1", 1),
        ("https://eu.api.openai.com.example.org/v1", 1),
        ("", 1),
    ],
)
def test_an_address_of_a_region_costs_more_where_the_table_says_so(base: str, times: float) -> None:
    for model, expected in (("gpt-6-astra", times), ("gpt-4o", 1)):
        asked = terms.of_call(call(), model, base)
        money = terms.charge(model, READ, WRITTEN, Progress(asked=asked), {})
        assert money == pytest.approx(usual(model) * expected, abs=1)


def test_what_is_usual_costs_what_it_always_did() -> None:
    progress = Progress(asked=terms.of_call(call(), "gpt-4o", "https://api.openai.com/v1"))
    reply_terms.hear_tier(progress, "default")
    reply_terms.hear(progress, {"usage": USAGE | {"prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 600}}})
    assert (progress.asked, progress.told) == (PLAIN, None)
    assert terms.charge("gpt-4o", READ, 0, progress, {"cached_tokens": 600}) == 400 * 2.5 + 600 * 1.25
    assert terms.worst_case("gpt-4o", 1_000, 100, PLAIN) == prices.worst_case("gpt-4o", 1_000, 100)


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def put(text: str) -> None:
        monkeypatch.setenv("PRICES", text)
        settings.cache_clear()
        models.forget()

    yield put
    monkeypatch.undo()
    settings.cache_clear()
    models.forget()


def test_the_operators_word_on_tiers_comes_first_and_a_free_model_stays_free(priced: Any) -> None:
    priced('{"gpt-5": {"input": 1, "output": 2, "tiers": {"Priority": 3}, "search": 0.5}, "llama*": 0}')
    assert surcharges.cost("gpt-5", 1_000, 0, Terms(tiers=("priority",))) == 3_000
    assert surcharges.cost("gpt-5", 1_000, 0, Terms(tiers=("flex",))) == 500  # of which the operator says nothing
    assert surcharges.cost("gpt-5", 1_000, 0, Terms(searches=2)) == 1_001_000
    assert surcharges.cost("llama-9", 10**6, 10**6, Terms(tiers=("priority",), searches=2)) == 0
    progress = Progress()
    reply_terms.hear(progress, {"usage": {"cost": 5}})
    assert terms.charge("llama-9", 10, 10, progress, {}) == 0
    assert terms.charge("gpt-5", 1_000, 0, progress, {}) == 1_000


@pytest.mark.parametrize(
    "value",
    [
        '{"input": 1}',
        '{"input": 1, "output": 2, "tier": {}}',
        '{"input": 1, "output": 2, "tiers": [2]}',
        '{"input": 1, "output": 2, "tiers": {"priority": -1}}',
        '{"input": 1, "output": 2, "tiers": {"priority": 1001}}',
        '{"input": 1, "output": 2, "audio": [1]}',
        '{"input": 1, "output": 2, "region": NaN}',
        '{"input": 1, "output": 2, "search": "x"}',
    ],
)
def test_what_an_operator_says_wrongly_is_refused_by_name(priced: Any, value: str) -> None:
    from shared.errors import SettingError

    priced('{"gpt-5": %s}' % value)  # noqa: UP031
    with pytest.raises(SettingError, match="PRICES"):
        prices.price("gpt-5")


MODELS = (
    "gpt-4o",
    "gpt-5",
    "gpt-6-astra",
    "gpt-audio",
    "claude-opus-5",
    "claude-sonnet-4-5",
    "gemini-2.5-flash",
    "x-1",
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "service_tier": st.sampled_from(["priority", "flex", "default", "auto", "warp", "batch"]),
        "speed": st.just("fast"),
        "inference_geo": st.sampled_from(["us", "global"]),
        "modalities": st.just(["text", "audio"]),
        "web_search_options": st.just({}),
        "prompt_cache_retention": st.sampled_from(["24h", "in_memory"]),
    },
)


@given(
    model=st.sampled_from(MODELS),
    options=OPTIONS,
    size=st.integers(0, 400_000),
    most=st.integers(1, 30_000),
    data=st.data(),
)
@settings_of(max_examples=examples(2_000, usual=60), deadline=None)
def test_what_is_reserved_covers_whatever_the_reply_says_of_what_was_asked_for(
    model: str, options: dict[str, Any], size: int, most: int, data: st.DataObject
) -> None:
    asked = terms.of_call(call(options), model, "https://eu.api.openai.com/v1")
    _, reserved = terms.worst_case(model, size, most, asked)
    read, written = data.draw(st.integers(0, size)), data.draw(st.integers(0, most))
    progress = Progress(asked=asked)
    if data.draw(st.booleans()):
        tier = data.draw(st.sampled_from([options.get("service_tier", "default"), "flex", "auto"]))
        reply_terms.hear_tier(progress, tier)
    usage = {"prompt_tokens": read, "completion_tokens": written}
    if "speed" in options:
        usage["speed"] = data.draw(st.sampled_from(["fast", "standard"]))
    if "audio" in options.get("modalities", ()):  # a second of it is ten tokens, and a thousand bytes and more
        usage["completion_tokens_details"] = {"audio_tokens": data.draw(st.integers(0, written))}
        usage["prompt_tokens_details"] = {"audio_tokens": data.draw(st.integers(0, min(read, size // 100)))}
    if asked.long_cache:
        usage["cache_creation"] = {"ephemeral_1h_input_tokens": data.draw(st.integers(0, read))}
    reply_terms.hear(progress, {"usage": usage})
    stored = data.draw(st.integers(0, read)) if asked.long_cache or "claude" in model else 0
    charged = terms.charge(model, read, written, progress, {"cache_write_tokens": stored})
    assert charged <= reserved, (asked, progress.told)
    terms.forget()
