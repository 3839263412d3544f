"""The health of our numbers: paced, shared fairly, slowed, paused, stopped and rerouted in time."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from waterline.channels.base import SendFault
from waterline.channels.numbers import Numbers
from waterline.channels.pacing import PAIR_BURST, Begins, Lane, Pairs
from waterline.channels.templates import Templates
from waterline.channels.whatsapp_errors import fault
from waterline.channels.whatsapp_parse import AccountEvent
from waterline.core.conversation import Template
from waterline.store.channels import NumberRow

NOW = 1_800_000_000_000_000
HOUR = 3600 * 1_000_000


def numbers(reserve: Mapping[str, str] | None = None, now: list[int] | None = None) -> Numbers:
    clock = now or [NOW]
    made = Numbers(80, lambda: clock[0], lambda name: None, lambda: reserve or {})
    made.restore([NumberRow("n1", "waba", "+351 210 000 001"), NumberRow("n2", "waba", "+351 210 000 002")])
    return made


def event(field: str, **value: Any) -> AccountEvent:
    return AccountEvent(field, "waba", NOW, value)


def send(made: Numbers, number: str = "n1", begins: bool = False, marketing: bool = False) -> str:
    return made.route(number, begins=begins, marketing=marketing)


# --- pace --------------------------------------------------------------------------------------------------------


def test_branches_that_share_a_number_take_turns() -> None:
    """One branch with a hundred messages does not make another wait for them all."""

    async def main() -> list[str]:
        lane = Lane(200)
        order: list[str] = []

        async def one(branch: str) -> None:
            await lane.turn(branch, 20)
            order.append(branch)

        await asyncio.gather(*(one("flood") for _ in range(60)), *(one("quiet") for _ in range(3)))
        return order

    order = asyncio.run(main())
    assert len(order) == 63
    assert max(i for i, branch in enumerate(order) if branch == "quiet") <= 8


def test_a_number_that_was_too_fast_goes_at_half_speed_and_recovers() -> None:
    async def main() -> None:
        lane = Lane(80)
        lane.too_fast()
        assert lane.rate == 40
        for _ in range(60):
            lane.went_well()
        assert lane.rate == 80
        for _ in range(20):
            lane.too_fast()
        assert lane.rate == 1

    asyncio.run(main())


def test_who_waits_too_long_for_a_turn_is_told_so() -> None:
    async def main() -> None:
        lane = Lane(1)
        await lane.turn("a", 1)
        with pytest.raises(SendFault) as caught:
            await lane.turn("a", 0.05)
        assert caught.value.kind == "later"

    asyncio.run(main())


def test_a_pair_has_a_burst_and_then_one_message_in_six_seconds() -> None:
    pairs = Pairs()
    for _ in range(PAIR_BURST):
        pairs.take("n", "u", 100.0)
    with pytest.raises(SendFault) as caught:
        pairs.take("n", "u", 100.0)
    assert caught.value.retry_after_s == pytest.approx(6.0)
    pairs.take("n", "another", 100.0)
    pairs.take("n", "u", 106.1)


def test_131056_slows_the_pair_and_nobody_else() -> None:
    pairs = Pairs()
    pairs.too_fast("n", "u", 100.0, 60.0)
    with pytest.raises(SendFault):
        pairs.take("n", "u", 150.0)
    pairs.take("n", "another", 150.0)
    pairs.take("n", "u", 161.0)


# --- the portfolio's limit ---------------------------------------------------------------------------------------


def begin(begins: Begins, branch: str, count: int, branches: int, now: int = NOW) -> int:
    done = 0
    for n in range(count):
        try:
            done += begins.take(branch, f"{branch}-{n}-{now}", branches, now)
        except SendFault as error:
            if (error.code, error.kind) != (131064, "later"):
                raise
    return done


def test_one_branch_cannot_starve_another_of_the_portfolios_limit() -> None:
    begins = Begins(1000)
    active = begin(begins, "calm", 1, 10)
    hostile = begin(begins, "hostile", 5000, 10)
    assert 100 < hostile < 1000  # more than its share while others do not need theirs
    assert active + begin(begins, "calm", 500, 10, NOW + 1) >= 100  # all of its share, after the flood
    for late in ("b3", "b4", "b5", "b6", "b7", "b8", "b9", "b10"):
        assert begin(begins, late, 25, 10) == 25  # a quarter of a share, whoever comes late
    assert begins.used <= 1000


def test_the_limit_is_never_passed_and_users_leave_the_count_after_a_day() -> None:
    begins = Begins(250)
    assert begin(begins, "only", 400, 1) == 250
    assert begin(begins, "only", 10, 1, NOW + 23 * HOUR) == 0
    assert begin(begins, "only", 10, 1, NOW + 25 * HOUR) == 10


def test_the_same_user_counts_once_and_a_failed_begin_is_given_back() -> None:
    begins = Begins(1)
    assert begins.take("b", "u", 1, NOW) is True
    assert begins.take("b", "u", 1, NOW) is False
    begins.give_back("u")
    assert begins.take("b", "other", 1, NOW) is True


# --- what WhatsApp says ------------------------------------------------------------------------------------------


def test_a_falling_quality_is_told_before_the_ban_and_stops_marketing_first() -> None:
    made = numbers()
    told = made.event(event("phone_number_quality_update", display_phone_number="351210000001", event="FLAGGED",
                            current_limit="TIER_1K"))  # fmt: skip
    assert [e.level for e in told.events] == ["critical"]
    assert made.begins.limit == 1000
    assert send(made) == "n1"
    assert send(made, begins=True) == "n1"
    with pytest.raises(SendFault, match="quality"):
        send(made, begins=True, marketing=True)
    made.event(event("phone_number_quality_update", display_phone_number="351210000001", event="UNFLAGGED"))
    assert send(made, begins=True, marketing=True) == "n1"


def test_templates_of_a_number_with_a_falling_rating_go_slowly_and_answers_do_not() -> None:
    made = numbers()
    plain = made.lanes("n1", begins=True)
    assert plain == made.lanes("n1", begins=False) == [made.lane("n1")]
    for what, part in (("DOWNGRADE", 8), ("FLAGGED", 40)):
        made.event(event("phone_number_quality_update", display_phone_number="351210000001", event=what))
        careful, own = made.lanes("n1", begins=True)
        assert (careful.rate, own) == (80 / part, made.lane("n1"))
        assert made.lanes("n1", begins=False) == [own]
        assert made.lanes("n2", begins=True) == [made.lane("n2")]
    made.event(event("phone_number_quality_update", display_phone_number="351210000001", event="UNFLAGGED"))
    assert made.lanes("n1", begins=True) == plain


def test_an_announced_ban_pauses_what_we_begin_and_says_what_to_do() -> None:
    made = numbers()
    told = made.event(event("account_update", event="DISABLED_UPDATE", phone_number="351210000001",
                            ban_info={"waba_ban_state": "SCHEDULE_FOR_DISABLE"}))  # fmt: skip
    assert told.events[0].level == "critical"
    assert "appeal" in told.events[0].text
    assert send(made) == "n1"  # answers still go out
    with pytest.raises(SendFault):
        send(made, begins=True)


def test_a_ban_stops_the_number_until_it_is_lifted() -> None:
    now = [NOW]
    made = numbers(now=now)
    made.event(event("account_update", event="DISABLED_UPDATE", phone_number="351210000001",
                     ban_info={"waba_ban_state": "DISABLE"}))  # fmt: skip
    now[0] += 48 * HOUR
    with pytest.raises(SendFault) as caught:
        send(made)
    assert caught.value.kind == "number_stopped"
    assert send(made, "n2") == "n2"
    made.event(event("account_update", event="DISABLED_UPDATE", phone_number="351210000001",
                     ban_info={"waba_ban_state": "REINSTATE"}))  # fmt: skip
    assert send(made) == "n1"


def test_a_ban_of_the_account_stops_all_of_its_numbers() -> None:
    made = numbers()
    made.event(event("account_update", event="DISABLED_UPDATE", ban_info={"waba_ban_state": "DISABLE"}))
    for number in ("n1", "n2"):
        with pytest.raises(SendFault):
            send(made, number)


def test_a_stopped_number_is_stood_in_for_where_that_is_declared() -> None:
    made = numbers({"n1": "n2"})
    made.failed("n1", "u", fault(131031, 400))
    assert send(made, begins=True) == "n2"
    with pytest.raises(SendFault):
        send(made)  # a reply cannot move: the user's window is with n1
    made.failed("n2", "u", fault(131031, 400))
    with pytest.raises(SendFault):
        send(made, begins=True)


def test_a_number_that_an_error_stopped_is_tried_again_after_ten_minutes() -> None:
    now = [NOW]
    made = numbers(now=now)
    told = made.failed("n1", "u", fault(190, 401))
    assert told.events[0].level == "critical"
    with pytest.raises(SendFault):
        send(made)
    now[0] += 601 * 1_000_000
    assert send(made) == "n1"


def test_131048_pauses_what_the_number_begins_and_not_its_answers() -> None:
    now = [NOW]
    made = numbers(now=now)
    assert made.failed("n1", "u", fault(131048, 400)).events[0].level == "warning"
    assert send(made) == "n1"
    with pytest.raises(SendFault):
        send(made, begins=True)
    now[0] += 2 * HOUR
    assert send(made, begins=True) == "n1"


def test_the_limit_follows_what_whatsapp_says() -> None:
    made = numbers()
    made.event(event("business_capability_update", max_daily_conversations_per_business=2000))
    assert made.begins.limit == 2000
    made.synced("waba", [{"id": "n1", "messaging_limit_tier": "TIER_UNLIMITED", "quality_rating": "GREEN"}])
    assert made.begins.limit == 0


def test_a_sync_finds_a_ban_that_no_web_hook_told() -> None:
    made = numbers()
    told = made.synced("waba", [{"id": "n1", "status": "BANNED", "quality_rating": "RED"}])
    assert [e.level for e in told.events] == ["critical", "critical"]
    with pytest.raises(SendFault):
        send(made)


# --- templates ---------------------------------------------------------------------------------------------------


def template(name: str, status: str = "APPROVED", body: str = "Hi {{1}}, {{2}}") -> dict[str, Any]:
    return {"name": name, "language": "en", "status": status, "category": "UTILITY", "id": "1",
            "components": [{"type": "BODY", "text": body}]}  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Template("good", "en", ("a",)), 132000),
        (Template("good", "pt", ("a", "b")), 132001),
        (Template("none", "en"), 132001),
        (Template("waiting", "en", ("a", "b")), 132001),
        (Template("paused", "en", ("a", "b")), 132015),
        (Template("disabled", "en", ("a", "b")), 132016),
        (Template("good", "en", ("a" * 900, "b" * 200)), 132005),
    ],
)
def test_a_template_that_whatsapp_would_refuse_is_refused_by_us_first(wanted: Template, code: int) -> None:
    found = Templates()
    statuses = {"good": "APPROVED", "waiting": "PENDING", "paused": "PAUSED", "disabled": "DISABLED"}
    found.synced("waba", [template(n, s) for n, s in statuses.items()], NOW)
    with pytest.raises(SendFault) as caught:
        found.check(wanted)
    assert (caught.value.kind, caught.value.code) == ("template", code)
    found.check(Template("good", "en", ("a", "b")))


def test_a_template_is_paused_and_approved_by_web_hooks() -> None:
    found = Templates()
    found.synced("waba", [template("good")], NOW)
    about = {"message_template_name": "good", "message_template_language": "en"}
    found.event(event("message_template_status_update", event="PAUSED", reason="LOW_QUALITY", **about), NOW + 1)
    with pytest.raises(SendFault, match="LOW_QUALITY"):
        found.check(Template("good", "en", ("a", "b")))
    found.event(event("message_template_status_update", event="APPROVED", reason="NONE", **about), NOW + 2)
    found.check(Template("good", "en", ("a", "b")))
    found.event(event("template_category_update", new_category="MARKETING", **about), NOW + 3)
    assert found.category(Template("good", "en"), "utility") == "marketing"


def test_before_the_first_sync_no_template_is_refused() -> None:
    Templates().check(Template("anything", "en"))


def test_a_template_that_is_gone_is_refused() -> None:
    found = Templates()
    found.synced("waba", [template("good"), template("old")], NOW)
    found.synced("waba", [template("good")], NOW + 1)
    with pytest.raises(SendFault, match="deleted"):
        found.check(Template("old", "en", ("a", "b")))


def test_a_conversation_in_portuguese_takes_the_template_that_there_is_in_portuguese() -> None:
    made = Templates()
    told = [{"name": "hi", "language": code, "status": status, "components": []}
            for code, status in (("en_US", "APPROVED"), ("pt_BR", "REJECTED"), ("pt_PT", "APPROVED"))]  # fmt: skip
    made.synced("waba", told, NOW)
    assert made.meant(Template("hi", "pt")).language == "pt_PT"
    assert made.meant(Template("hi", "pt_BR")).language == "pt_BR"
    assert made.meant(Template("hi", "es")).language == "es"
