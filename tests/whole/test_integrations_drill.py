"""The drill `integrations` on the school's own flow: it passes, and it fails where a system has an effect twice."""

import json
import re
import shutil
from pathlib import Path

import pytest

from waterline.core.verdict import Outcome
from waterline.rollout.build import build
from waterline.trials import DRILLS, played
from waterline.trials.drills.integrations_found import EFFECTS
from waterline.trials.load_line import Section
from waterline.trials.played.caldav import PlayedCalendar
from waterline.trials.runner import Order, run_trial

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"


MORE = """
[connectors.people]
kind = "ldap"
base = "dc=example"

[connectors.enrolment]
kind = "openapi"
spec = "enrolment.json"
[connectors.enrolment.writes.enrol]
once = "native"

[connectors.hook]
kind = "webhook"
"""
ACTIONS = """[[action]]
name = "enrol"
connector = "enrolment"
operation = "enrol"
when = "known"
needs = ["child_age", "phone_number", "parent_name"]
key = "enrol/{conversation}"
quiet = true
[action.arguments]
name = "{parent_name}"

[[action]]
name = "tell"
connector = "hook"
operation = "send"
when = "known"
needs = ["phone_number"]
key = "tell/{conversation}"
quiet = true
[action.arguments]
event = "lead"

[[action]]
name = "lead"
"""
NAME = {"name": "name", "in": "query", "required": True, "schema": {"type": "string"}}
ENROLMENT = {
    "openapi": "3.1.0", "info": {"title": "Enrolment", "version": "1"},
    "paths": {"/leads": {"post": {"operationId": "enrol", "parameters": [NAME], "responses": {"201": {}}}}},
}  # fmt: skip


async def tried(folder: Path, declared: str = "") -> tuple[Section, dict[str, Outcome], str]:
    """The school with a simulated model. No test waits for its answers a short time: machines stall."""
    shutil.copytree(EXAMPLES / "school", folder)
    text = (folder / "app.toml").read_text() + declared
    text = text.replace('"local"', '"simulated"').replace('"qwen2.5-coder-1.5b"', '"small"')
    text = text.replace("reproducible = true\n", "").replace("answer_ms_p95 = 40000", "answer_ms_p95 = 80000")
    (folder / "app.toml").write_text(re.sub(r"(\[trial\]\ndrills = ).*", r'\1["integrations"]', text))
    if declared:
        (folder / "enrolment.json").write_text(json.dumps(ENROLMENT))
        flow = (folder / "flows/visit.toml").read_text()
        (folder / "flows/visit.toml").write_text(flow.replace('[[action]]\nname = "lead"\n', ACTIONS, 1))
    built = build(folder, model_digests={}, known_drills=DRILLS)
    line = await run_trial(Order(built.app, built.manifest, built.spec_record, folder), short=True, quiet=True)
    section = next(s for s in line.sections if s.drill == "integrations")
    assert section.state == "ran", section.reason + section.detail
    said = "\n".join(f"{v.outcome} {v.name}: {v.reason}" for v in section.verdicts)
    return section, {v.name: v.outcome for v in section.verdicts}, said


async def test_every_connector_in_every_state_and_killed_does_its_work_once(tmp_path: Path) -> None:
    section, found, said = await tried(tmp_path / "app")
    assert set(found.values()) == {Outcome.PASS}, said
    assert len(found) == 2 * (6 + 3) + 3
    facts = {f.name: f.text for f in section.facts}
    assert facts["Played"] == "calendar (caldav), crm (tryton)"
    assert facts["kill -9"] == "6 while an effect was under way, 6 meant"


class Doubles(PlayedCalendar):
    """A calendar that files each visit a second time."""

    def put(self, place: str, name: str, text: str) -> None:
        super().put(place, name, text)
        super().put(place, f"{len(self.entries[place])}.ics", text)  # no name of ours: the connector removes those


async def test_a_system_that_has_effects_twice_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(played.PLAYED, "caldav", Doubles)
    _, found, said = await tried(tmp_path / "app")
    assert found["calendar: healthy"] is Outcome.FAIL, said
    assert found["calendar: kill -9 done, not answered"] is Outcome.FAIL, said
    assert found[EFFECTS] is Outcome.FAIL, said
    assert "calendar has book 2 times" in said


async def test_rest_systems_and_web_hooks_are_played_and_a_directory_is_not(tmp_path: Path) -> None:
    section, found, said = await tried(tmp_path / "app", MORE)
    assert {name for name, o in found.items() if o is not Outcome.PASS} == {"people: not played"}, said
    assert section.outcome is Outcome.INCONCLUSIVE
    for name in ("calendar", "crm", "enrolment", "hook"):
        assert sum(n.startswith(f"{name}: ") for n in found) == 6 + 3, said
