"""The drill `integrations` on the school's own flow: it passes, and it fails where a system has an effect twice."""

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


async def tried(folder: Path, declared: str = "") -> tuple[Section, dict[str, Outcome], str]:
    """The school with a simulated model. No test waits for its answers a short time: machines stall."""
    shutil.copytree(EXAMPLES / "school", folder)
    text = (folder / "app.toml").read_text() + declared
    text = text.replace('"local"', '"simulated"').replace('"qwen2.5-coder-1.5b"', '"small"')
    text = text.replace("reproducible = true\n", "").replace("answer_ms_p95 = 40000", "answer_ms_p95 = 80000")
    (folder / "app.toml").write_text(re.sub(r"(\[trial\]\ndrills = ).*", r'\1["integrations"]', text))
    built = build(folder, model_digests={}, known_drills=DRILLS)
    line = await run_trial(Order(built.app, built.manifest, built.spec_record, folder), short=True, quiet=True)
    section = next(s for s in line.sections if s.drill == "integrations")
    assert section.state == "ran", section.reason + section.detail
    said = "\n".join(f"{v.outcome} {v.name}: {v.reason}" for v in section.verdicts)
    return section, {v.name: v.outcome for v in section.verdicts}, said


async def test_every_connector_in_every_state_and_killed_does_its_work_once(tmp_path: Path) -> None:
    section, found, said = await tried(tmp_path / "app")
    assert set(found.values()) == {Outcome.PASS}, said
    assert len(found) == 2 * (6 + 3) + 2
    facts = {f.name: f.text for f in section.facts}
    assert facts["Played"] == "calendar (caldav), crm (tryton)"
    assert facts["kill -9"] == "6 while an effect was under way, 6 meant"


class Doubles(PlayedCalendar):
    """A calendar that files each visit a second time."""

    def put(self, place: str, name: str, text: str) -> None:
        super().put(place, name, text)
        super().put(place, f"{len(self.entries[place])}.ics", text)  # no name of ours: the connector removes those


async def test_a_system_that_has_effects_twice_and_a_kind_that_cannot_be_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(played.PLAYED, "caldav", Doubles)
    _, found, said = await tried(tmp_path / "app", '\n[connectors.people]\nkind = "ldap"\nbase = "dc=example"\n')
    assert found["calendar: healthy"] is Outcome.FAIL, said
    assert found["calendar: kill -9 done, not answered"] is Outcome.FAIL, said
    assert found[EFFECTS] is Outcome.FAIL, said
    assert found["people: not played"] is Outcome.INCONCLUSIVE, said
    assert "calendar has book 2 times" in said
