"""router.json: part of the release by value, and bound to the models that it was learned with."""

from pathlib import Path

import msgspec
import pytest
from app_folders import APP, DIGESTS, DRILLS, checked, good, mistakes, write

from waterline.core.difficulty import NAMES, VERSION, Difficulty
from waterline.core.release import behaviour_digest, encode_release, parse_release
from waterline.rollout.check import check
from waterline.rollout.diff import diff

ROUTED = APP.replace("[retention]", '[routing]\nsmall = "spare"\n[retention]')


def learned(folder: Path, **changes: object) -> str:
    """A router.json for the folder as it is."""
    digest = behaviour_digest(checked(folder).release, ("main", "spare"))
    made = Difficulty(VERSION, (0.0,) * len(NAMES), -1.0, 0.5, routes=digest)
    return msgspec.json.encode(msgspec.structs.replace(made, **changes)).decode()


def test_a_learned_router_is_part_of_the_release_by_value(tmp_path: Path) -> None:
    folder = good(tmp_path, **{"app.toml": ROUTED})
    before = checked(folder)
    assert any("nothing is learned yet" in warning for warning in before.warnings)
    write(folder, {"router.json": learned(folder)})
    after = checked(folder)
    assert after.release.routing.learned is not None
    assert encode_release(after.release) != encode_release(before.release)
    assert parse_release(encode_release(after.release)) == after.release
    assert any(d.path.startswith("routing learned") for d in diff(before.release, after.release))
    assert check(folder, model_digests=DIGESTS, known_drills=DRILLS, learned=False).release == before.release


def test_a_router_learned_with_another_model_or_prompt_must_be_learned_again(tmp_path: Path) -> None:
    folder = good(tmp_path, **{"app.toml": ROUTED})
    write(folder, {"router.json": learned(folder)})
    write(folder, {"app.toml": ROUTED.replace("rpm = 600", "rpm = 60")})
    assert mistakes(folder) == []  # a limit changes no answer
    write(folder, {"prompts/handbook.md": "Grade 3 costs 800 EUR."})
    (found,) = mistakes(folder)
    assert found.file == "router.json"
    assert "waterline router train" in found.remedy


@pytest.mark.parametrize(
    ("change", "says"),
    [({"version": 99}, "version 99"), ({"weights": (1.0,)}, "version"), ({"routes": "x"}, "was learned with another")],
)
def test_a_router_of_another_kind_is_a_mistake(tmp_path: Path, change: dict[str, object], says: str) -> None:
    folder = good(tmp_path, **{"app.toml": ROUTED})
    write(folder, {"router.json": learned(folder, **change)})
    assert any(says in m.problem for m in mistakes(folder))
    write(folder, {"router.json": "{}"})
    assert any("is no learned router" in m.problem for m in mistakes(folder))
    write(folder, {"router.json": "x", "app.toml": APP})
    assert any("names no small route" in m.problem for m in mistakes(folder))
