"""What is booked where the provider did not say, and which price it has."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from waterline.core.app_spec import Limits, PriceOverride
from waterline.core.money import Price, Usage, add_usage, cost_nano_usd, worst_case_nano_usd
from waterline.core.prices import CACHED_1H, PriceTable, first_us
from waterline.core.release import Route
from waterline.core.request import Request
from waterline.gateway.billing import priced_as, streamed, unheard
from waterline.gateway.budget import Budget, Reservation
from waterline.gateway.lengths import AnswerLengths
from waterline.providers.openai_wire import OpenAIStream, WireUsage, exclusive

NANO = 10**9
PRICE = Price(NANO, 4 * NANO, NANO // 10, NANO, 4 * NANO, NANO, 4 * NANO, "test")
WHOLE = Price(NANO, 4 * NANO, NANO // 10, NANO, 4 * NANO, NANO, 4 * NANO, "test", whole_if_aborted=True)
BODY = b"x" * 400
ROUTE = Route(provider="openai", model="gpt-5")


def held(price: Price = PRICE, max_tokens: int | None = 500) -> Reservation:
    budget = Budget("a", Limits())
    return budget.reserve(budget.open("t", 1, "", "wl-1", ""), price, "m", 400, max_tokens, 1, 64)


def request(stream: bool = True, **fields: Any) -> Request:
    return Request(
        "chat", "/v1/chat/completions", b"", {k: Raw(v) for k, v in fields.items()}, "main", 0, stream=stream
    )


def said(chunks: int, end: bytes = b"") -> OpenAIStream:
    reader = OpenAIStream(forward_usage=False)
    for _ in range(chunks):
        reader.feed(b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n')
    reader.feed(end)
    return reader


def taught() -> AnswerLengths:
    """A route that thinks for 900 tokens, and says two tokens a piece."""
    lengths = AnswerLengths()
    for _ in range(3):
        lengths.learn_tokens(Usage(input=100, output=80, reasoning=900), 400, 40)
    return lengths


def test_an_aborted_stream_is_booked_with_what_was_seen_and_what_was_on_its_way():
    usage = streamed(said(100), BODY, held(), 1, AnswerLengths(), streaming_s=2.0)
    assert usage.estimated
    assert 100 < usage.output <= 120  # 50 tokens a second, for a fifth of a second more


def test_hidden_reasoning_of_an_aborted_stream_is_not_forgotten():
    """Counting the pieces that were seen would undercount it by nine tenths."""
    usage = streamed(said(10), BODY, held(max_tokens=5000), 1, taught(), streaming_s=1.0)
    assert usage.output >= 900 + 20


def test_an_estimate_is_never_more_than_was_reserved():
    assert streamed(said(10), BODY, held(max_tokens=100), 1, taught(), streaming_s=0.1).output == 100
    assert unheard(request(), BODY, held(max_tokens=100), 1, taught()).output == 100


def test_an_aborted_stream_of_a_provider_that_goes_on_is_booked_whole():
    assert streamed(said(3), BODY, held(WHOLE), 1, AnswerLengths(), streaming_s=1.0).output == 500
    assert unheard(request(), BODY, held(WHOLE), 1, AnswerLengths()).output == 500
    assert unheard(request(), BODY, held(PRICE), 1, AnswerLengths()).output == 0


def test_a_plain_answer_that_never_came_may_have_been_made_in_full():
    assert unheard(request(stream=False), BODY, held(), 1, AnswerLengths()).output == 500


def test_usage_of_zero_is_zero_and_not_an_estimate():
    end = b'data: {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}\n\n'
    stop = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    usage = streamed(said(4, stop + end), BODY, held(), 1, AnswerLengths(), streaming_s=1.0)
    assert usage == Usage()
    assert not usage.estimated


def test_cached_and_audio_tokens_are_charged_once_each_at_their_own_price():
    wire = {"prompt_tokens": 100, "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 5}}  # fmt: skip
    usage = exclusive(msgspec.convert(wire, WireUsage))
    assert usage == Usage(input=30, cached_input=60, audio_input=10, output=15, reasoning=30, audio_output=5)
    dear = Price(1 * NANO, 2 * NANO, NANO // 2, 3 * NANO, 4 * NANO, 5 * NANO, 6 * NANO, "t")
    assert cost_nano_usd(usage, dear) == (30 * 1000 + 60 * 500 + 10 * 5000 + 15 * 2000 + 30 * 4000 + 5 * 6000)


def test_the_prompt_of_an_aborted_call_is_booked_as_dense_as_the_densest_that_was_seen():
    lengths = AnswerLengths()
    assert lengths.prompt(BODY) == 200
    lengths.learn_tokens(Usage(input=300), 400, 0)
    assert lengths.prompt(BODY) == 300


# --- which price -------------------------------------------------------------------------------------------------


def table(*overrides: PriceOverride) -> PriceTable:
    return PriceTable.parse('version = "v"', overrides)


def test_a_price_may_change_in_the_middle_of_a_day():
    prices = table(
        PriceOverride("gpt-5", "openai", NANO, NANO),
        PriceOverride("gpt-5", "openai", 2 * NANO, 2 * NANO, valid_from="2026-12-01T15:00Z"),
        PriceOverride("gpt-5", "openai", 3 * NANO, 3 * NANO, valid_from="2026-12-02T01:00+03:00"),
    )
    noon = first_us("2026-12-01T12:00")
    for at_us, dollars in ((noon, 1), (noon + 3 * 3600 * 10**6 - 1, 1), (noon + 3 * 3600 * 10**6, 2),
                           (noon + 10 * 3600 * 10**6 - 1, 2), (noon + 10 * 3600 * 10**6, 3)):  # fmt: skip
        found = prices.find("openai", "gpt-5", at_us)
        assert found is not None
        assert found.input == dollars * NANO, at_us


@pytest.mark.parametrize("ttl", ['{"ttl": "1h"}', r'{"\u0074tl":"1\u0068"}'])
def test_a_prompt_cached_for_an_hour_is_priced_apart(ttl: str):
    asked = replace(request(), body=f'{{"messages":[{{"cache_control":{ttl}}}]}}'.encode())
    there = Route(provider="anthropic", model="claude-sonnet-4-6")
    assert priced_as(asked, there) != there.model
    assert priced_as(replace(asked, body=b'{"messages":["ttl 1h \\"ttl\\":\\"1h\\""]}'), there) == there.model
    assert priced_as(asked, ROUTE) == ROUTE.model  # only Anthropic has it


def test_what_is_kept_for_an_hour_costs_twice_the_input_or_what_is_declared_and_is_reserved_so():
    declared = {"cached_input": NANO // 10, "cache_write": NANO * 5 // 4}
    prices = table(
        PriceOverride("claude-a", "anthropic", NANO, 5 * NANO, **declared),
        PriceOverride("claude-b", "anthropic", NANO, 5 * NANO, **declared, cache_write_1h=3 * NANO),
    )
    used = Usage(input=10, cached_input=10, cache_write=10, cache_write_1h=10)
    assert (used.total_input, add_usage(used, used).cache_write_1h) == (40, 20)
    for model, hour in (("claude-a", 2), ("claude-b", 3)):
        found, bound = (prices.find("anthropic", model + more, 0) for more in ("", CACHED_1H))
        assert found is not None
        assert bound is not None
        assert cost_nano_usd(used, found) == (100 + 10 + 125 + 100 * hour) * NANO // 10**7
        assert worst_case_nano_usd(found, 10**6, 0) == NANO * 5 // 4  # no other prompt is reserved dearer for it
        assert worst_case_nano_usd(bound, 10**6, 0) == hour * NANO
    assert prices.find("anthropic", "claude-c" + CACHED_1H, 0) is None


def test_a_service_tier_has_its_own_price_or_none():
    prices = table(
        PriceOverride("gpt-5", "openai", 2 * NANO, 8 * NANO),
        PriceOverride("gpt-5", "openai", NANO, 4 * NANO, tier="flex"),
    )

    def price(asked: Request, route: Route = ROUTE) -> int | None:
        found = prices.find("openai", priced_as(asked, route), 1)
        return None if found is None else found.input

    assert (
        price(request()) == price(request(service_tier=b'"auto"')) == price(request(service_tier=b"null")) == 2 * NANO
    )
    assert price(request(service_tier=b'"flex"')) == NANO
    assert price(request(service_tier=b'"priority"')) is None
    assert price(request(service_tier=b"7")) is None
    assert price(request(web_search_options=b"{}")) is None  # billed by the call
    snapshot = Route(provider="openai", model="gpt-5-2025-08-07", params={"service_tier": "flex"})
    assert price(request(), snapshot) == NANO
    assert price(request(service_tier=b'"default"'), snapshot) == 2 * NANO
