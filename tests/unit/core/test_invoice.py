"""A provider's invoice: right, wrong and messy, and ours against it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.invoice import MAX_BYTES, Invoice, InvoiceError, Ours, canonical, read_invoice, reconcile
from waterline.core.money import NANO, nano_from_usd

OPENAI = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id,"
    "organization_id,organization_name\n"
    '1761955200,1762041600,2025-11-01T00:00:00+00:00,2025-11-02T00:00:00+00:00,0.8958740000000000,usd,'
    '"gpt-4o-mini-2024-07-18, input",,org-x,Personal\n'
    '1761955200,1762041600,2025-11-01T00:00:00+00:00,2025-11-02T00:00:00+00:00,0.104126,usd,'
    '"gpt-4o-mini-2024-07-18, output",,org-x,Personal\n'
    "1762041600,1762128000,2025-11-02T00:00:00+00:00,2025-11-03T00:00:00+00:00,,,,,,\n"
)  # fmt: skip
ANTHROPIC = (
    "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type\n"
    "2026-08-04,Claude Haiku 4.5,Default,k,message,≤ 200k,input_no_cache,0.05,0.05,token\n"
    "2026-08-04,Claude Haiku 4.5,Default,k,message,≤ 200k,output,0.02,0.02,token\n"
    "2026-08-05,Claude Sonnet 4.5,Default,k,message,≤ 200k,input_cache_read,0.10,1.00,token\n"
)


def read(text: str) -> Invoice:
    return read_invoice(text.encode())


def amounts(text: str) -> list[int]:
    return [line.nano_usd for line in read(text).lines]


def test_the_cost_export_of_openai_is_read_with_snapshots_and_days_without_use():
    found = read(OPENAI)
    assert (found.kind, found.empty, found.bad) == ("openai", 1, [])
    assert {line.model for line in found.lines} == {"gpt-4o-mini-2024-07-18"}
    assert sum(line.nano_usd for line in found.lines) == NANO
    assert (found.first_day, found.last_day) == ("2025-11-01", "2025-11-01")


def test_the_cost_export_of_anthropic_is_read_and_its_display_names_are_our_models():
    found = read(ANTHROPIC)
    assert (found.kind, len(found.lines), found.bad) == ("anthropic", 3, [])
    matches, total = reconcile([Ours("anthropic", "claude-haiku-4-5-20251001", 3, 77_000_000)], found.lines)
    haiku = next(m for m in matches if m.model.startswith("claude-haiku"))
    assert (haiku.invoice_nano_usd, haiku.error_nano_usd) == (70_000_000, 7_000_000)
    assert haiku.share == pytest.approx(0.1)
    sonnet = next(m for m in matches if "Sonnet" in m.model)
    assert (sonnet.ours_nano_usd, sonnet.said) == (None, "only on the invoice")
    assert (total.ours_nano_usd, total.invoice_nano_usd) == (77_000_000, 170_000_000)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffday,model,usd\n2026-11-01,m,1.50\n",
        "day;model;usd\r\n2026-11-01;m;1,50\r\n",
        "sep=;\nday;model;usd\n2026-11-01;m;1,50\n",
        "Date\tModel\tAmount\n2026-11-01\tm\t$1.50\n",
        'day,model,usd\n"2026-11-01","m","1,50"\n',
        '\n\n"day","model","usd"\n\n"2026-11-01","m","USD 1.50"\n\n',
        "day|model|cost\n2026-11-01|m|1.5e0\n",
    ],
    ids=[
        "bom",
        "semicolons and decimal comma",
        "excel's sep",
        "tabs and dollars",
        "quoted comma",
        "blank lines",
        "pipe",
    ],
)
def test_what_spreadsheets_make_of_an_invoice_is_read_the_same(text):
    found = read(text)
    assert found.bad == []
    assert [(x.day, x.model, x.nano_usd) for x in found.lines] == [("2026-11-01", "m", 1_500_000_000)]


def test_utf16_and_old_encodings_are_read():
    text = "day,model,usd\n2026-11-01,modèle,2.00\n"
    for data in (text.encode("utf-16"), text.encode("cp1252")):
        assert read_invoice(data).lines[0].model == "modèle"


def test_thousands_and_decimals_are_told_apart_by_the_whole_file():
    assert amounts('day,model,usd\n,m,"1,234.50"\n,m,"2,345"\n') == [1_234_500_000_000, 2_345_000_000_000]
    assert amounts("day;model;usd\n;m;1.234,50\n;m;2.345\n") == [1_234_500_000_000, 2_345_000_000_000]
    assert amounts("day;model;usd\n;m;0,569\n") == [569_000_000]
    assert amounts("day,model,usd\n,m,1.234\n") == [1_234_000_000]


def test_an_amount_that_could_be_a_thousand_or_a_fraction_is_asked_about_not_guessed():
    found = read('day,model,usd\n2026-11-01,m,"1,234"\n')
    assert found.lines == []
    assert "could be a thousand or a fraction" in found.bad[0].problem


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("2026-11-01,m,none", "no amount of USD"),
        ("2026-11-01,m,NaN", "no amount of USD"),
        ("2026-11-01,m,1e99", "beyond"),
        ("2026-11-01,m", "has 2 columns, the header has 3"),
        ("2026-11-01,m,1.00,x", "has 4 columns"),
        ("31/11/2026,m,1.00", "no day. Write YYYY-MM-DD"),
        ("2026-02-30,m,1.00", "no day"),
        ("2026-11-01,m,1.2.3", "decimal mark"),
        ("2026-11-01,m,12,34", "has 4 columns"),
    ],
)
def test_each_bad_line_is_named_with_its_number_and_the_rest_is_read(row, problem):
    found = read(f"day,model,usd\n2026-11-01,good,1.00\n{row}\n2026-11-02,good,2.50\n")
    assert [line.line for line in found.lines] == [2, 4]
    assert found.bad_count == 1
    assert found.bad[0].line == 3
    assert problem in found.bad[0].problem


def test_another_currency_is_a_bad_line():
    found = read("day,model,usd,currency\n2026-11-01,m,1.00,EUR\n2026-11-01,m,1.00,usd\n")
    assert len(found.lines) == 1
    assert "EUR" in found.bad[0].problem


def test_totals_are_not_counted_twice_and_credits_are_negative():
    found = read("day,model,usd\n2026-11-01,m,5.00\n2026-11-02,m,(1.00)\n,Total,4.00\n")
    assert [line.nano_usd for line in found.lines] == [5 * NANO, -NANO]
    assert found.totals == 1


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf  \n", "is empty"),
        (b"day,model,usd\n", "a header and no lines"),
        (b"just a line", "no separator"),
        (b"a,b,c\n1,2,3\n", "no column has an amount"),
        (b"PK\x03\x04", "spreadsheet"),
        (b"%PDF-1.7", "PDF"),
        (b"model_version,usage_input_tokens_no_cache,usage_output_tokens\nx,1,2\n", "usage export"),
        (b"day,model,usd\n" + b'2026-11-01,"' + b"x" * 200_000 + b'",1\n', "line 2"),
    ],
)
def test_a_file_that_is_no_invoice_says_what_it_is_and_what_to_do(data, problem):
    with pytest.raises(InvoiceError, match=problem):
        read_invoice(data)


def test_fifty_megabytes_are_refused_before_they_are_read():
    with pytest.raises(InvoiceError, match=f"at most {MAX_BYTES:,}"):
        read_invoice(b"x" * 50_000_000)


def test_unpriced_and_estimated_requests_are_said_beside_the_error():
    ours = [Ours("openai", "gpt-4o", 10, NANO, unpriced=2, estimated=3), Ours("openai", "o3", 1, 5)]
    matches, total = reconcile(ours, read("day,model,usd\n,gpt-4o-2024-08-06,2.00\n").lines)
    assert (matches[0].error_nano_usd, matches[0].share) == (-NANO, -0.5)
    assert matches[0].said == "2 requests unpriced: ours is too low; 3 requests with estimated tokens"
    assert matches[1].said == "only in our books"
    assert total.unpriced == 2


def test_an_invoice_that_names_no_model_is_compared_in_total():
    text = OPENAI.replace('"gpt-4o-mini-2024-07-18, input"', "").replace('"gpt-4o-mini-2024-07-18, output"', "")
    matches, total = reconcile([Ours("openai", "gpt-4o-mini", 4, NANO)], read(text).lines)
    assert {m.said for m in matches} == {"the invoice names no model here", "only in our books"}
    assert (total.error_nano_usd, total.share) == (0, 0.0)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("gpt-4o-mini-2024-07-18", "GPT-4o mini"),
        ("claude-haiku-4-5-20251001", "Claude Haiku 4.5"),
        ("claude-3-7-sonnet-latest", "Claude Sonnet 3.7"),
        ("anthropic/claude-opus-5", "Claude Opus 5"),
    ],
)
def test_two_names_of_one_model_are_one(a, b):
    assert canonical(a) == canonical(b)


def test_models_of_another_version_are_not_one():
    names = ["claude-haiku-4-5", "claude-haiku-5-5", "claude-sonnet-4-5", "gpt-4o", "gpt-4o-mini", "gpt-4.1"]
    assert len({canonical(n) for n in names}) == len(names)


@given(st.text(max_size=400))
def test_no_text_makes_the_reader_fail_otherwise_than_by_saying_so(text):
    try:
        found = read_invoice(text.encode("utf-8", "surrogatepass"))
    except InvoiceError:
        return
    assert found.bad_count >= len(found.bad)


@given(st.lists(st.decimals(0, 99_999, places=4), min_size=1, max_size=8), st.sampled_from([",", ";"]))
def test_any_amounts_are_read_back_exactly(values, delimiter):
    rows = "".join(f"2026-11-01{delimiter}m{delimiter}{v}\n" for v in values)
    assert amounts(f"day{delimiter}model{delimiter}usd\n{rows}") == [nano_from_usd(v) for v in values]
