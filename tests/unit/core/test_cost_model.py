"""The formula of a conversation's cost, and the published figure that it must give."""

import pytest

from waterline.core.cost_model import Conversation, Share, conversation_nano_usd, turn_tokens, with_cached_share
from waterline.core.money import NANO, Price, Usage

LARGE = Price(3 * NANO, 15 * NANO, 300_000_000, 3_750_000_000, 15 * NANO, 3 * NANO, 15 * NANO, "test")
SMALL = Price(150_000_000, 750_000_000, 15_000_000, 187_500_000, 750_000_000, 150_000_000, 750_000_000, "test")


def test_the_published_five_thousand_dollars_are_reproduced():
    lead = Conversation(turns=8, fixed=0, retrieved=1155, question=0, answer=0)
    lead_out = Conversation(turns=8, fixed=0, question=0, answer=211)
    read = 100_000 * conversation_nano_usd(lead, [Share(LARGE)]) / NANO
    history = 7 / 2 * 211  # of lead_out: what it says is read again
    written = 100_000 * (conversation_nano_usd(lead_out, [Share(LARGE)]) / NANO - 8 * history * 3 / 1e6)
    assert read + written == pytest.approx(5304, abs=0.5)


def test_history_grows_with_the_square_of_the_turns():
    def read(turns: float) -> float:
        return turns * turn_tokens(Conversation(turns=turns, fixed=0, question=10, answer=90)).new

    assert read(1) == 10
    assert read(8) == 8 * 10 + 28 * 100


def test_a_cached_token_is_billed_once():
    c = Conversation(turns=1, fixed=1000, question=100, answer=50, cached=0.5, written=0.25)
    t = turn_tokens(c)
    assert (t.new, t.cached, t.written, t.out) == (350, 500, 250, 50)


def test_routing_four_fifths_to_a_model_at_a_twentieth_saves_three_quarters():
    c = Conversation(turns=8, fixed=900, question=40, answer=200)
    whole = conversation_nano_usd(c, [Share(LARGE)])
    routed = conversation_nano_usd(c, [Share(LARGE, 0.2), Share(SMALL, 0.8)])
    assert 1 - routed / whole == pytest.approx(0.76)


def test_a_cached_share_moves_tokens_and_makes_none():
    moved = with_cached_share(Usage(input=900, cached_input=100, output=7), 0.9)
    assert moved == Usage(input=100, cached_input=900, output=7)
