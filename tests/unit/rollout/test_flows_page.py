"""docs/reference/flows.md names every key, text and hole that the reader knows, and no other; the how-to's is good."""

import re
import tomllib
from pathlib import Path

import msgspec
from app_folders import checked, write

from waterline.agents.answers import QUOTE_CHARS
from waterline.core.flow import FILLED, TEXTS, Action, Flow, Lookup, Reminder, Slot, Voice
from waterline.rollout import flows

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/flows.md").read_text("utf-8")
HOWTO = (ROOT / "docs/howto/flows.md").read_text("utf-8")
HEADINGS = {"Top of the file": "", **{f"`{name}`": name for name in flows.TABLES if name}}
DEFAULTS = {
    "": Flow,
    "[[slot]]": Slot,
    "[lookup]": Lookup,
    "[[action]]": Action,
    "[reminder]": Reminder,
    "[voice]": Voice,
}


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(heading: str) -> dict[str, tuple[str, str, str]]:
    found = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]*?) ?\| (.+) \|$", sections()[heading], flags=re.MULTILINE)
    return {key: (kind, default, meaning) for key, kind, default, meaning in found}


def test_every_key_is_on_the_page_with_its_default_and_no_other() -> None:
    for heading, name in HEADINGS.items():
        told, known = rows(heading), flows.TABLES[name]
        assert sorted(told) == sorted(known), heading
        for key, (_, default, meaning) in told.items():
            assert (default == "required") is known[key].required, (heading, key)
            assert all(f"`{choice}`" in meaning for choice in known[key].choices), (heading, key)
            of = DEFAULTS.get(name)
            if of is not None and default not in ("", "required"):
                value = tomllib.loads(f"v = {default.strip('`')}")["v"]
                field = next(f for f in msgspec.structs.fields(of) if f.name == key)
                meant = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
                assert value == (list(meant) if isinstance(meant, tuple) else meant), (heading, key)


def test_the_limits_on_the_page_are_the_reader_s() -> None:
    for heading, name in HEADINGS.items():
        for key, (kind, _, _) in rows(heading).items():
            if limits := re.match(r"whole number, (\d+) to (\d+)$", kind):
                known = flows.TABLES[name][key]
                assert (int(limits[1]), int(limits[2])) == (known.low, known.high), (heading, key)


def test_every_text_and_every_hole_is_on_the_page_and_no_other() -> None:
    texts = re.findall(r"`(\w+)`", sections()["Texts"].split("but answers to questions.")[1])
    assert sorted(texts) == sorted(TEXTS)
    listed = sections()["Holes"].split("\n\n")[2]
    assert re.findall(r"`(\w+)`", listed) == list(FILLED)
    assert f"{flows.MAX_HANDBOOK_CHARS:,}" in PAGE
    assert f"{QUOTE_CHARS} characters" in PAGE


def test_the_flow_of_the_how_to_is_one_with_the_example_s_texts(tmp_path: Path) -> None:
    blocks = re.findall(r"((?:^ {4}.*\n|^\n(?= {4}))+)", HOWTO, flags=re.MULTILINE)
    plain = ["\n".join(line[4:] for line in block.strip("\n").splitlines()) for block in blocks]
    parts = r"^\[\[(slot|action)\]\]|^\[lookup\]"
    declared = "\n".join(block for block in plain if re.search(parts, block, re.MULTILINE))
    example = tomllib.loads((ROOT / "examples/school/flows/visit.toml").read_text("utf-8"))["texts"]["en"]
    slots = {slot["name"] for slot in tomllib.loads(declared)["slot"]}
    wanted = {*TEXTS, *(f"ask_{name}" for name in slots), "outside_child_age"}
    texts = "\n".join(f'{name} = """{text}"""' for name, text in example.items() if name in wanted)
    texts = texts.replace("{street}", "{phone}").replace("{grade_label}", "{child_age}")
    app = 'name = "x"\n[models.main]\nprovider = "openai"\nmodel = "gpt-4o-mini"\n'
    book = next(block for block in plain if block.startswith("## School bus"))
    files = {
        "app.toml": app,
        "flows/visit.toml": f"{declared}\n[texts.en]\n{texts}\n",
        "knowledge/handbook.en.md": book,
    }
    found = checked(write(tmp_path, files))
    flow = found.release.flows["visit"]
    assert [action.name for action in flow.actions] == ["lead", "book", "cancel"]
    case = next(block for block in plain if block.startswith("[[case]]"))
    assert tomllib.loads(case)["case"][0]["visits"]
