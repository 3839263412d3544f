"""What is a case in a request of any API, why a trace is worth one, what is proposed, what may be a name."""

from typing import Any

import msgspec
import pytest

from waterline.core.money import Usage
from waterline.core.redact import Redaction
from waterline.core.trace import Answered, TraceRow
from waterline.core.verdict import Estimate, JudgeRef, Outcome, Ref, Verdict
from waterline.evals.harvest import Asked, Told, Wanted, asked_of, maybe_names, propose, why

ROW = TraceRow(
    id="0" * 24, app="shop", env="production", purpose="live", release="r" * 64, route="main", provider="openai",
    model="m", key="k", session="", subject="", tags="en,,web", stream=False, started_us=5, first_token_us=None,
    duration_us=1, outcome="answered", status=200, code="", attempts=1, usage=Usage(), cost_nano_usd=1,
    reserved_nano_usd=0, price_version="", boot="b",
)  # fmt: skip


def told(answer: str = "Yes.", *verdicts: Verdict, reason: str = "stop", edit: str = "", **row: Any) -> Told:
    events = [Answered(0, 200, 10, finish_reason=reason)]
    return Told(msgspec.structs.replace(ROW, **row), events, b"{}", answer, verdicts, edit)


def verdict(name: str, value: float | None = None) -> Verdict:
    estimate = None if value is None else Estimate(value, value, value, 1)
    return Verdict(Ref("trace", ROW.id), name, Outcome.FAIL, estimate, "", JudgeRef("x"))


def wanted(*ways: str, **more: Any) -> Wanted:
    return Wanted(frozenset(ways), **more)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "Hi there"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi there"}]}], "max_tokens": 9},
        {"input": "Hi there", "model": "main"},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi there"}]}]},
    ],
)
def test_the_question_is_read_from_a_request_of_every_api(body: Any) -> None:
    asked = asked_of(msgspec.json.encode(body))
    assert isinstance(asked, Asked)
    assert asked.last == "Hi there"


@pytest.mark.parametrize(
    ("body", "because"),
    [
        (b"{", "no JSON"),
        (b"[]", "no conversation"),
        (b'{"messages": []}', "does not end with the user's words"),
        (b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}', "does not end"),
        (b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "no text"),
        (b'{"messages": [{"role": "tool", "content": "x"}, {"role": "user", "content": "a"}]}', "tools were called"),
        (b'{"input": [{"type": "function_call"}, {"role": "user", "content": "a"}]}', "no messages"),
        (msgspec.json.encode({"input": "x" * 40_000}), "longer than"),
    ],
)
def test_what_makes_no_case_says_why(body: bytes, because: str) -> None:
    found = asked_of(body)
    assert isinstance(found, str)
    assert because in found


@pytest.mark.parametrize(
    ("trace", "ways", "found"),
    [
        (told(), ("failure", "feedback", "score"), None),
        (told("I'm sorry, I cannot help with that."), ("failure",), ("failure", "the answer refuses")),
        (told("Desculpe, não posso ajudar."), ("failure",), ("failure", "the answer refuses")),
        (told("Cut", reason="length"), ("failure",), ("failure", "the answer was cut: length")),
        (told("", outcome="failed", code="provider_timeout"), ("failure",), ("failure", "provider_timeout")),
        (told("", outcome="refused", code="rate_limited"), ("failure",), None),  # a limit says nothing of an answer
        (told("x", verdict("feedback.rejected")), ("failure", "feedback"), ("feedback", "rejected")),
        (told("x", verdict("feedback.accepted", 1.0)), ("feedback", "score"), None),
        (told("x", verdict("signal.anger", 1.0)), ("feedback",), ("feedback", "signal.anger")),
        (told("x", verdict("signal.anger", 0.0)), ("feedback", "score"), None),
        (told("x", verdict("judge.tone", 0.2), verdict("judge.fit", 0.4)), ("score",), ("score", "judge.tone 0.20")),
        (told("x", verdict("judge.tone", 0.7)), ("score",), None),
        (told(), ("far",), None),  # found among all of them
        (told(), ("filter", "far"), ("filter", "it fits the filter")),
    ],
)
def test_the_first_way_that_finds_a_trace_is_told(trace: Told, ways: tuple[str, ...], found: Any) -> None:
    assert why(trace, wanted(*ways)) == found


def test_a_random_share_is_the_same_for_the_same_seed_and_about_as_large_as_asked() -> None:
    chosen = [why(told(id=f"{n:024x}"), wanted("random", share=0.1, seed=3)) is not None for n in range(2000)]
    again = [why(told(id=f"{n:024x}"), wanted("random", share=0.1, seed=3)) is not None for n in range(2000)]
    assert chosen == again
    assert 150 < sum(chosen) < 250


def test_a_long_edit_is_proposed_by_meaning_and_nothing_personal_that_code_knows_stays() -> None:
    asked = asked_of(
        msgspec.json.encode({"input": "Call me: +351 912 345 678", "waterline": {"variables": {"m": "a@b.pt"}}})
    )
    assert isinstance(asked, Asked)
    case, out = propose(told(edit="Write to ana@x.pt " * 10), asked, "feedback", "consent", redact=True)
    assert (case.input, case.variables, out) == ("Call me: [number]", {"m": "[email]"}, "11 e-mail addresses, 1 number")
    assert case.expect.similar is not None
    assert "@" not in case.expect.similar.to[0]
    assert (case.tags, case.id) == (("en", "web"), f"live-{ROW.id}")
    kept, nothing = propose(told(), asked, "filter", "consent", redact=False)
    assert (kept.input, nothing) == ("Call me: +351 912 345 678", "")


def test_a_price_and_a_year_are_no_personal_numbers() -> None:
    out = Redaction()
    assert out.take("790 EUR in 2026, class 3B") == "790 EUR in 2026, class 3B"
    assert out.told == ""


def test_words_with_a_capital_inside_a_sentence_may_be_names_and_the_first_word_is_not() -> None:
    assert maybe_names("Hello, I am Ana Costa from Évora. When do you open? Rui asks too.") == ("Ana Costa", "Évora")
    assert maybe_names("When do you open") == ()
