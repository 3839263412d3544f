"""The content address: what changes a release's id and what does not; and how two releases differ, for people."""

import os
import shutil
from pathlib import Path

import pytest
from app_folders import AGENT, APP, CASES, DIGESTS, DRILLS, GOOD, TOOL, good, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waterline.core.app_spec import parse_spec
from waterline.core.release import encode_release, parse_release, release_id
from waterline.rollout.build import Built, build

PROPERTY = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def built(folder: Path) -> Built:
    return build(folder, model_digests=DIGESTS, known_drills=DRILLS)


def built_with(folder: Path, **changes: str | bytes) -> Built:
    shutil.rmtree(folder, ignore_errors=True)
    return built(good(folder, **changes))


def test_the_id_is_the_digest_of_the_manifest_and_the_manifest_reads_back(tmp_path: Path) -> None:
    found = built(good(tmp_path))
    assert found.release_id == release_id(found.manifest)
    release = parse_release(found.manifest)
    assert encode_release(release) == found.manifest
    assert release.routes["spare"].digest == DIGESTS["qwen2.5-coder-1.5b"]
    assert parse_spec(found.spec_record).limits.rpm == 600


@PROPERTY
@given(order=st.permutations(sorted(GOOD)), age=st.integers(0, 2_000_000_000), where=st.text("abc", min_size=1))
def test_order_dates_and_place_of_the_files_do_not_change_the_id(
    tmp_path: Path, order: list[str], age: int, where: str
) -> None:
    expected = built_with(tmp_path / "here")
    other = tmp_path / "there" / where
    shutil.rmtree(other, ignore_errors=True)
    for name in order:
        write(other, {name: GOOD[name]})
        os.utime(other / name, (age, age))
    assert built(other).release_id == expected.release_id


@PROPERTY
@given(
    noise=st.text(st.characters(codec="utf-8", exclude_characters="{}\r\n"), min_size=1, max_size=8), at=st.integers(0)
)
def test_any_text_put_into_a_prompt_changes_the_id(tmp_path: Path, noise: str, at: int) -> None:
    for file, whole in (("prompts/agent.md", AGENT), ("prompts/handbook.md", GOOD["prompts/handbook.md"])):
        body = whole.index("You answer") if file == "prompts/agent.md" else 0
        end = len(whole) if file == "prompts/handbook.md" else whole.index("{{today}}")
        cut = body + at % (end - body)
        changed = built_with(tmp_path / "a", **{file: whole[:cut] + noise + whole[cut:]})
        assert changed.release_id != built_with(tmp_path / "b").release_id


@PROPERTY
@given(noise=st.binary(min_size=1, max_size=8), file=st.sampled_from(["tools/book_visit.py", "flows/visit.txt"]))
def test_any_byte_of_tool_code_or_of_a_flow_changes_the_id(tmp_path: Path, noise: bytes, file: str) -> None:
    changed = built_with(tmp_path / "a", **{file: GOOD[file].encode() + noise})
    assert changed.release_id != built_with(tmp_path / "b").release_id


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"gpt-4o-mini"\n', '"gpt-4o"\n'),
        ("temperature = 0.2", "temperature = 0.3"),
        ("top_p = 1", "top_p = 1.0"),
        ("max_tokens = 64", "max_tokens = 65"),
        ("max_tokens = 64", "max_tokens = 64\nretries = 2"),
        ("max_tokens = 64", 'max_tokens = 64\nbase_url = "https://host/v1"'),
        ('answers_to = ["gpt-4o-mini"]', ""),
        ("reproducible = true", ""),
        ('"qwen2.5-coder-1.5b"', '"smollm2-135m"'),
        ('prompt = "agent"', 'prompt = "handbook"'),
        ("[limits]", '[models.third]\nprovider = "openai"\nmodel = "gpt-5"\n[limits]'),
        ('"Answers parents"', '"Answers"'),
    ],
)
def test_any_model_route_or_parameter_changes_the_id(tmp_path: Path, old: str, new: str) -> None:
    assert old in APP
    changed = built_with(tmp_path / "a", **{"app.toml": APP.replace(old, new, 1)})
    assert changed.release_id != built_with(tmp_path / "b").release_id


