"""The load line's JSON is a public format."""

import json
from pathlib import Path

import msgspec
from made_lines import RELEASE, SPEC, failing, line_of, passing, stuck

from waterline.core.app_spec import Limits, Objectives
from waterline.trials.load_line import digest, expired
from waterline.trials.report import write

TOP = {
    "format", "app", "release", "spec_id", "objectives_id", "owner", "purpose", "short", "seed", "cases", "case_set",
    "made_at", "seconds", "machine", "versions", "exit_status", "answer", "because", "sections", "rows", "declared",
    "models", "digest",
}  # fmt: skip
SECTION = {
    "drill", "required", "state", "reason", "verdicts", "facts", "tables", "curves", "excludes", "seconds",
    "calls_real", "calls_simulated", "detail", "outcome",
}  # fmt: skip
VERDICT = {"target", "name", "outcome", "value", "reason", "judge", "more_cases", "provider", "unit", "threshold"}
ESTIMATE = {"value", "low", "high", "n", "confidence", "method"}
ROW = {"name", "figure", "evidence", "owner", "excludes", "outcome", "provider"}


def test_fields_are_never_renamed_or_removed() -> None:
    document = line_of(passing()).document()
    assert set(document) == TOP
    assert document["format"] == 1
    assert all(set(s) == SECTION for s in document["sections"])
    verdicts = [v for s in document["sections"] for v in s["verdicts"]]
    assert all(set(v) == VERDICT for v in verdicts)
    assert all(set(v["value"]) == ESTIMATE for v in verdicts if v["value"])
    assert all(set(r) == ROW for r in document["rows"])
    assert set(document["machine"]) == {"cpus", "cpu", "memory_gb", "system", "load_average", "others_share"}


def test_the_file_is_strict_json_that_its_digest_covers(tmp_path: Path) -> None:
    paths = write(line_of(failing()), tmp_path)

    def no_constant(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    document = json.loads(paths.json.read_text(encoding="utf-8"), parse_constant=no_constant)
    assert document["digest"] == digest(document)
    document["exit_status"] = 0
    assert document["digest"] != digest(document)
    assert (paths.html.name, paths.json.name) == ("load-line.html", "load-line.json")


def test_it_names_the_release_and_not_the_manifest() -> None:
    document = line_of(passing()).document()
    assert document["release"] == RELEASE
    assert "manifest" not in document


def test_it_expires_when_the_release_or_the_objectives_change_and_only_then() -> None:
    document = line_of(passing()).document()
    assert not expired(document, RELEASE, SPEC)
    assert expired(document, "00" * 32, SPEC)
    assert expired(document, RELEASE, msgspec.structs.replace(SPEC, objectives=Objectives(availability=0.9)))
    assert not expired(document, RELEASE, msgspec.structs.replace(SPEC, limits=Limits(rpm=1)))


def test_the_summary_says_each_drill_in_a_word() -> None:
    said = line_of(stuck()).summary()
    assert said["drills"]["quality"] == "could_not_run"
    assert said["drills"]["load"] == "pass"
    assert (said["answer"], said["exit_status"]) == ("COULD NOT RUN", 3)
