"""The documents of the house: what they name exists, and each can be found from the README."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/waterline"
TABLE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Where is")[2].partition("## To add")[0]
ROWS = [row for row in TABLE.splitlines() if row.startswith("| ") and not row.startswith(("| what |", "| ---"))]


def paths_in(row: str) -> list[str]:
    said = re.findall(r"`([^`\s]+)`", row)
    return [one for one in said if not one.startswith("/") and re.search(r"\.(py|js|md|sql|toml)$|/$", one)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:].partition(" |")[0])
def test_every_path_of_the_where_is_table_exists(row: str) -> None:
    beside = SOURCE
    for path in paths_in(row):
        found = [one for folder in (SOURCE, ROOT, beside) for one in folder.glob(path.rstrip("/"))]
        assert found, f"{path} is neither below src/waterline, nor of the root, nor beside the one before it"
        beside = found[0] if found[0].is_dir() else found[0].parent


def test_no_two_rows_of_the_where_is_table_ask_the_same() -> None:
    asked = [row.partition(" | ")[0] for row in ROWS]
    assert sorted(set(asked)) == sorted(asked)


def test_every_folder_and_every_module_at_the_top_has_a_place_in_the_where_is_table() -> None:
    for path in SOURCE.iterdir():
        if path.suffix == ".py" and not path.name.startswith("__"):
            assert f"`{path.name}`" in TABLE, path.name
        elif (path / "__init__.py").exists():
            assert f"`{path.name}/" in TABLE, path.name


def linked(page: Path) -> list[Path]:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [(page.parent / to.partition("#")[0]).resolve() for to in targets if "://" not in to and to[0] != "#"]


def test_every_page_can_be_reached_from_the_readme_and_no_link_is_broken() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        assert page.exists(), page
        if page.suffix == ".md" and page not in seen:
            seen.add(page)
            todo += linked(page)
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md"), *ROOT.glob("*.md")]
    assert pages
    assert sorted(str(page.relative_to(ROOT)) for page in pages if page not in seen) == []
