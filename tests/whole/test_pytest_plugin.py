"""The pytest plugin, as a build server runs it: pytest in a process of its own over app folders."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from test_eval import folder
from whole_app import Sim

from waterline.providers.simulated_script import Answer, Target

LOADED = any(e.value == "waterline.pytest_plugin" for e in entry_points(group="pytest11"))


def run(where: Path, *words: str, redirect: str = "", as_installed: bool = False) -> subprocess.CompletedProcess[str]:
    """`as_installed`: every plugin is loaded by its entry point, which costs seconds; else ours alone."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("WATERLINE_", "PYTEST_"))}
    environ |= {"WATERLINE_DATA": str(where / "none"), "WATERLINE_REDIRECT_PROVIDERS": redirect}
    environ |= {} if as_installed else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugin = () if as_installed and LOADED else ("-p", "waterline.pytest_plugin")
    command = [sys.executable, "-m", "pytest", *plugin, "-v", "--rootdir", str(where), "-c", str(where / "pytest.ini")]
    return subprocess.run([*command, *words], capture_output=True, text=True, cwd=where, env=environ, timeout=170)


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    folder(tmp_path / "apps" / "good")
    return tmp_path


def test_without_its_options_an_app_folder_is_no_test(apps: Path) -> None:
    done = run(apps, "apps")
    assert done.returncode == 5, done.stdout  # pytest's word for: nothing collected


def test_a_release_that_holds_passes_and_one_that_does_not_fails_with_the_summary(sim: Sim, apps: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True)))
    folder(apps / "apps" / "short", "max_tokens = 3")
    done = run(apps, "--waterline-eval", "--junitxml", "j.xml", "apps", redirect=f"{sim.address}/{{route}}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "apps/good/app.toml::eval PASSED" in done.stdout
    assert "apps/short/app.toml::eval FAILED" in done.stdout
    assert "shop: failed" in done.stdout  # the Markdown
    assert "Traceback" not in done.stdout
    properties = {p.get("name"): p.get("value") for p in ElementTree.parse(apps / "j.xml").iter("property")}
    assert properties["waterline_word"] in ("passed", "failed")
    assert float(str(properties["waterline_low"])) <= float(str(properties["waterline_value"]))
    assert list((apps / "out" / "eval" / "good").glob("*.jsonl"))  # kept, to go on after a crash


def test_an_open_verdict_is_red_unless_it_is_told_to_be_skipped_and_never_green(sim: Sim, apps: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True)))
    made = apps / "apps" / "good"
    (made / "app.toml").write_text((made / "app.toml").read_text().replace("score_min = 0.7", "score_min = 0.99"))
    redirect = f"{sim.address}/{{route}}"
    red = run(apps, "--waterline-eval", "apps", redirect=redirect)
    assert (red.returncode, "1 failed" in red.stdout) == (1, True), red.stdout
    skipped = run(apps, "--waterline-eval", "--waterline-inconclusive", "skip", "apps", redirect=redirect)
    assert (skipped.returncode, "1 skipped" in skipped.stdout) == (0, True), skipped.stdout


def test_an_evaluation_that_cannot_run_is_red_and_says_the_remedy(apps: Path) -> None:
    (apps / "apps" / "good" / "cases" / "all.jsonl").write_text("")
    done = run(apps, "--waterline-eval", "apps", as_installed=True)
    assert done.returncode == 1
    assert "could not run" in done.stdout
    assert "There are no cases" in done.stdout


@pytest.mark.slow
def test_each_required_drill_is_a_test_of_one_trial(sim: Sim, apps: Path) -> None:
    made = apps / "apps" / "good" / "app.toml"
    made.write_text(made.read_text() + '[trial]\ndrills = ["quality", "rollback"]\n')
    asked = run(apps, "--waterline-trial", "--waterline-short", "--collect-only", "-q", "apps")
    assert "trial[quality]" in asked.stdout, asked.stdout
    done = run(apps, "--waterline-trial", "--waterline-short", "-k", "rollback", "apps")
    assert "trial[rollback]" in done.stdout
    assert "1 deselected" in done.stdout
    assert done.returncode in (0, 1)
    assert len(list((apps / "out" / "trial").rglob("*.json"))) == 1, done.stdout
