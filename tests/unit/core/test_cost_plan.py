"""The part of the bill below the water: unknown is never zero, and a total that leaves one out says so."""

import pytest

from waterline.core.cost_plan import EXPECTED, PlanError, read_plan
from waterline.core.money import NANO

ALL = "".join(f'[[item]]\nkind = "{kind}"\nusd_per_month = 10\n' for kind in EXPECTED)


def test_a_plan_in_which_everything_is_known_has_exact_totals():
    plan = read_plan(ALL)
    assert (plan.month.nano_usd, plan.month.at_least) == (10 * len(EXPECTED) * NANO, False)
    assert plan.first_year.nano_usd == 12 * plan.month.nano_usd


def test_what_nobody_declared_is_unknown_and_the_total_says_at_least():
    plan = read_plan('[[item]]\nkind = "audit"\nusd_once = 900\n')
    missing = [i for i in plan.items if i.month_nano_usd is None]
    assert {i.kind for i in missing} == set(EXPECTED) - {"audit"}
    assert all("not in the plan" in i.unknown for i in missing)
    assert plan.month.at_least
    assert plan.once.nano_usd == 900 * NANO


def test_unknown_as_a_word_is_unknown_not_zero():
    plan = read_plan(ALL + '[[item]]\nname = "Lawyer"\nusd_once = "unknown"\n')
    lawyer = next(i for i in plan.items if i.name == "Lawyer")
    assert (lawyer.once_nano_usd, lawyer.unknown) == (None, "usd_once is unknown")
    assert plan.once.at_least
    assert not plan.month.at_least


def test_hours_rates_units_and_counts_add_up():
    plan = read_plan(
        "[rates]\nengineer = 60\nnight = 90.5\n" + ALL + '[[item]]\nkind = "integration"\nname = "CRM"\ncount = 3\n'
        'hours_once = 40\nhours_per_month = 2\nrate = "engineer"\nusd_per_month = 5\n'
        '[[item]]\nkind = "channel"\nname = "WhatsApp"\nunits_per_month = 1000\nusd_per_unit = 0.0085\n'
    )
    crm = next(i for i in plan.items if i.name == "CRM")
    assert (crm.once_nano_usd, crm.month_nano_usd) == (7200 * NANO, 375 * NANO)
    assert next(i for i in plan.items if i.kind == "channel").month_nano_usd == 8_500_000_000


def test_an_unknown_rate_makes_its_hours_unknown():
    plan = read_plan(
        '[rates]\nnight = "unknown"\n' + ALL + '[[item]]\nname = "x"\nhours_per_month = 8\nrate = "night"\n'
    )
    assert next(i for i in plan.items if i.name == "x").month_nano_usd is None
    assert plan.month.at_least


def test_an_item_without_a_figure_is_unknown():
    plan = read_plan(ALL + '[[item]]\nname = "Something"\n')
    assert plan.first_year.at_least
    assert plan.first_year.unknown == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[item]", "TOML syntax"),
        ("item = 3", "not a list of tables"),
        ('[[item]]\nname = "x"\nusd_per_mont = 3', 'unknown key "usd_per_mont"'),
        ('[[item]]\nkind = "magic"\nusd_once = 1', 'no kind "magic"'),
        ('[[item]]\nname = "x"\nusd_once = -1', "not between 0"),
        ('[[item]]\nname = "x"\nusd_once = "lots"', "is no number"),
        ('[[item]]\nname = "x"\nusd_once = true', "is no number"),
        ('[[item]]\nname = "x"\nhours_once = 1', "needs rate"),
        ('[[item]]\nname = "x"\nunits_per_month = 1', "belong together"),
        ("[[item]]\nusd_once = 1", "no name and no kind"),
        ("[other]", 'unknown key "other"'),
    ],
)
def test_every_mistake_says_where_and_what_to_write(text, problem):
    with pytest.raises(PlanError, match=problem):
        read_plan(text)