def test_the_fields_of_a_schema_keep_their_order_because_models_answer_in_it(tmp_path: Path) -> None:
    app = APP.replace("max_tokens = 64", 'response_schema = "a.json"')
    one = '{"type": "object", "properties": {"why": {"type": "string"}, "answer": {"type": "string"}}}'
    two = '{"type": "object", "properties": {"answer": {"type": "string"}, "why": {"type": "string"}}}'
    ids = set()
    for schema, order in ((one, ["why", "answer"]), (two, ["answer", "why"])):
        found = built_with(tmp_path / "a", **{"app.toml": app, "a.json": schema})
        told = parse_release(found.manifest).routes["main"].params["response_format"]["json_schema"]["schema"]
        assert list(told["properties"]) == order
        ids.add(found.release_id)
    assert len(ids) == 2


def test_the_order_of_tables_and_of_parameters_in_app_toml_does_not_change_the_id(tmp_path: Path) -> None:
    swapped = APP.replace("temperature = 0.2, top_p = 1", "top_p = 1, temperature = 0.2")
    main, spare = APP.index("[models.main]"), APP.index("[models.spare]")
    limits = APP.index("[limits]")
    moved = APP[:main] + APP[spare:limits] + APP[main:spare] + APP[limits:]
    expected = built_with(tmp_path / "a").release_id
    for text in (swapped, moved):
        assert built_with(tmp_path / "b", **{"app.toml": text}).release_id == expected


@pytest.mark.parametrize(
    "change",
    [
        {"tools/book_visit.json": TOOL.replace("Books a visit", "Books one")},
        {"tools/book_visit.json": TOOL.replace('"write"', '"read"')},
        {"prompts/agent.md": AGENT.replace("office@", "desk@")},
        {"prompts/agent.md": AGENT.replace('"system"', '"developer"')},
        {"tools/more.py": ""},
    ],
)
def test_a_contract_a_default_a_role_or_a_new_file_changes_the_id(tmp_path: Path, change: dict[str, str]) -> None:
    assert built_with(tmp_path / "a", **change).release_id != built_with(tmp_path / "b").release_id


@pytest.mark.parametrize(
    ("change", "new_record"),
    [
        ({"app.toml": APP.replace("rpm = 600", "rpm = 601")}, True),
        ({"app.toml": APP.replace("5.00", "6.00")}, True),
        ({"app.toml": APP.replace("availability = 0.99", "availability = 0.9")}, True),
        ({"app.toml": APP.replace('"quality", "load"', '"load"')}, True),
        ({"prices.toml": GOOD["prices.toml"].replace("0.10", "0.11")}, True),
        ({"app.toml": APP + "# a remark\n"}, False),
        ({"cases/english.jsonl": CASES.split("\n")[0]}, False),
        ({"README.md": "words"}, False),
        ({"tools/.hidden": "x", "tools/__pycache__/x.pyc": "x"}, False),
    ],
)
def test_limits_prices_objectives_and_cases_do_not_change_the_id(
    tmp_path: Path, change: dict[str, str], new_record: bool
) -> None:
    changed, same = built_with(tmp_path / "a", **change), built_with(tmp_path / "b")
    assert changed.release_id == same.release_id
    assert (changed.spec_id != same.spec_id) is new_record


def test_saying_a_default_is_the_same_as_not_saying_it(tmp_path: Path) -> None:
    said = 'max_tokens = 64\nretries = 1\nfirst_token_s = 30\ntotal_s = 120.0\nbase_url = ""\nreproducible = false'
    changed = built_with(
        tmp_path / "a",
        **{
            "app.toml": APP.replace("max_tokens = 64", said),
            "prompts/agent.md": AGENT.replace('role = "system"\n', ""),
        },
    )
    same = built_with(tmp_path / "b")
    assert (changed.release_id, changed.spec_id) == (same.release_id, same.spec_id)
    assert b'"role"' not in same.manifest


@pytest.mark.parametrize("written", ["agent", "agent.md", "prompts/agent.md"])
def test_a_prompt_may_be_named_with_or_without_its_folder(tmp_path: Path, written: str) -> None:
    changed = built_with(tmp_path / "a", **{"app.toml": APP.replace('"agent"', f'"{written}"')})
    assert changed.release_id == built_with(tmp_path / "b").release_id
