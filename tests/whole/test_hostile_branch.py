"""The drill `branches`: one branch floods, spends and hangs; the others do not notice, and if they do it says so."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from waterline.core.verdict import Outcome
from waterline.rollout.build import build
from waterline.trials import DRILLS
from waterline.trials.runner import Order, run_trial
from waterline.trials.sea import SHORT

EXAMPLES = Path(__file__).parents[2] / "examples"
PRICES = '[[price]]\nprovider = "simulated"\nmodel = "small"\ninput = 3\noutput = 15\n'


def chain(folder: Path, branches: int) -> Order:
    """The school's own flow, for the branches of a spreadsheet, with a simulated model. No test waits for its answers
    a short time: machines stall."""
    shutil.copytree(EXAMPLES / "school", folder)
    (folder / "branches.toml").unlink()
    text = (folder / "app.toml").read_text()
    text = text.replace('"local"', '"simulated"').replace('"qwen2.5-coder-1.5b"', '"small"')
    text = text.replace("reproducible = true\n", "").replace("answer_ms_p95 = 40000", "answer_ms_p95 = 60000")
    (folder / "app.toml").write_text(re.sub(r"(\[trial\]\ndrills = ).*", r'\1["branches"]', text))
    (folder / "prices.toml").write_text(PRICES)
    command = [sys.executable, str(EXAMPLES / "branches.py"), str(folder / "branches.csv"), "--count", str(branches)]
    subprocess.run(command, check=True, capture_output=True)
    built = build(folder, model_digests={}, known_drills=DRILLS)
    return Order(built.app, built.manifest, built.spec_record, folder)


@pytest.mark.slow
async def test_no_other_branch_misses_its_objective(tmp_path: Path) -> None:
    pace = msgspec.structs.replace(SHORT, branches=6)
    line = await run_trial(chain(tmp_path / "app", 6), short=True, quiet=True, pace=pace)
    section = next(s for s in line.sections if s.drill == "branches")
    said = "\n".join(f"{v.outcome} {v.name}: {v.reason}" for v in section.verdicts)
    assert section.state == "ran", section.reason + section.detail
    found = {v.name: v.outcome for v in section.verdicts}
    # Whether the flood was enough to use up a budget depends on the machine; nobody is hurt by it in any case.
    assert {name for name, o in found.items() if o is not Outcome.PASS} <= {"the hostile branch was hostile"}, said
    shown = dict(zip(section.tables[0].columns, section.tables[0].rows[1], strict=True))
    assert (shown["class"], shown["branches"], shown["acts done"]) == ("others", "5", "15 of 15"), shown


async def test_an_app_of_one_branch_cannot_be_tried_and_is_not_asked_to(tmp_path: Path) -> None:
    order = chain(tmp_path / "app", 1)
    line = await run_trial(order, quiet=True)
    section = next(s for s in line.sections if s.drill == "branches")
    assert (section.state, line.exit_status) == ("could_not_run", 3)
    assert section.reason.startswith("Not applicable: 1 branch of the app has an address")
