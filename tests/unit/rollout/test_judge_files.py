"""judges/*.md and [judges.<name>]: what they become, and every mistake in one with its file and line."""

from pathlib import Path

import msgspec
import pytest
from app_folders import DIGESTS, GOOD, checked, mistakes, write

from waterline.core.app_spec import encode_spec, parse_spec
from waterline.core.judge import is_pinned, judge_id, question_id
from waterline.rollout.build import build

JUDGE = """\
+++
question = "Is it right?"
provider = "openai"
model = "gpt-4o-mini-2024-07-18"
+++
Right (yes) when it says what is expected.

Asked: {{input}}
Expected: {{expected}}
Answer: {{answer}}
"""
LOCAL = JUDGE.replace('provider = "openai"\nmodel = "gpt-4o-mini-2024-07-18"', 'route = "spare"')
TONE = """\
+++
question = "Is it polite?"
provider = "openai"
model = "gpt-4o-mini-2024-07-18"
max_tokens = 100
+++
Polite? {{answer}}
"""
CASE = '{"id": "c", "input": "How?", "expect": {"judge": {"right": {"expected": "790"}}}}\n'


def folder(tmp_path: Path, **files: str) -> Path:
    told = {name.replace("__", "/").replace("_md", ".md").replace("_toml", ".toml"): t for name, t in files.items()}
    return write(tmp_path, {**GOOD, **told})


def test_a_judge_is_in_the_environment_record_and_never_in_the_release(tmp_path: Path) -> None:
    plain = build(write(tmp_path / "plain", GOOD), model_digests=DIGESTS, known_drills=("quality", "load"))
    more = {**GOOD, "judges/right.md": JUDGE, "cases/judged.jsonl": CASE}
    made = build(write(tmp_path / "more", more), model_digests=DIGESTS, known_drills=("quality", "load"))
    assert made.release_id == plain.release_id
    assert made.spec_id != plain.spec_id
    judge = parse_spec(made.spec_record).judges["right"]
    assert judge.question == "Is it right?"
    assert judge.route.params == {"temperature": 0.0}
    assert judge.route.max_tokens == 256
    assert judge.sample == 0.0


def test_a_records_bytes_stay_the_same_where_no_judge_is_declared(tmp_path: Path) -> None:
    spec = checked(write(tmp_path, GOOD)).spec
    assert b"judges" not in encode_spec(spec)


def test_another_prompt_model_question_or_parameter_is_another_judge_and_another_sample_is_not(tmp_path: Path) -> None:
    judge = checked(folder(tmp_path, judges__right_md=JUDGE)).spec.judges["right"]
    replace = msgspec.structs.replace
    others = [
        replace(judge, text=judge.text + " "), replace(judge, question="Is it polite?"),
        replace(judge, route=replace(judge.route, model="gpt-4o-mini-2025-01-01")),
        replace(judge, route=replace(judge.route, params={"temperature": 0.1})), replace(judge, scale="pairwise"),
    ]  # fmt: skip
    assert len({judge_id(judge), *(judge_id(other) for other in others)}) == 6
    same = replace(judge, sample=0.5, route=replace(judge.route, total_s=9.0))
    assert judge_id(same) == judge_id(judge)
    assert question_id(judge) == question_id(replace(judge, text="other"))


def test_a_route_is_taken_by_value_with_the_digest_of_its_weights(tmp_path: Path) -> None:
    judge = checked(folder(tmp_path, judges__right_md=LOCAL)).spec.judges["right"]
    assert (judge.route.provider, judge.route.digest) == ("local", DIGESTS["qwen2.5-coder-1.5b"])
    assert is_pinned(judge, "whatever the process calls itself")


def test_the_pinned_model_is_the_one_that_answers(tmp_path: Path) -> None:
    judge = checked(folder(tmp_path, judges__right_md=JUDGE)).spec.judges["right"]
    assert is_pinned(judge, "gpt-4o-mini-2024-07-18")
    assert is_pinned(judge, "")  # a provider that does not say
    assert not is_pinned(judge, "gpt-4o-mini-2025-01-01")


def test_a_share_of_live_answers_and_its_budget_are_read(tmp_path: Path) -> None:
    more = GOOD["app.toml"] + '\n[judges.tone]\nsample = "2.5%"\nusd_per_day = 0.50\n'
    judge = checked(folder(tmp_path, judges__tone_md=TONE, app_toml=more)).spec.judges["tone"]
    assert (judge.sample, judge.nano_usd_per_day) == (0.025, 500_000_000)


def test_a_model_without_a_date_is_warned_of(tmp_path: Path) -> None:
    undated = JUDGE.replace("-2024-07-18", "")
    assert any("has no date" in w for w in checked(folder(tmp_path, judges__right_md=undated)).warnings)


SAMPLED = GOOD["app.toml"] + '\n[judges.tone]\nsample = "5%"\n'


@pytest.mark.parametrize(
    ("files", "file", "line", "problem"),
    [
        ({"judges__right_md": "no front matter"}, "judges/right.md", 1, "no front matter"),
        ({"judges__right_md": JUDGE.replace('question = "Is it right?"\n', "")}, "judges/right.md", 1, '"question"'),
        ({"judges__right_md": JUDGE.replace("{{answer}}", "")}, "judges/right.md", 6, "no {{answer}}"),
        ({"judges__right_md": JUDGE.replace("{{input}}", "{{inputs}}")}, "judges/right.md", 8, "{{inputs}}"),
        ({"judges__right_md": LOCAL.replace("spare", "spar")}, "judges/right.md", 3, 'no route "spar"'),
        ({"judges__right_md": LOCAL.replace("spare", "main")}, "judges/right.md", 3, "has a prompt of its own"),
        ({"judges__right_md": JUDGE.replace('model = "gpt-4o-mini-2024-07-18"\n', "")}, "judges/right.md", 1, "model"),
        ({"judges__right_md": JUDGE.replace("openai", "local")}, "judges/right.md", 4, "no local model"),
        ({"judges__Right_md": JUDGE}, "judges/Right.md", 0, "not a good name"),
        ({"cases__j.jsonl": CASE}, "cases/j.jsonl", 1, 'no judge "right"'),
        (
            {"judges__right_md": JUDGE, "cases__j.jsonl": CASE.replace('"expected": "790"', "")},
            "cases/j.jsonl", 1, 'needs "expected"',
        ),
        ({"app_toml": SAMPLED}, "app.toml", 0, "no judges/tone.md"),
        ({"app_toml": SAMPLED.replace("5%", "5"), "judges__tone_md": TONE}, "app.toml", 0, 'sample is "5"'),
        (
            {"app_toml": SAMPLED, "judges__tone_md": TONE + "{{expected}}"},
            "app.toml", 0, "live answers come without",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_judge_is_told_with_its_place(
    tmp_path: Path, files: dict[str, str], file: str, line: int, problem: str
) -> None:
    told = mistakes(folder(tmp_path, **files))
    found = [m for m in told if m.file == file and problem in m.problem]
    assert found, told
    assert not line or found[0].line == line
    assert found[0].remedy
