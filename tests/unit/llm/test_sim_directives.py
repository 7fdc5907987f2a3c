import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstack.llm.directives import DirectiveError, parse


def test_all_directives_of_a_message_are_read() -> None:
    found = parse(
        "Before [[sim key=abc latency=0.5 ttft=0.1 quick=4 words=20 fail=429,quota times=2 skip=1 retry_after=1.5 "
        "retry_after_ms=200 hang=3 nonce]] between [[sim echo recall parallel=2 rounds=3]] after."
    )
    assert found.text == "Before between after."
    assert (found.key, found.latency, found.ttft, found.quick, found.words) == ("abc", (0.5, 0.5), 0.1, 4, 20)
    assert (found.fail, found.times, found.skip) == (("429", "quota"), 2, 1)
    assert (found.retry_after, found.retry_after_ms, found.hang) == (1.5, 200, 3)
    assert (found.nonce, found.echo, found.recall) == (True, True, True)
    assert (found.parallel, found.rounds) == (2, 3)


def test_json_values_may_hold_spaces_and_brackets() -> None:
    found = parse('[[sim tool=calculator args={"a": [[1, 2]], "b": "x ]] y"} say="two words"]] rest')
    assert found.tools == ("calculator",)
    assert found.args == ({"a": [[1, 2]], "b": "x ]] y"},)
    assert found.say == "two words"
    assert found.text == "rest"


def test_tools_and_arguments_may_be_lists() -> None:
    found = parse('[[sim tools=a,b args=[{"x": 1}, {"y": 2}]]]')
    assert found.tools == ("a", "b")
    assert found.args == ({"x": 1}, {"y": 2})


def test_a_later_directive_wins() -> None:
    assert parse("[[sim words=1]] [[sim words=2]]").words == 2


def test_a_range_of_latency() -> None:
    assert parse("[[sim latency=1-10]]").latency == (1, 10)


def test_a_hang_alone_is_a_fault() -> None:
    assert parse("[[sim hang=2]]").fail == ("hang",)
    assert parse("[[sim hang=2 fail=stall]]").fail == ("stall",)


@pytest.mark.parametrize("text", ["", "plain", "[[simple]]", "[[ sim key=a]]", "[[similar thing]]"])
def test_other_text_is_left_alone(text: str) -> None:
    assert parse(text).text == text


@pytest.mark.parametrize(
    ("directive", "named"),
    [
        ("[[sim key=a", "closed"),
        ("[[sim wrods=3]]", "wrods"),
        ("[[sim words=0]]", "words"),
        ("[[sim words=1.5]]", "words"),
        ("[[sim words]]", "words"),
        ("[[sim latency=nan]]", "latency"),
        ("[[sim latency=-1]]", "latency"),
        ("[[sim latency=3-2]]", "latency"),
        ("[[sim latency=inf]]", "latency"),
        ("[[sim fail=999]]", "fail"),
        ("[[sim fail=boom]]", "fail"),
        ("[[sim fail=]]", "fail"),
        ("[[sim key=]]", "key"),
        ("[[sim echo=maybe]]", "echo"),
        ('[[sim args={"a"]]', "args"),
        ("[[sim args=[1]]]", "args"),
        ("[[sim tools=a,,b]]", "tools"),
        ("[[sim !]]", "!"),
    ],
)
def test_a_directive_that_cannot_be_understood_is_named(directive: str, named: str) -> None:
    with pytest.raises(DirectiveError, match=named):
        parse(f"text {directive}")


@given(st.text())
def test_any_directive_is_read_or_refused(inner: str) -> None:
    try:
        parse(f"[[sim {inner}")
    except DirectiveError:
        return
    assert "]]" in inner


@given(st.text().filter(lambda text: "[[sim" not in text), st.text().filter(lambda text: "[[sim" not in text))
def test_a_directive_survives_any_surrounding(before: str, after: str) -> None:
    assert parse(f"{before}[[sim key=k]]{after}").key == "k"
