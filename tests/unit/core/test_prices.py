"""The price table: which model costs what, when; and that a wrong match is never made."""

import time
from datetime import UTC, datetime
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.app_spec import PriceOverride
from waterline.core.money import MILLION, Price, Usage, cost_nano_usd
from waterline.core.prices import PriceTable, nano_per_million

TEXT = resources.files("waterline.core").joinpath("prices.toml").read_text(encoding="utf-8")
TABLE = PriceTable.parse(TEXT)
USD = 1_000_000_000


def at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000


NOW = at("2026-11-21")


def usd(provider: str, model: str, when: int = NOW) -> tuple[float, float, float] | None:
    price = TABLE.find(provider, model, when)
    return None if price is None else (price.input / USD, price.cached_input / USD, price.output / USD)


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt-4o-mini", (0.15, 0.075, 0.60)),
        ("openai", "gpt-4o-mini-2024-07-18", (0.15, 0.075, 0.60)),
        ("openai", "gpt-4o", (2.5, 1.25, 10)),
        ("openai", "gpt-4o-2024-08-06", (2.5, 1.25, 10)),
        ("openai", "gpt-4o-2024-05-13", (5, 5, 15)),
        ("openai", "gpt-4.1-nano", (0.10, 0.025, 0.40)),
        ("openai", "gpt-5", (1.25, 0.125, 10)),
        ("openai", "gpt-5-mini-2025-08-07", (0.25, 0.025, 2)),
        ("openai", "gpt-5.6", (4, 0.4, 20)),
        ("openai", "gpt-6.1-sol", (2, 0.1, 10)),
        ("openai", "o3", (2, 0.5, 8)),
        ("openai", "o4-mini-2025-04-16", (1.1, 0.275, 4.4)),
        ("openai", "text-embedding-3-small", (0.02, 0.02, 0)),
        ("anthropic", "claude-3-5-haiku-20241022", (0.8, 0.08, 4)),
        ("anthropic", "claude-opus-4-20250514", (15, 1.5, 75)),
        ("anthropic", "claude-opus-4-1-20250805", (15, 1.5, 75)),
        ("anthropic", "claude-opus-4-5-20251101", (5, 0.5, 25)),
        ("anthropic", "claude-haiku-4-5", (1, 0.1, 5)),
        ("openai", "gemini-2.5-flash-lite", (0.10, 0.01, 0.40)),
        ("google", "gemini-2.5-pro", (1.25, 0.125, 10)),
        ("google", "gemini-3.6-flash", (0.75, 0.075, 3.75)),
    ],
)
def test_a_published_price_is_found(provider: str, model: str, expected: tuple[float, float, float]) -> None:
    assert usd(provider, model) == expected


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-mini-custom"),
        ("openai", "gpt-4"),
        ("openai", "gpt-5-mini-high"),
        ("openai", "gpt-4o-realtime-preview-2024-12-17"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::x"),
        ("openai", "openai/gpt-4o-mini"),
        ("openai", "gpt-4o-2"),
        ("openai", "gpt-4o-20x"),
        ("openai", "GPT-4o"),
        ("openai", ""),
        ("anthropic", "gpt-4o"),
        ("anthropic", "claude-opus-4-9"),
        ("anthropic", "claude-sonnet"),
        ("nobody", "gpt-4o"),
    ],
)
def test_another_model_is_unpriced_never_zero_and_never_a_neighbour(provider: str, model: str) -> None:
    assert TABLE.find(provider, model, NOW) is None


def test_the_price_of_a_time_is_the_latest_that_was_valid_then() -> None:
    assert usd("openai", "gpt-5.6-luna", at("2026-07-08")) is None
    assert usd("openai", "gpt-5.6-luna", at("2026-07-09")) == (1, 0.1, 6)
    assert usd("openai", "gpt-5.6-luna", at("2026-07-30") - 1) == (1, 0.1, 6)
    assert usd("openai", "gpt-5.6-luna", at("2026-07-30")) == (0.2, 0.02, 1.2)
    assert usd("google", "gemini-3.8-flash", at("2026-12-31")) == (0.75, 0.075, 3.75)
    assert usd("google", "gemini-3.8-flash", at("2027-01-01")) == (1.5, 0.15, 7.5)


def test_a_long_prompt_is_billed_at_its_own_tier() -> None:
    short = TABLE.find("anthropic", "claude-haiku-5-5", NOW, prompt_tokens=100_000)
    long = TABLE.find("anthropic", "claude-haiku-5-5", NOW, prompt_tokens=100_001)
    assert short is not None
    assert long is not None
    assert (short.input, short.cached_input, short.output) == (100_000_000, 10_000_000, 500_000_000)
    assert (long.input, long.cached_input, long.cache_write, long.output) == (
        500_000_000,
        50_000_000,
        625_000_000,
        2_500_000_000,
    )
    assert long.version != short.version


