"""How two releases differ, for people."""

from pathlib import Path

from app_folders import APP, GOOD, checked, good
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.release import Prompt, Release, Route
from waterline.rollout.diff import diff


def releases() -> tuple[Release, Release]:
    old = Release(
        app="school",
        routes={
            "main": Route(provider="openai", model="gpt-4o", params={"temperature": 0.2, "seed": 1}, prompt="agent"),
            "gone": Route(provider="anthropic", model="claude-haiku-4-5"),
        },
        prompts={"agent": Prompt(text="One\nTwo\nThree", defaults={"x": "1"})},
        tools={"book": {"effect": "read"}},
        files={"flows/a.toml": "a" * 64, "flows/b.toml": "b" * 64},
    )
    new = Release(
        app="school",
        routes={
            "main": Route(provider="openai", model="gpt-5", params={"temperature": 0.3}, prompt="agent", retries=3),
            "extra": Route(provider="local", model="smollm2-135m"),
        },
        prompts={"agent": Prompt(text="One\n2\nThree", defaults={"x": "2"}), "more": Prompt(text="")},
        tools={"book": {"effect": "write"}},
        files={"flows/a.toml": "c" * 64},
    )
    return old, new


def test_a_difference_names_the_thing_and_shows_old_and_new() -> None:
    told = [str(d).replace("\n", " | ") for d in diff(*releases())]
    assert told == [
        'route extra added | +local "smollm2-135m"',
        'route gone removed | -anthropic "claude-haiku-4-5"',
        'route main model changed | -"gpt-4o" | +"gpt-5"',
        "route main params.seed removed | -1",
        "route main params.temperature changed | -0.2 | +0.3",
        "route main retries changed | -1 | +3",
        "prompt agent text changed |  One | -Two | +2 |  Three",
        'prompt agent defaults x changed | -"1" | +"2"',
        "prompt more added",
        'tool book effect changed | -"read" | +"write"',
        f'file flows/a.toml changed | -"{"a" * 64}" | +"{"c" * 64}"',
        f'file flows/b.toml removed | -"{"b" * 64}"',
    ]


def test_a_release_does_not_differ_from_itself() -> None:
    old, new = releases()
    assert diff(old, old) == []
    assert diff(new, new) == []


@given(old=st.text(), new=st.text())
def test_two_texts_that_differ_always_show_it(old: str, new: str) -> None:
    found = diff(Release("a", prompts={"p": Prompt(old)}), Release("a", prompts={"p": Prompt(new)}))
    assert bool(found) is (old != new)
    for d in found:
        assert any(line.startswith("-") for line in d.lines) or any(line.startswith("+") for line in d.lines)
        assert all(line[:1] in "+- " for line in d.lines)


def test_a_change_that_gives_a_new_id_is_never_without_a_difference(tmp_path: Path) -> None:
    """An empty diff under a new id would be promoted unseen."""
    base = checked(good(tmp_path / "base")).release
    changes = (
        {"prompts/handbook.md": "Grade 3 costs 790 EUR. \n"},
        {"prompts/handbook.md": "Grade 3 costs 790 EUR.\r\n\r\n"},
        {"app.toml": APP.replace("top_p = 1", "top_p = 1.0")},
        {"app.toml": APP.replace("school", "college")},
        {"flows/visit.txt": GOOD["flows/visit.txt"] + "\n"},
    )
    for number, change in enumerate(changes):
        other = checked(good(tmp_path / str(number), **change)).release
        assert diff(base, other), change


def test_another_order_of_the_fields_of_a_schema_is_a_difference() -> None:
    def with_schema(*names: str) -> Release:
        schema = {"properties": {name: {"type": "string"} for name in names}}
        return Release("a", routes={"main": Route("openai", "m", params={"response_format": schema})})

    told = [str(d) for d in diff(with_schema("why", "answer"), with_schema("answer", "why"))]
    assert told == [
        'route main params.response_format.properties order changed\n-["why", "answer"]\n+["answer", "why"]'
    ]
