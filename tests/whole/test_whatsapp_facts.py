"""What WhatsApp is like, and where others fail at it (PEERS: WhatsApp facts, Conversations): one promise each, in the
whole app, against the simulated Cloud API."""

from typing import Any

from phones import ANA, NUMBER, until
from test_whatsapp import Make, answered, make, settled, taken, waiting
from test_whatsapp_health import (
    NUMBERS,
    REMINDER,
    SECOND,
    begun,
    counted,
    day_later,
    number,
    plan,
    query,
    reminded,
)
from whole_app import Server

from waterline.core.branch import Branch
from waterline.core.conversation import Choice, Outbound, Template
from waterline.providers.simulated_script import Answer, Target

__all__ = ["make"]
NEWS = "Hello! We have news for you. Write to us, and we tell you."


def test_a_web_hook_is_answered_before_the_model_has_thought(sim: Any, make: Make) -> None:
    """Deliveries that are not answered at once come again, and block what is behind them."""
    sim.play(Target(answer=Answer(text="at last"), first_token_ms=4000.0))
    whatsapp, _server = make()
    whatsapp.say("hello")
    assert until(lambda: whatsapp.stats()["delivered"] == 1)
    assert whatsapp.replies() == []
    assert answered(whatsapp, 1)
    settled(whatsapp)
    assert whatsapp.stats()["refused"] == 0
    sim.play(Target())


def test_after_a_day_a_template_is_sent_and_a_text_is_handed_to_a_person(make: Make) -> None:
    """PEERS: nothing is sent after 24 hours because no template was used (chatwoot 14800)."""
    whatsapp, server = begun(make)
    day_later(whatsapp, server)
    plan(server, "news", Outbound("Your visit is tomorrow."))
    assert until(lambda: query(server, "SELECT reason FROM handoffs"), 90)
    assert len(whatsapp.sent()) == 1  # WhatsApp was not even asked
    plan(server, "reminder", Outbound("Your visit is tomorrow.", template=REMINDER))
    assert until(lambda: len(reminded(whatsapp)) == 1, 90), server.log()[-3000:]


def held(server: Server) -> list[str]:
    return [state for (state,) in query(server, "SELECT state FROM effects WHERE name = 'news'")]


def test_a_declared_template_asks_a_silent_user_to_write_and_the_text_follows_when_they_do(make: Make) -> None:
    """131047: use a template. Once for each silence, and nobody in the office has to do anything."""
    whatsapp, server = begun(make, reopen="we_have_news")
    day_later(whatsapp, server)
    plan(server, "news", Outbound("A place is free on Tuesday."))
    assert until(lambda: reminded(whatsapp) == [NEWS], 90), server.log()[-3000:]
    assert held(server) == ["held"]
    plan(server, "more", Outbound("And one on Friday."))
    assert until(lambda: len(query(server, "SELECT 1 FROM effects WHERE state = 'held'")) == 2, 90)
    whatsapp.say("what is it?")
    assert until(lambda: len(whatsapp.replies()) == 5, 90), server.log()[-3000:]
    held_back = ["A place is free on Tuesday.", "And one on Friday."]
    assert [text for text in whatsapp.replies() if text in held_back] == held_back
    assert reminded(whatsapp) == [NEWS]
    assert not query(server, "SELECT 1 FROM handoffs")


def test_a_window_that_closed_unseen_is_reopened_too(make: Make) -> None:
    """We thought it open, WhatsApp took the message and said 131047 later."""
    whatsapp, server = begun(make, reopen="we_have_news")
    whatsapp.do("clock", add_s=25 * 3600)  # only for WhatsApp
    plan(server, "news", Outbound("A place is free on Tuesday."))
    assert until(lambda: reminded(whatsapp) == [NEWS], 90), server.log()[-3000:]
    whatsapp.say("what is it?")
    assert until(lambda: "A place is free on Tuesday." in whatsapp.replies(), 90), server.log()[-3000:]
    assert held(server) == ["done"]
    assert not query(server, "SELECT 1 FROM handoffs")


def test_what_was_to_be_said_days_ago_is_not_said_when_the_user_writes_at_last(make: Make) -> None:
    whatsapp, server = begun(make, reopen="we_have_news")
    day_later(whatsapp, server)
    plan(server, "news", Outbound("Tomorrow at ten?"))
    assert until(lambda: held(server) == ["held"] and reminded(whatsapp) == [NEWS], 90)
    query(server, "UPDATE effects SET planned_us = planned_us - 4 * 86400000000 WHERE name = 'news'")
    whatsapp.say("hello again")
    assert until(lambda: held(server) == ["dropped"], 90)
    assert "Tomorrow at ten?" not in whatsapp.replies()


