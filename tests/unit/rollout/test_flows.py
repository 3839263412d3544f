"""Mistakes in flows/*.toml are told with file, line and what to write instead."""

import re
from pathlib import Path

import pytest
from app_folders import checked, mistakes, write

SCHOOL = Path(__file__).parents[3] / "examples/school"
FLOW = (SCHOOL / "flows/visit.toml").read_text("utf-8")
APP = """name = "x"
[models.understand]
provider = "openai"
model = "gpt-4o-mini"
[models.answer]
provider = "openai"
model = "gpt-4o-mini"
"""
BOOK = "## Fees\n<!-- also: price -->\nThe fee is 10 EUR.\n"


def folder(tmp_path: Path, flow: str = FLOW, **more: str) -> Path:
    return write(tmp_path, {"app.toml": APP, "flows/visit.toml": flow, "knowledge/handbook.md": BOOK, **more})


def test_the_example_s_flow_is_in_the_release_by_value(tmp_path: Path) -> None:
    release = checked(folder(tmp_path)).release
    assert set(release.flows) == {"visit"}
    assert release.handbooks == {"handbook": BOOK}
    assert not [file for file in release.files if file.startswith("flows/")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('languages = ["en", "pt", "es"]', 'languages = ["en", "pt", "fr"]', 'no flow can speak "fr" yet'),
        ('answer = "answer"', 'answer = "anwser"', "there is no route [models.anwser]"),
        ('understand = "understand"', 'reading = "modle"', "modle"),
        ('understand = "understand"', 'reading = "both"', "no route is named that reads"),
        ('kind = "yes_no"', 'kind = "yesno"', "yesno"),
        ('follows = "child_age"', 'follows = "parent_name"', "only a grade follows from a slot of kind age"),
        ("stops = true", "of_person = true", "a slot of kind yes_no is no fact of a person"),
        ('needs = ["child_age", "phone_number", "parent_name"]', 'needs = ["age"]', 'there is no slot "age"'),
        ('hello = "Hello!', 'helo = "Hello!', 'no text is named "helo"'),
        ('hello = "Hello!', 'helo = "Hello!', "[texts.en] has no hello"),
        ("assistant of {branch}", "assistant of {brunch}", "{brunch} is no slot and no fact"),
        ('key = "visit/{conversation}"', 'key = "visit/{talk}"', "{talk} is no slot and no fact"),
        ("ages = [4, 5]", 'ages = "4"', "a grade has no ages"),
        ('kind = "name"', 'kind = "appointment"', "there are two appointments"),
        ("[reminder]\nafter_min = 180", "[reminder]\nafter_min = 18000", "18000"),
        ('[[slot]]\nname = "grade"', '[[slot]]\nname = "child_age"', 'two slots named "child_age"'),
    ],
)
def test_a_mistake_in_a_flow_is_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert FLOW.count(old) >= 1
    found = mistakes(folder(tmp_path, FLOW.replace(old, new, 1)))
    told = [m for m in found if said in m.problem]
    assert told, found
    assert all(m.file == "flows/visit.toml" and m.remedy for m in told)


def test_the_line_of_a_wrong_hole_is_told(tmp_path: Path) -> None:
    flow = FLOW.replace("assistant of {branch}", "assistant of {brunch}", 1)
    line = 1 + next(n for n, text in enumerate(flow.splitlines()) if "{brunch}" in text)
    (mistake,) = mistakes(folder(tmp_path, flow))
    assert mistake.line == line
    assert "branch" in mistake.remedy


def test_a_second_flow_and_a_handbook_without_sections_are_mistakes(tmp_path: Path) -> None:
    found = mistakes(folder(tmp_path, **{"flows/zoo.toml": FLOW, "knowledge/notes.md": "no sections\n"}))
    assert {m.file for m in found} == {"flows/zoo.toml", "knowledge/notes.md"}
    assert re.search("an app has one flow", " ".join(m.remedy for m in found))


def test_a_flow_without_its_handbook_is_warned_of(tmp_path: Path) -> None:
    flow = FLOW.replace('answer = "answer"', 'answer = "answer"\nhandbook = "guide"', 1)
    assert any("knowledge/guide.md" in warning for warning in checked(folder(tmp_path, flow)).warnings)


SYSTEMS = f"""{APP}
[connectors.calendar]
kind = "caldav"
[connectors.crm]
kind = "tryton"
"""


HEAR = '[models.hear]\nprovider = "openai"\nmodel = "whisper-1"\n'


@pytest.mark.parametrize(
    ("route", "table", "said"),
    [
        (HEAR, '[voice]\nroute = "hear"\n', ""),
        (HEAR, '[voice]\nroute = "hera"\n', "there is no route [models.hera]"),
        (HEAR, "[voice]\nlongest_s = 60\n", "route"),
        (HEAR, '[voice]\nroute = "hear"\nlongest_s = 601\n', "longest_s"),
        (HEAR, '[voice]\nroute = "hear"\nmodel = "x"\n', "model"),
        (HEAR.replace("openai", "anthropic"), '[voice]\nroute = "hear"\n', "which writes down no recordings"),
        (HEAR + "embeddings = true\n", '[voice]\nroute = "hear"\n', "it has a prompt, or embeddings"),
    ],
)
def test_a_route_for_voice_notes_is_one_that_hears(tmp_path: Path, route: str, table: str, said: str) -> None:
    flow = f"{FLOW}\n{table}"
    found = mistakes(folder(tmp_path, flow, **{"app.toml": f"{APP}\n{route}"}))
    assert any(said in m.problem and m.remedy and m.line for m in found) if said else not found, found


def test_the_example_s_flow_fits_the_systems_that_it_names(tmp_path: Path) -> None:
    warnings = checked(folder(tmp_path, **{"app.toml": SYSTEMS})).warnings
    assert not [warning for warning in warnings if "flows" in warning or "knowledge" in warning]


def test_without_connected_systems_a_flow_is_warned_of(tmp_path: Path) -> None:
    assert any("app.toml declares no [connectors.<name>]" in warning for warning in checked(folder(tmp_path)).warnings)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('connector = "calendar"', 'connector = "calender"', "there is no [connectors.calender]"),
        ('operation = "upsert_lead"', 'operation = "insert_lead"', 'crm has no operation "insert_lead"'),
        ('operation = "free_slots"', 'operation = "cancel"', "cancel changes something"),
        ('when = "confirmed"', 'when = "known"', "book asks first"),
        ('start = "{start}"\ntitle', 'at = "{start}"\ntitle', "book takes no at"),
        ('start = "{start}"\ntitle', 'at = "{start}"\ntitle', "book needs start"),
    ],
)
def test_what_a_system_does_not_offer_is_a_mistake(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FLOW
    found = mistakes(folder(tmp_path, FLOW.replace(old, new, 1), **{"app.toml": SYSTEMS}))
    assert any(said in m.problem and m.line and m.remedy for m in found), found
