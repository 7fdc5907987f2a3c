"""Input that a provider read from its cache, or wrote to it, costs what the table says of that."""

from shared.limits import prices


def test_cached_input_costs_the_cached_price() -> None:
    assert prices.cost_micro_usd("gpt-4o", 1000, 0) == 2500
    assert prices.cost_micro_usd("gpt-4o", 1000, 0, cached_tokens=600) == 400 * 2.5 + 600 * 1.25
    assert prices.cost_micro_usd("gpt-4o", 1000, 0, cached_tokens=1000) == 1250


def test_where_the_table_has_no_such_price_it_costs_what_other_input_does() -> None:
    assert prices.price("gpt-4").cached == 0
    assert prices.cost_micro_usd("gpt-4", 1000, 0, cached_tokens=600) == prices.cost_micro_usd("gpt-4", 1000, 0)


def test_input_written_to_a_cache_costs_more_and_is_reserved_for() -> None:
    model = "claude-sonnet-4-5"
    assert prices.cost_micro_usd(model, 1000, 0, cache_write_tokens=1000) == 3750
    assert prices.cost_micro_usd(model, 1000, 0, cached_tokens=400, cache_write_tokens=500) == 100 * 3 + 120 + 1875
    size, output = 5_000, 100
    _, reserved = prices.worst_case(model, size, output)
    read = size + prices.FRAMING_TOKENS
    assert reserved == prices.cost_micro_usd(model, read, output, cache_write_tokens=read)


def test_long_prompts_cost_more_cached_too() -> None:
    model = "gemini-2.5-pro"
    each = prices.price(model)
    long = each.above + 1
    assert each.input_above > each.input > each.cached > 0
    expected = -(-long * each.cached * each.input_above // each.input // 1_000_000)
    assert abs(prices.cost_micro_usd(model, long, 0, cached_tokens=long) - expected) <= 1


def test_nobody_can_have_cached_more_than_was_read() -> None:
    for cached, stored in ((10**9, 0), (0, 10**9), (10**9, 10**9), (-5, -5)):
        cost = prices.cost_micro_usd("claude-sonnet-4-5", 1000, 0, cached_tokens=cached, cache_write_tokens=stored)
        assert 300 <= cost <= 3750
