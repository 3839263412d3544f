"""What we send fits what WhatsApp takes, or is refused by us first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.channels.base import SendFault
from waterline.channels.whatsapp_errors import RULES, fault
from waterline.channels.whatsapp_render import MOST_TEXT, payloads, pieces
from waterline.core.conversation import Choice, Outbound, Template

TO = "+351911000000"


def choices(count: int, title: str = "Day") -> tuple[Choice, ...]:
    return tuple(Choice(id=f"c{n}", title=f"{title} {n}") for n in range(count))


def test_one_reply_is_one_bubble_and_carries_its_key() -> None:
    [sent] = payloads(TO, Outbound(text="Hello", reply_to="wamid.1"), "c/1/reply")
    assert sent["biz_opaque_callback_data"] == "c/1/reply"
    assert sent["context"] == {"message_id": "wamid.1"}
    assert sent["text"] == {"body": "Hello", "preview_url": False}


def test_up_to_three_short_choices_are_buttons_more_are_a_list() -> None:
    assert payloads(TO, Outbound("Which?", choices(3)), "k")[0]["interactive"]["type"] == "button"
    for given_ in (choices(4), choices(2, "A day that is longer than this"), (Choice("a", "A", "described"),)):
        sent = payloads(TO, Outbound("Which?", given_), "k")[0]["interactive"]
        assert sent["type"] == "list"
        assert all(len(row["title"]) <= 24 for row in sent["action"]["sections"][0]["rows"])


def test_a_long_title_is_kept_in_the_description() -> None:
    long = "Tuesday the 24th at half past ten"
    [row] = payloads(TO, Outbound("When?", (Choice("a", long),)), "k")[0]["interactive"]["action"]["sections"][0][
        "rows"
    ]
    assert row == {"id": "a", "title": "Tuesday the 24th at hal…", "description": long}


@pytest.mark.parametrize("bad", [choices(11), (Choice("a", "x"), Choice("a", "y")), (Choice("", "x"),)])
def test_choices_that_cannot_be_shown_are_refused(bad: tuple[Choice, ...]) -> None:
    with pytest.raises(SendFault, match="choice"):
        payloads(TO, Outbound("Which?", bad), "k")


def test_an_empty_text_and_a_name_that_is_no_recipient_are_refused() -> None:
    with pytest.raises(SendFault):
        payloads(TO, Outbound("  "), "k")
    with pytest.raises(SendFault):
        payloads("Ana", Outbound("hello"), "k")


def test_a_business_scoped_id_goes_where_it_belongs() -> None:
    [sent] = payloads("PT.13491208655302741918", Outbound("hello"), "k")
    assert sent["recipient"] == "PT.13491208655302741918"
    assert "to" not in sent


def test_a_template_is_filled_in_on_one_line() -> None:
    [sent] = payloads(TO, Outbound(template=Template("visit", "pt_PT", ("Ana\n\tMaria", ""))), "k")
    texts = [p["text"] for p in sent["template"]["components"][0]["parameters"]]
    assert texts == ["Ana Maria", "-"]


def test_a_long_text_is_cut_at_the_ends_of_sentences() -> None:
    text = " ".join(f"This is sentence number {n}." for n in range(400))
    found = pieces(text, MOST_TEXT)
    assert " ".join(found) == text
    assert all(len(p) <= MOST_TEXT and p.endswith(".") for p in found)
    sent = payloads(TO, Outbound(text), "k")
    assert [s["biz_opaque_callback_data"] for s in sent][-1] == "k"  # the last one is the reply


def test_choices_stand_under_the_end_of_a_long_text() -> None:
    text = " ".join(f"This is sentence number {n}." for n in range(60))
    first, last = payloads(TO, Outbound(text, choices(2)), "k")
    assert first["text"]["body"] + " " + last["interactive"]["body"]["text"] == text
    assert len(last["interactive"]["body"]["text"]) <= 1024
    assert last["biz_opaque_callback_data"] == "k"


@given(st.text(max_size=400), st.integers(8, 50))
def test_nothing_of_a_text_is_lost_when_it_is_cut(text: str, most: int) -> None:
    found = pieces(text, most)
    assert all(len(p) <= most for p in found)
    assert "".join("".join(found).split()) == "".join(text.split())


# PEERS: what each code means for us. One table, so one test.
@pytest.mark.parametrize(
    ("code", "kind", "slows"),
    [
        (130429, "later", "number"), (131056, "later", "pair"), (131047, "window_closed", ""), (131026, "never", ""),
        (131048, "later", "campaign"), (132000, "template", "template"), (132001, "template", "template"),
        (132012, "template", ""), (132015, "template", "template"), (132016, "template", "template"),
        (131064, "later", "portfolio"), (368, "number_stopped", ""), (131031, "number_stopped", ""),
        (131049, "opted_out", ""), (131050, "opted_out", ""), (190, "number_stopped", ""),
    ],
)  # fmt: skip
def test_every_error_code_has_its_action(code: int, kind: str, slows: str) -> None:
    found = fault(code, 400, "as they say")
    assert (found.kind, RULES[code].slows, found.code) == (kind, slows, code)
    assert "as they say" in found.message
    assert "Next: " in found.message


def test_an_unknown_code_is_judged_by_its_status() -> None:
    assert fault(99999, 400).kind == "never"
    assert fault(99999, 503).kind == "later"
    assert fault(0, 401).kind == "number_stopped"
    assert fault(99999, 429, retry_after_s=90).retry_after_s == 90
