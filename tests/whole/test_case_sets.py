"""Case sets as people use them: imported, listed, compared, exported, evaluated, held to rights."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from whole_app import App, Server, Sim, send

from waterline.cli import commands
from waterline.core.case import Case, Expect, case_set_id
from waterline.providers.simulated_script import Answer, Target

CASES = tuple(
    Case(id=f"case-{i}", input=f"say hazel number {i}", expect=Expect(contains=("hazel",)),
         tags=("even" if i % 2 == 0 else "odd",), split="held_out" if i % 3 == 0 else "tuning")
    for i in range(30)
)  # fmt: skip


def lines(cases: tuple[Case, ...]) -> str:
    import msgspec

    return "".join(msgspec.json.encode(case).decode() + "\n" for case in cases)


class Command:
    """The command line in this process, against one server."""

    def __init__(self, server: Server, **environ: str) -> None:
        self.environ = {"WATERLINE_URL": server.url, "WATERLINE_KEY": server.key, **environ}

    def __call__(self, *words: str, status: int = 0) -> str:
        done = CliRunner().invoke(commands(), list(words), env=self.environ)
        assert done.exit_code == status, done.output
        return done.stdout if status == 0 else done.output


@pytest.fixture(scope="module")
def shop(server: Server, sim: Sim) -> App:
    from waterline.core.release import Route

    sim.play(main=Target(answer=Answer(echo=True)))
    return App(server, "case-shop", {"main": Route(provider="simulated", model="small")})


def test_a_set_is_imported_changed_compared_exported_and_has_the_digest_of_its_file(
    server: Server, shop: App, tmp_path: Path
) -> None:
    run = Command(server)
    (tmp_path / "a.jsonl").write_text(lines(CASES))
    made = json.loads(run("cases", "import", shop.name, "front", str(tmp_path / "a.jsonl"), "--json"))
    assert (made["version"], made["cases"], made["digest"]) == (1, 30, case_set_id(CASES))
    assert (
        json.loads(run("cases", "import", shop.name, "front", str(tmp_path / "a.jsonl"), "--json")) == made
    )  # nothing to change
    fewer = CASES[:20]
    (tmp_path / "b.jsonl").write_text(lines(fewer))
    later = json.loads(run("cases", "import", shop.name, "front", str(tmp_path / "b.jsonl"), "--replace", "--json"))
    assert (later["version"], later["digest"]) == (2, case_set_id(fewer))
    assert run("cases", "diff", shop.name, "front", "1", "2").count("- case-") == 10
    run("cases", "export", shop.name, "front@1", "--to", str(tmp_path / "out.jsonl"))
    assert sorted((tmp_path / "out.jsonl").read_text().splitlines()) == sorted(lines(CASES).splitlines())
    assert "front" in run("cases", "list", shop.name)
    told = run("cases", "show", shop.name, "front@1", "--split", "held_out", "--search", "HAZEL number", "--limit", "1")
    assert "1 of 10 that fit" in told
    assert "tuning 20, held_out 10" in told


def test_a_version_made_from_an_old_one_is_refused_so_that_two_people_do_not_overwrite_each_other(
    server: Server, shop: App
) -> None:
    place = f"/api/apps/{shop.name}/case-sets/both"
    one = json.loads(lines(CASES[:1]))
    server.ask("POST", f"{place}/versions", {"cases": [one], "parent": 0})
    body = json.dumps({"removed": [], "cases": [{**one, "id": "x"}], "parent": 0}).encode()
    late = send(server.url, "POST", f"{place}/versions", body, {"authorization": f"Bearer {server.key}"})
    assert late.status == 409
    assert "at version 1, not 0" in late.json["error"]["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"cases": [{"id": "x", "input": "Hi", "expect": {}}]}, "it expects nothing"),
        ({"cases": [{"id": "x", "input": "", "expect": {"contains": ["y"]}}]}, "nothing to send"),
        ({"cases": [{"id": "x", "input": "Hi", "expect": {"contains": ["y"]}, "split": "test"}]}, "does not fit"),
        ({"cases": []}, "begins with at least one case"),
    ],
)
def test_what_is_no_case_is_refused_with_its_reason(server: Server, shop: App, body: Any, says: str) -> None:
    place = f"/api/apps/{shop.name}/case-sets/wrong/versions"
    reply = send(server.url, "POST", place, json.dumps(body).encode(), {"authorization": f"Bearer {server.key}"})
    assert reply.status == 400
    assert says in reply.json["error"]["message"]


@pytest.mark.slow
def test_an_evaluation_asks_one_side_of_a_stored_version_and_its_report_names_it(
    server: Server, sim: Sim, shop: App, tmp_path: Path
) -> None:
    sim.play(main=Target(answer=Answer(echo=True)))
    run = Command(server, WATERLINE_REDIRECT_PROVIDERS=f"{sim.address}/{{route}}")
    (tmp_path / "c.jsonl").write_text(lines(CASES))
    made = json.loads(run("cases", "import", shop.name, "judged", str(tmp_path / "c.jsonl"), "--json"))
    out = run(
        "eval",
        shop.name,
        "--cases",
        "judged@1",
        "--split",
        "held_out",
        "--json",
        "--out",
        str(tmp_path / "o"),
        status=2,
    )
    plan = json.loads(out[: out.rindex("}") + 1])["plan"]
    assert plan["cases_from"] == f"judged@1 {made['digest'][:12]}, held_out"
    assert plan["cases"] == 10
    told = tmp_path / "told.md"
    again = ["--cases", "judged@1", "--split", "held_out", "--out", str(tmp_path / "o"), "--markdown", str(told)]
    run("eval", shop.name, *again, status=2)
    assert f"on judged@1 {made['digest'][:12]}, held_out" in told.read_text()
    whole = run("eval", shop.name, "--cases", "judged", "--json", "--out", str(tmp_path / "o"), status=2)
    assert json.loads(whole[: whole.rindex("}") + 1])["plan"]["case_set"] == made["digest"]
    assert "no case set" in run("eval", shop.name, "--cases", "nothing", status=3)


def test_sides_are_given_so_that_nothing_leaks_and_a_leak_that_is_there_is_found(
    server: Server, shop: App, tmp_path: Path
) -> None:
    run = Command(server)
    topics = ["ferry", "harbour", "museum", "lighthouse", "sailmaker", "anchor", "tide", "compass"]
    asked = [Case(id=f"{t}-{n}", input=f"{'How much is' if n else 'how much, is'} the {t} for two adults?",
                  expect=Expect(contains=("x",))) for t in topics for n in (0, 1)]  # fmt: skip
    (tmp_path / "s.jsonl").write_text(lines(tuple(asked)))
    run("cases", "import", shop.name, "sided", str(tmp_path / "s.jsonl"))
    made = json.loads(run("cases", "split", shop.name, "sided", "--json"))
    assert sum(made["changed"].values()) == 16
    assert "0 questions on both sides" in run("cases", "check", shop.name, "sided")
    told = Expect(contains=("9",))
    first = Case(id="a", input="When does the bar open?", expect=told, split="tuning")
    second = Case(id="b", input="WHEN does the bar open", expect=told, split="held_out")
    (tmp_path / "leak.jsonl").write_text(lines((first, second)))
    run("cases", "import", shop.name, "sided", str(tmp_path / "leak.jsonl"))
    assert "on both sides: a | b" in run("cases", "check", shop.name, "sided", status=1)
