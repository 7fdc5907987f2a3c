import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstack.llm import faults, tokens, tooling
from localstack.llm.replies import compose


@given(st.text())
def test_tokens_concatenate_to_their_text(text: str) -> None:
    pieces = tokens.split(text)
    assert "".join(pieces) == text
    if text.strip():
        assert len(pieces) == tokens.count(text)


@given(st.text(), st.integers(min_value=1, max_value=500))
def test_a_reply_has_the_length_asked_for_and_is_reproducible(topic: str, words: int) -> None:
    text = compose(topic, words)
    assert tokens.count(text) == words
    assert text == compose(topic, words)


def test_replies_to_different_messages_differ() -> None:
    assert len({compose(f"question {n}", 30) for n in range(50)}) == 50


@pytest.mark.parametrize(
    ("message", "expression"),
    [
        ("What is 12 * 7?", "12 * 7"),
        ("what's 2+2", "2+2"),
        ("Compute (1 + 2) * 3 please", "(1 + 2) * 3"),
        ("(that is 4 * 5)", "4 * 5"),
        ("17 plus 4", "17 + 4"),
        ("90 divided by 4.5", "90 / 4.5"),
        ("10 - 3", "10 - 3"),
    ],
)
def test_arithmetic_is_found(message: str, expression: str) -> None:
    assert tooling._find_arithmetic(message) == expression


@pytest.mark.parametrize("message", ["on 2024-01-02", "Python 3.13", "call 555-1234", "a/b tests", "nothing", "1/2"])
def test_other_digits_are_no_arithmetic(message: str) -> None:
    assert tooling._find_arithmetic(message) is None


@given(st.floats(min_value=0.01, max_value=1), st.integers())
def test_a_draw_is_one_of_the_faults_or_none(rate: float, seed: int) -> None:
    names = ("429", "500", "hang")
    drawn = faults.draw(names, rate, seed)
    assert drawn is None or drawn in names
    assert drawn == faults.draw(names, rate, seed)


def test_draws_follow_their_rate_and_reach_every_fault() -> None:
    drawn = [faults.draw(("429", "500"), 0.2, "seed", n) for n in range(10_000)]
    assert 800 < drawn.count("429") < 1_200
    assert 800 < drawn.count("500") < 1_200
