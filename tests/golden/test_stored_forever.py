"""Manifests and environment records as they were once stored. They must load for ever, with the id they had.

Never change a file here: add one when the format grows. A file's name is the SHA-256 of its bytes.
"""

from pathlib import Path

import pytest

from waterline.core.app_spec import encode_spec, parse_spec, spec_id
from waterline.core.release import encode_release, parse_release, release_id
from waterline.core.savings import History, Rule

HERE = Path(__file__).parent
RELEASES = sorted((HERE / "releases").glob("*.json"))
SPECS = sorted((HERE / "specs").glob("*.json"))


def test_there_is_something_to_hold_on_to() -> None:
    assert RELEASES
    assert SPECS


@pytest.mark.parametrize("file", RELEASES, ids=lambda f: f.stem[:12])
def test_an_old_release_loads_and_keeps_its_id(file: Path) -> None:
    manifest = file.read_bytes()
    assert release_id(manifest) == file.stem
    release = parse_release(manifest)
    assert release.app
    assert release.routes
    for route in release.routes.values():
        assert route.prompt == "" or route.prompt in release.prompts
        assert set(route.fallbacks) <= set(release.routes)


@pytest.mark.parametrize("file", SPECS, ids=lambda f: f.stem[:12])
def test_an_old_environment_record_loads_and_keeps_its_id(file: Path) -> None:
    record = file.read_bytes()
    assert spec_id(record) == file.stem
    assert parse_spec(record).name


FIRST = "8b06dab6142a6b6d6970324fcb79804f70b298754d76dc7fc93acf5ab7ded2ce"


def test_the_first_release_means_today_what_it_meant() -> None:
    release = parse_release((HERE / "releases" / f"{FIRST}.json").read_bytes())
    main = release.routes["main"]
    assert (main.provider, main.model, main.max_tokens, main.retries) == ("openai", "gpt-4o-mini", 64, 1)
    assert main.params["response_format"]["json_schema"]["strict"] is True
    assert (main.first_token_s, main.idle_s, main.total_s) == (30.0, 30.0, 120.0)
    assert release.routes["spare"].reproducible is True
    prompt = release.prompts["agent"]
    assert (prompt.role, prompt.variables) == ("system", ("today", "contact"))
    assert prompt.text.endswith("Write to {{contact}}.")
    assert release.tools["book_visit"]["effect"] == "write"
    assert set(release.files) == {"flows/visit.toml", "tools/book_visit.py"}


SAVINGS = "d4512cbdf0c06d2d4661e002539279c637f1a87300a35f5a300db9ce75c644a8"


def test_the_first_release_with_savings_means_today_what_it_meant() -> None:
    release = parse_release((HERE / "releases" / f"{SAVINGS}.json").read_bytes())
    assert release.routes["main"].prompt_cache is True
    assert (release.cache.exact, release.cache.ttl_s, release.cache.shared) == (True, 600, True)
    assert release.cache.semantic is not None
    assert (release.cache.semantic.threshold, release.cache.semantic.hits) == (0.85, 110)
    routing = release.routing
    assert (routing.route, routing.small, routing.escalate_on) == ("main", "small", ("empty", "refusal"))
    assert routing.rules == (Rule("main", ("es",), ("refund",), ("vip",), 2, 900, True),)
    assert routing.learned is not None
    assert (routing.learned.threshold, routing.learned.bias, len(routing.learned.weights)) == (0.4, -1.25, 13)
    assert release.history == History(max_tokens=3000, keep_last=6)


def test_the_same_content_would_be_given_the_same_id_today() -> None:
    """If this fails, every team's next build gets a new id for unchanged behaviour: a new format is needed."""
    for first in (FIRST, SAVINGS):
        manifest = (HERE / "releases" / f"{first}.json").read_bytes()
        assert encode_release(parse_release(manifest)) == manifest
    for file in SPECS:
        assert encode_spec(parse_spec(file.read_bytes())) == file.read_bytes()