def test_local_is_free_and_simulated_costs_what_the_app_declares() -> None:
    free = TABLE.find("local", "anything", NOW)
    assert free == Price(0, 0, 0, 0, 0, 0, 0, version="local")
    simulated = TABLE.find("simulated", "m", NOW)
    assert simulated is not None
    assert (simulated.input, simulated.version) == (0, "simulated")
    declared = PriceTable.parse(TEXT, (PriceOverride(model="m", provider="simulated", input=5, output=7),))
    price = declared.find("simulated", "m", NOW)
    assert price is not None
    assert (price.input, price.output) == (5, 7)


def test_an_apps_own_price_wins_from_its_day_on_and_changes_the_version() -> None:
    own = (
        PriceOverride(model="gpt-4o-mini", provider="openai", input=1, output=2, valid_from="2026-06-01"),
        PriceOverride(model="in-house", provider="openai", input=3, output=4, cached_input=1),
    )
    table = PriceTable.parse(TEXT, own)
    assert table.version != TABLE.version
    assert table.version == PriceTable.parse(TEXT, own).version

    def prices(model: str, day: str) -> tuple[int, int] | None:
        found = table.find("openai", model, at(day))
        return None if found is None else (found.input, found.output)

    assert prices("gpt-4o-mini", "2026-05-31") == (150_000_000, 600_000_000)
    assert prices("gpt-4o-mini", "2026-06-01") == (1, 2)
    assert prices("gpt-4o-mini-2024-07-18", "2026-06-01") == (1, 2)
    assert prices("gpt-4o", "2026-06-01") == (2_500_000_000, 10_000_000_000)
    found = table.find("openai", "in-house", NOW)
    assert found is not None
    assert (found.cached_input, found.cache_write, found.reasoning) == (1, 3, 4)
    assert TABLE.find("openai", "in-house", NOW) is None


def test_an_apps_price_outlives_a_later_change_of_the_list_price() -> None:
    own = (PriceOverride(model="gpt-5.6-luna", provider="openai", input=1, output=2, valid_from="2026-07-10"),)
    found = PriceTable.parse(TEXT, own).find("openai", "gpt-5.6-luna", NOW)
    assert found is not None
    assert found.input == 1


def test_every_entry_names_its_source_and_day_and_no_discount_is_above_the_full_price() -> None:
    seen = set()
    for entry in TABLE.entries:
        assert entry.source.startswith("https://"), entry
        assert entry.provider in ("openai", "anthropic", "google")
        assert entry.first_day > 18_000
        assert 0 <= entry.price.cached_input <= entry.price.input < 100 * USD
        assert entry.price.output == 0 or entry.price.output > entry.price.input
        assert entry.price.cache_write <= entry.price.input * 5 // 4
        assert (entry.long_price is None) is (entry.long_above is None)
        for name in (entry.model, *entry.aliases):
            key = (entry.provider, name, entry.first_day)
            assert key not in seen, key
            seen.add(key)
        assert TABLE.find(entry.provider, entry.model, at("2030-01-01")) is not None


def test_a_price_says_which_table_and_day_it_came_from() -> None:
    price = TABLE.find("openai", "gpt-4o-mini", NOW)
    assert price is not None
    assert price.version == f"{TABLE.version}@2024-07-18"


def test_a_bill_is_exact_to_the_nano() -> None:
    price = TABLE.find("openai", "gpt-4o-mini", NOW)
    assert price is not None
    assert cost_nano_usd(Usage(input=MILLION), price) == 150_000_000
    assert cost_nano_usd(Usage(cached_input=1), price) == 75


def test_finding_a_price_is_cheap() -> None:
    TABLE.find("openai", "gpt-4o-mini", NOW)
    started = time.process_time()
    for n in range(10_000):
        TABLE.find("openai", "gpt-4o-mini", NOW + n)
    assert time.process_time() - started < 1  # 100 us each would be far too much; it is below 1


@given(st.text(max_size=20))
def test_an_unknown_name_never_fails_and_the_memory_is_bounded(model: str) -> None:
    TABLE.find("openai", model, NOW)
    assert len(TABLE._answers) <= 4096


ROW = 'version = "1"\n[[price]]\nprovider = "x"\nmodel = "m"\noutput = 1\nsource = ""\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        'version = ""',
        ROW + 'input = -1\nvalid_from = ""',
        ROW + 'input = 1\ninptu = 1\nvalid_from = ""',
        ROW + 'input = 1e-12\nvalid_from = ""',
        ROW + 'input = 1\nvalid_from = "then"',
    ],
)
def test_a_table_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        PriceTable.parse(text)


@pytest.mark.parametrize("value", [True, "1", float("nan"), 1.5, None])
def test_only_exact_decimals_are_prices(value: object) -> None:
    with pytest.raises(ValueError):
        nano_per_million(value)