def test_stop_is_respected_until_the_person_says_start(make: Make) -> None:
    whatsapp, server = begun(make)
    whatsapp.say("Parar.")
    assert until(lambda: len(taken(server)) == 2 and not waiting(server), 90)
    sent = len(whatsapp.sent())
    day_later(whatsapp, server)
    plan(server, "reminder", Outbound("Tomorrow at ten?", template=REMINDER))
    assert until(lambda: counted(server, "replies_opted_out"), 90)
    assert len(whatsapp.sent()) == sent
    whatsapp.say("start")
    assert until(lambda: len(taken(server)) == 3 and not waiting(server), 90)
    day_later(whatsapp, server)
    plan(server, "reminder2", Outbound("Tomorrow at ten?", template=REMINDER))
    assert until(lambda: len(reminded(whatsapp)) == 1, 90), server.log()[-3000:]


def test_a_person_who_changes_their_number_or_hides_it_stays_in_their_conversation(make: Make) -> None:
    """The telephone number is no safe key: the business-scoped id joins what came under both."""
    person = {"wa_id": "5511911000002", "name": "Carlos", "user_id": "BR.7001"}
    whatsapp, server = make(phones=[person])
    whatsapp.say("first", person["wa_id"])
    assert answered(whatsapp, 1, person["wa_id"])
    settled(whatsapp)
    whatsapp.do(f"phones/{person['wa_id']}", do="change_number", to="5511922000002")
    whatsapp.say("second, with another number", "5511922000002")
    assert until(lambda: len(taken(server)) == 2 and not waiting(server), 90), server.log()[-3000:]
    assert len({row["conversation"] for row in taken(server)}) == 1


def test_a_branch_that_begins_with_everybody_cannot_starve_another(sim: Any, make: Make) -> None:
    """The messaging limit is the portfolio's: 4 users a day for two branches here."""
    branches = (
        Branch("flood", "Flood", addresses={"whatsapp": (NUMBER,)}),
        Branch("quiet", "Quiet", addresses={"whatsapp": (SECOND,)}),
    )
    whatsapp, server = make({"branches": branches}, numbers=NUMBERS, limit=4)
    people = [f"35193000000{n}" for n in range(6)]
    for who in people:
        whatsapp.say("hello", who)
    whatsapp.say("hello", ANA, SECOND)
    assert until(lambda: len(taken(server)) == 7 and not waiting(server), 90), server.log()[-3000:]
    assert until(lambda: number(server).get("tier") == "TIER_4", 90)
    day_later(whatsapp, server)
    for who in people:
        plan(server, "offer", Outbound("Hello?", template=Template("follow_up", "en", ("you",))), who)
    assert until(lambda: counted(server, "replies_later"), 90)
    plan(server, "reminder", Outbound("Tomorrow?", template=REMINDER))
    assert until(lambda: len(reminded(whatsapp, SECOND)) == 1, 90), server.log()[-3000:]
    shown = [b for who in people for b in whatsapp.shown(who) if b["template"]]
    assert 2 <= len(shown) <= 3
    assert "failed_131064" not in str(whatsapp.stats()["counts"])
    assert "refused_131064" not in str(whatsapp.stats()["counts"])


def test_a_hard_budget_holds_and_what_is_free_still_leaves(make: Make) -> None:
    whatsapp, server = begun(make, nano_usd_per_month=1)
    day_later(whatsapp, server)
    plan(server, "reminder", Outbound("Tomorrow?", template=REMINDER))
    assert until(lambda: counted(server, "replies_later"), 90)
    assert len(whatsapp.sent()) == 1
    fees = server.ask("GET", "/api/channel-fees", app="school")
    assert fees["spent_nano_usd"] == 0
    assert fees["limit_nano_usd"] == 1


def test_a_button_of_a_reply_is_what_the_person_chose(make: Make) -> None:
    whatsapp, server = begun(make)
    plan(server, "ask", Outbound("Which day?", (Choice("mon", "Monday"), Choice("tue", "Tuesday"))))
    assert answered(whatsapp, 2)
    whatsapp.do(f"phones/{ANA}", do="choose", id="tue", number=NUMBER)
    assert until(lambda: len(taken(server)) == 2 and not waiting(server), 90)
    chosen = taken(server)[-1]
    assert (chosen["kind"], chosen["choice"], chosen["text"]) == ("choice", "tue", "Tuesday")


def test_a_person_who_asks_what_is_kept_of_them_gets_their_conversation(make: Make) -> None:
    whatsapp, server = begun(make)
    found = server.ask("POST", "/api/subjects/export", {"subject": ANA})
    [talk] = found["conversations"]
    assert [(line["who"], line["text"]) for line in talk["lines"]] == [
        ("user", "hello"),
        ("agent", whatsapp.replies()[0]),
    ]
    assert ANA in {contact.lstrip("+") for contact in found["contacts"]}
    assert any("hello" in one["request"] for one in found["requests"])
    assert not server.ask("POST", "/api/subjects/export", {"subject": "351999999999"})["conversations"]
