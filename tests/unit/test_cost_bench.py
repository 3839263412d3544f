"""The arithmetic of bench/cost.py: every token is billed once, and the published baseline comes out of the trace."""

import dataclasses
import sys
from pathlib import Path

import msgspec
import pytest

from waterline.core.money import NANO, Price
from waterline.core.savings import History
from waterline.gateway.history import shorten

np = pytest.importorskip("numpy")
ROOT = Path(__file__).parents[2]
TRACE = ROOT.parent / "shared" / "data" / "azure-llm-trace" / "conv.csv"
sys.path.insert(0, str(ROOT / "bench"))

import cost_month as cm  # noqa: E402

LARGE = Price(3 * NANO, 15 * NANO, 300_000_000, 3_750_000_000, 15 * NANO, 3 * NANO, 15 * NANO, "test")
SMALL = Price(100_000_000, 500_000_000, 10_000_000, 125_000_000, 500_000_000, 100_000_000, 500_000_000, "test")
ASSUMED = cm.Assumed(fixed=300.0, question=12.0, cacheable_min=1024)


@pytest.fixture(scope="module")
def month():
    rng = np.random.default_rng(7)
    read = np.floor(rng.lognormal(6.8, 0.8, 5000)) + 2
    return cm.month_of(read, np.floor(rng.lognormal(4.8, 0.8, 5000)) + 1)


def bill(month, assumed=ASSUMED, **levers):
    return cm.bill(month, cm.Levers(**levers), assumed, LARGE, SMALL)


def test_the_published_baseline_comes_out_of_the_trace():
    if not TRACE.exists():
        pytest.skip(f"{TRACE} is not there")
    month = cm.month_of(*cm.read_trace(TRACE))
    assert bill(month).usd == pytest.approx(5304, abs=2)


def test_without_levers_every_token_is_billed_once_at_the_large_model(month):
    b = bill(month)
    assert b.large.new == pytest.approx(month.read.sum())
    assert b.large.out == pytest.approx(month.written.sum())
    assert (b.large.calls, b.small.calls) == (cm.LEADS * cm.TURNS, 0)


@pytest.mark.parametrize("mode", ["prompt", "5m", "1h"])
def test_caching_moves_tokens_between_buckets_and_loses_none(month, mode):
    b = bill(month, caching=mode, assumed=dataclasses.replace(ASSUMED, fixed=1100.0))
    assert b.large.new + b.large.cached + b.large.write == pytest.approx(month.read.sum())
    assert 0 < b.cached_share < 1


def test_a_cold_history_costs_its_writes(month):
    cold = dataclasses.replace(ASSUMED, gap_median_s=86_400.0)
    assert bill(month, caching="5m", assumed=cold).usd > bill(month).usd


def test_routing_everything_costs_the_small_models_price(month):
    b = bill(month, routed=1.0)
    assert b.large.calls == 0
    assert b.usd == pytest.approx(bill(month).usd / 30, rel=1e-6)


def test_a_doubted_answer_is_paid_twice(month):
    once, twice = bill(month, routed=0.5), bill(month, routed=0.5, escalated=0.5)
    assert twice.large.calls == cm.LEADS * cm.TURNS
    assert twice.small.calls == once.small.calls
    assert twice.usd > bill(month).usd


def test_a_note_stands_for_older_exchanges_as_the_gateway_cuts_them(month):
    declared = History(max_tokens=800, keep_last=2)
    b = bill(month, history=declared)
    assert b.shortened > 0
    assert b.large.new < month.read.sum()
    assert bill(month, history=History(max_tokens=10**9, keep_last=2)).usd == bill(month).usd
    for t in range(cm.TURNS):
        messages = [{"role": "assistant" if n % 2 else "user", "content": "word " * 100} for n in range(2 * t + 1)]
        kept = msgspec.json.decode(shorten(msgspec.json.encode(messages), History(max_tokens=200, keep_last=2)))
        assert cm.left_out(t, declared) == (len(messages) - len(kept)) // 2, t


def test_what_is_not_said_is_not_read_again(month):
    b = bill(month, answer_cap=50)
    assert b.large.out == pytest.approx(np.minimum(month.written, 50).sum())
    assert b.large.new < month.read.sum()


def test_only_first_questions_are_answered_from_our_own_cache(month):
    b = bill(month, semantic=0.25)
    assert b.local == pytest.approx(cm.LEADS / 4, rel=0.03)
    assert b.large.calls == cm.LEADS * cm.TURNS - b.local


def test_turns_that_a_flow_decides_cost_nothing_and_the_others_what_they_did(month):
    b = bill(month, flow=0.9)
    assert b.local == pytest.approx(cm.LEADS * cm.TURNS * 0.9, rel=0.01)
    assert b.large.calls == cm.LEADS * cm.TURNS - b.local
    assert b.usd == pytest.approx(bill(month).usd * 0.1, rel=0.03)


def test_a_flow_leaves_the_other_levers_as_they_are(month):
    both = bill(month, flow=0.5, routed=0.8)
    assert both.small.calls == pytest.approx(cm.LEADS * cm.TURNS * 0.4, rel=0.01)
    assert both.usd == pytest.approx(bill(month, routed=0.8).usd * 0.5, rel=0.03)
    assert bill(month, flow=0.0).usd == bill(month).usd
