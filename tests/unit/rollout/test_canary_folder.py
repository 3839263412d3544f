"""[canary] and [shadow] of app.toml: what is read, and every mistake."""

from pathlib import Path

import pytest
from app_folders import checked, mistakes, write

from waterline.core.canary import Canary, Shadow

APP = 'name = "x"\n[models.main]\nprovider = "openai"\nmodel = "gpt-4o-mini"\n'


def test_both_are_read_into_the_environment_record_and_not_into_the_release(tmp_path: Path) -> None:
    said = (
        '[objectives]\nanswer_ms_p95 = 4000\n[canary]\nsteps = ["10%", "100%"]\nleast_sessions = 50\n'
        'quality = ["feedback"]\nusd_per_request = 0.02\ncost_margin = 0.2\nslow_margin = 0.03\n'
        "[shadow]\nusd_per_day = 1.5\nqueue = 10\n"
    )
    plain = checked(write(tmp_path / "a", {"app.toml": APP}))
    found = checked(write(tmp_path / "b", {"app.toml": APP + said}))
    assert found.spec.canary == Canary(
        steps=("10%", "100%"), least_sessions=50, quality=("feedback",), nano_usd_per_request=20_000_000,
        cost_margin=0.2, slow_margin=0.03,
    )  # fmt: skip
    assert found.spec.canary.steps_bp == (1000, 10_000)
    assert found.spec.shadow == Shadow(nano_usd_per_day=1_500_000_000, queue=10)
    assert found.release == plain.release
    assert (plain.spec.canary, plain.spec.shadow) == (Canary(), Shadow())


@pytest.mark.parametrize(
    ("table", "line", "problem"),
    [
        ('[canary]\nsteps = ["5%", "x", "100%"]', 6, "is no share"),
        ('[canary]\nsteps = ["5", "100%"]', 6, "is no share"),
        ('[canary]\nsteps = ["50%", "25%", "100%"]', 6, "no more than the step before"),
        ('[canary]\nsteps = ["5%", "25%"]', 6, "the last step is"),
        ("[canary]\nsteps = []", 6, "there is no step"),
        ("[canary]\nalpha = 0.9", 6, "at most 0.5"),
        ('[canary]\non_unknown = "wait"', 6, "it is one of hold, rollback"),
        ("[canary]\nslow_margin = 0.1", 6, "no latency is declared"),
        ("[canary]\ncost_margin = 0.1", 6, "no cap is declared"),
        ('[canary]\nquality = ["feedback", "feedback"]', 6, "is there twice"),
        ('[canary]\nquality = ["judge.tone"]', 6, "there is no judge of the name"),
        ("[canary]\nstep = 1", 6, "unknown key"),
        ("[shadow]\nqueue = 0", 6, "at least 1"),
    ],
)
def test_each_mistake_is_told_with_its_line(tmp_path: Path, table: str, line: int, problem: str) -> None:
    found = mistakes(write(tmp_path, {"app.toml": f"{APP}{table}\n"}))
    assert [(m.line, problem in m.problem) for m in found] == [(line, True)], found
