"""`waterline eval` as users run it: two releases asked through a Waterline of its own, judged, recorded, browsed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from whole_app import Server, Sim, eventually, send

from waterline.core.app_spec import AppSpec
from waterline.core.case import Case, Expect, ToolCall
from waterline.core.release import Release, Route, encode_release
from waterline.core.verdict import Outcome
from waterline.evals.experiment import Answer as Asked
from waterline.providers.simulated_script import Answer, Fault, Limits, Lognormal, Target, Tool, When
from waterline.trials.asking import CouldNotRun
from waterline.trials.evaluation import Done, Work, evaluate
from waterline.trials.journal import Journal, JournalMismatch
from waterline.trials.progress import Silent

WORDS = "apple banana cherry damson elder fig grape hazel"
CASES = tuple(
    Case(id=f"case-{i}", input=f"say {WORDS} number {i}", expect=Expect(contains=("hazel",)),
         tags=("even" if i % 2 == 0 else "odd",))
    for i in range(30)
)  # fmt: skip


def release(name: str = "evaluated", **main: Any) -> bytes:
    given = {"provider": "simulated", "model": "small", "retries": 0, "total_s": 60.0, **main}
    return encode_release(Release(app=name, routes={"main": Route(**given)}, prompts={}))


def work(sim: Sim, **more: Any) -> Work:
    given: dict[str, Any] = {
        "manifest": release(), "spec": AppSpec(name="evaluated"), "cases": CASES, "score_min": 0.8,
        "redirect": f"{sim.address}/{{route}}", "at_once": 8, **more,
    }  # fmt: skip
    return Work(**given)


async def run(work: Work, folder: Path) -> Done:
    return await evaluate(work, folder, Silent())


async def test_a_release_that_cuts_its_answers_short_is_worse_and_the_other_way_round_better(
    sim: Sim, tmp_path: Path
) -> None:
    sim.play(main=Target(answer=Answer(echo=True)))
    short = release(max_tokens=3)
    worse = (await run(work(sim, manifest=short, against=release(), margin=0.05), tmp_path)).result
    assert (worse.word, worse.outcome, worse.exit_status) == ("worse", Outcome.FAIL, 1)
    assert (worse.lost, worse.won, worse.same) == (30, 0, 0)
    assert {s.tag: (s.first, s.second) for s in worse.slices}["even"] == (1.0, 0.0)
    better = (await run(work(sim, against=short, margin=0.05), tmp_path)).result
    assert (better.word, better.exit_status) == ("better", 0)
    assert better.provider == "simulated"  # and every page says so


async def test_the_same_release_twice_is_not_called_better_or_worse(sim: Sim, tmp_path: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True)))
    found = (await run(work(sim, against=release(), margin=0.2, repeats=2), tmp_path)).result
    assert found.word == "non-inferior"
    assert sim.asked("main") == 30 * 2 * 2 + 2  # every repeat reaches the provider, and one probe an arm
    assert found.arms["second"].asked == 60
    tight = (await run(work(sim, against=release(), margin=0.01, repeats=2), tmp_path)).result
    assert (tight.word, tight.exit_status) == ("unknown", 2)  # 30 cases cannot show one point
    assert tight.more_cases is not None


async def test_repeats_are_never_served_from_a_cache(sim: Sim, tmp_path: Path) -> None:
    # promptfoo 5947
    sim.play(main=Target(answer=Answer(choose=("hazel", "fig"))))
    from waterline.core.savings import Cache

    routes = {"main": Route(provider="simulated", model="small")}
    made = encode_release(Release(app="evaluated", routes=routes, prompts={}, cache=Cache(exact=True)))
    done = await run(work(sim, manifest=made, repeats=4), tmp_path)
    assert sim.asked("main") == 30 * 4 + 1
    figures = done.result.arms["second"]
    assert 20 < figures.passed < 100
    assert figures.pass_hat_k is not None
    assert figures.score is not None
    assert figures.pass_hat_k.value < figures.score.value


async def test_a_missing_answer_is_a_failed_one_and_never_dropped(sim: Sim, tmp_path: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True), faults=(Fault(kind="http", status=500, when=When(every=5)),)))
    figures = (await run(work(sim), tmp_path)).result.arms["second"]
    # Every fifth of 31 requests, the first of which was the probe.
    assert (figures.missing, figures.asked, figures.passed) == (6, 30, 24)


async def test_tools_of_the_release_are_offered_and_the_call_time_money_and_own_functions_are_judged(
    sim: Sim, tmp_path: Path
) -> None:
    sim.play(main=Target(answer=Answer(tool=Tool(name="book", arguments={"day": "2026-12-01"}))))
    contract = {"name": "book", "description": "Book it.", "effect": "write",
                "parameters": {"type": "object", "properties": {"day": {"type": "string"}}}}  # fmt: skip
    made = Release(app="evaluated", routes={"main": Route(provider="simulated", model="small")}, prompts={},
                   tools={"book": contract})  # fmt: skip
    (tmp_path / "scorers").mkdir()
    (tmp_path / "scorers" / "own.py").write_text("def right(answer, case):\n    return 'book(' in answer or 'silent'\n")
    wanted = ToolCall(name="book", arguments={"day": "2026-12-01"})
    asked = (
        Case(id="right", input="Book it", expect=Expect(tool=wanted, max_ms=60_000.0)),
        Case(id="wrong", input="Book it", expect=Expect(tool=ToolCall(name="cancel"))),
        Case(id="slow", input="Book it", expect=Expect(tool=wanted, max_ms=0.001)),
    )
    done = await run(work(sim, manifest=encode_release(made), cases=asked), tmp_path / "out")
    rows = [json.loads(line) for line in done.journal.read_text().splitlines()[1:-1]]
    assert {row["case"]: row["passed"] for row in rows} == {"right": True, "wrong": False, "slow": False}
    assert 'book({"day"' in next(row["text"] for row in rows if row["case"] == "right").replace(" ", "")
    own = (Case(id="own", input="hazel", expect=Expect(python={"own:right": 1.0})),)
    with pytest.raises(CouldNotRun, match="waterline eval APP_DIR"):
        await run(work(sim, cases=own), tmp_path / "out")
    sim.play(main=Target(answer=Answer(echo=True)))
    judged = await run(work(sim, cases=own, scorers=tmp_path / "scorers"), tmp_path / "out")
    assert judged.result.arms["second"].passed == 0
    assert judged.result.plan.scorer.startswith("1+")


async def test_a_rate_limit_is_waited_out_and_costs_no_score(sim: Sim, tmp_path: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True), limits=Limits(rpm=1200, burst=5, retry_after=True)))
    found = (await run(work(sim), tmp_path)).result
    assert found.arms["second"].passed == 30
    assert found.arms["second"].missing == 0


@pytest.mark.slow
async def test_a_provider_that_is_gone_ends_the_run_and_when_it_is_back_nothing_of_it_is_held_against_the_release(
    tmp_path: Path,
) -> None:
    first = Sim(tmp_path / "first")
    first.play(main=Target(answer=Answer(echo=True), first_token_ms=40.0))
    many = {"repeats": 5, "at_once": 4, "patience_s": 4.0}
    running = asyncio.create_task(run(work(first, **many), tmp_path / "out"))

    def answered() -> int:
        return sum(len(path.read_bytes().splitlines()) for path in (tmp_path / "out").glob("*.jsonl"))

    while answered() < 20:  # noqa: ASYNC110  the journal is another's file
        await asyncio.sleep(0.05)
    first.stop()
    with pytest.raises(CouldNotRun, match=r"stopped answering.*run it again"):
        await running
    second = Sim(tmp_path / "second")
    second.play(main=Target(answer=Answer(echo=True)))
    done = await run(work(second, **many), tmp_path / "out")
    second.stop()
    figures = done.result.arms["second"]
    assert done.asked_now < 150
    assert (figures.asked, figures.passed, figures.missing) == (150, 150, 0)


async def test_without_a_margin_or_cases_nothing_is_asked(sim: Sim, tmp_path: Path) -> None:
    sim.play(main=Target())
    with pytest.raises(CouldNotRun, match="margin"):
        await run(work(sim, against=release()), tmp_path)
    with pytest.raises(CouldNotRun, match="no cases"):
        await run(work(sim, cases=()), tmp_path)
    with pytest.raises(CouldNotRun, match="has not"):
        await run(work(sim, cases=(Case(id="x", input="x", expect=Expect(contains=("x",)), route="other"),)), tmp_path)
    assert sim.asked("main") == 0


async def test_nothing_declared_is_inconclusive_and_never_green(sim: Sim, tmp_path: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True)))
    found = (await run(work(sim, score_min=None), tmp_path)).result
    assert (found.word, found.exit_status) == ("unknown", 2)
    assert "nothing was declared" in found.reason


# --------------------------------------------------------------------------------------------------- killed, resumed

CHILD = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_eval as t
class Address:
    address = sys.argv[2]
asyncio.run(t.run(t.work(Address, repeats=2, at_once=2), Path(sys.argv[3])))
"""


def children_of(parent: int) -> list[int]:
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    return [int(pid) for pid in told.split()]


def test_killed_with_kill_9_it_goes_on_where_it_stopped_as_the_same_run(sim: Sim, tmp_path: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True), first_token_ms=Lognormal(40.0, 60.0)))
    folder = str(Path(__file__).parent)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, folder, sim.address, str(tmp_path)], start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 90
    while time.monotonic() < end:
        journals = list(tmp_path.glob("*.jsonl"))
        if journals and len(journals[0].read_bytes().splitlines()) > 12:
            break
        time.sleep(0.02)
    serving = children_of(child.pid)
    assert serving
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in serving))  # it leaves no server behind
    journal = next(tmp_path.glob("*.jsonl"))
    with journal.open("ab") as file:
        file.write(b'{"case":"case-3","arm":"sec')  # the line that the crash cut in two
    kept = len(journal.read_bytes().splitlines()) - 2
    assert 0 < kept < 60
    done = asyncio.run(run(work(sim, repeats=2, at_once=2), tmp_path))
    assert done.run == journal.stem
    assert done.asked_now == 60 - kept
    assert done.result.arms["second"].asked == 60
    assert done.result.arms["second"].passed == 60
    again = asyncio.run(run(work(sim, repeats=2, at_once=2), tmp_path))
    assert again.run != done.run  # that one was finished: this is a new one
    assert again.asked_now == 60


def test_a_journal_of_another_plan_is_refused(tmp_path: Path) -> None:
    class Nowhere:
        address = "http://127.0.0.1:1"

    plan = work(Nowhere).plan()  # type: ignore[arg-type]
    with Journal(tmp_path, plan) as journal:
        journal.add(Asked(case="case-1", arm="second", repeat=0, passed=True))
        path = journal.path
    path.write_bytes(path.read_bytes().replace(b'"repeats":1', b'"repeats":7'))
    with pytest.raises(JournalMismatch, match="another plan"), Journal(tmp_path, plan):
        pass


# ---------------------------------------------------------------------------- the command, the server, the page

APP = """
name = "shop"
owner = "The tests"
[models.main]
provider = "simulated"
model = "small"
{main}
[objectives.quality]
score_min = 0.7
regression_max = 0.05
"""


def folder(path: Path, main: str = "") -> Path:
    (path / "cases").mkdir(parents=True, exist_ok=True)
    (path / "app.toml").write_text(APP.format(main=main))
    rows = [{"id": c.id, "input": c.input, "expect": {"contains": ["hazel"]}, "tags": ["en", *c.tags]} for c in CASES]
    (path / "cases" / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(server: Server, sim: Sim, where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ, "WATERLINE_URL": server.url, "WATERLINE_KEY": server.key,
        "WATERLINE_REDIRECT_PROVIDERS": f"{sim.address}/{{route}}", "COLUMNS": "160",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "waterline", *words], capture_output=True, text=True, cwd=where, env=environ, timeout=110
    )


def test_the_command_compares_records_and_reports_and_the_console_shows_every_case(
    server: Server, sim: Sim, tmp_path: Path
) -> None:
    sim.play(main=Target(answer=Answer(echo=True)))
    built = command(server, sim, tmp_path, "release", "build", str(folder(tmp_path / "shop")), "--json")
    assert built.returncode == 0, built.stderr
    first = json.loads(built.stdout)["id"]
    folder(tmp_path / "shop", "max_tokens = 3")
    done = command(server, sim, tmp_path, "eval", "shop", "--against", first, "--junit", "r/j.xml", "--sarif",
                   "r/s.json", "--markdown", "r/m.md", "--json")  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert (said["word"], said["exit_status"], said["plan"]["margin"]) == ("worse", 1, 0.05)

    suite = ElementTree.parse(tmp_path / "r/j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    found = json.loads((tmp_path / "r/s.json").read_text())
    assert found["runs"][0]["results"][0]["level"] == "error"
    assert "worse" in (tmp_path / "r/m.md").read_text()
    assert said["address"] in (tmp_path / "r/m.md").read_text()

    run = said["run"]
    shown = server.ask("GET", f"/api/experiments/{run}")
    assert (shown["head"]["word"], shown["head"]["cases"], shown["head"]["against"]) == ("worse", 30, first)
    seen: list[str] = []
    after = 0
    while True:  # every case, on pages, none silently cut
        page = server.ask("GET", f"/api/experiments/{run}/items", limit=7, after=after)
        assert page["total"] == 30
        seen += [item["case"] for item in page["items"]]
        after = page["next"]
        if not after:
            break
    assert seen == [case.id for case in CASES]
    assert server.ask("GET", f"/api/experiments/{run}/items", change="lost", tag="odd")["total"] == 15
    assert server.ask("GET", f"/api/experiments/{run}/items", change="won")["total"] == 0
    assert server.ask("GET", f"/api/experiments/{run}/items", tag="o%")["total"] == 0
    assert [row["id"] for row in server.ask("GET", "/api/experiments", app="shop")["rows"]] == [run]
    audit = server.ask("GET", "/api/audit", limit=50)
    assert any(entry["action"] == "experiment.write" and entry["target"] == run for entry in audit)
    again = {"id": run, "result": json.dumps({key: said[key] for key in said if key in shown["result"]})}
    server.ask("POST", "/api/experiments", again)  # sent twice, kept once
    assert len(server.ask("GET", "/api/experiments", app="shop")["rows"]) == 1


def test_eval_without_a_server_judges_by_the_threshold_alone(sim: Sim, server: Server, tmp_path: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True)))
    made = folder(tmp_path / "shop")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WATERLINE_")}
    environ |= {"WATERLINE_REDIRECT_PROVIDERS": f"{sim.address}/{{route}}", "WATERLINE_DATA": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-m", "waterline", "eval", str(made), "--repeats", "2"], capture_output=True, text=True,
        cwd=tmp_path, env=environ, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed:" in done.stdout
    assert "pass^2" in done.stdout


def test_before_a_run_it_says_what_the_cases_could_show_and_asks_nothing(
    server: Server, sim: Sim, tmp_path: Path
) -> None:
    sim.play(main=Target(answer=Answer(echo=True)))
    made = str(folder(tmp_path / "shop"))
    alone = command(server, sim, tmp_path, "eval", made, "--plan")
    assert (alone.returncode, "30 calls" in alone.stdout) == (0, True), alone.stdout + alone.stderr
    assert "100.0%" in alone.stdout
    built = json.loads(command(server, sim, tmp_path, "release", "build", made, "--json").stdout)["id"]
    (tmp_path / "shop" / "app.toml").write_text(APP.format(main="max_tokens = 3"))
    pairs = command(server, sim, tmp_path, "eval", made, "--against", built, "--repeats", "2", "--plan", "--json")
    told = json.loads(pairs.stdout)
    assert (told["plan"]["cases"], told["plan"]["margin"]) == (30, 0.05)
    # Thirty cases cannot show five points, whatever they say: the table says so before money is spent.
    assert {one["chance"] for one in told["foresight"]} == {0.0}
    assert all(one["cases_needed"] >= 72 for one in told["foresight"])
    assert sim.asked("main") == 0


def test_eval_says_what_is_missing_with_status_3(server: Server, sim: Sim, tmp_path: Path) -> None:
    unknown = command(server, sim, tmp_path, "eval", "nobody")
    assert (unknown.returncode, "neither a folder nor an app" in unknown.stderr) == (3, True)
    made = folder(tmp_path / "shop")
    broken = command(server, sim, tmp_path, "eval", str(made), "--cases", "nowhere.jsonl")
    assert (broken.returncode, "no such file" in broken.stderr) == (3, True), broken.stderr


def test_an_unknown_experiment_is_404(server: Server) -> None:
    reply = send(server.url, "GET", "/api/experiments/00000000", None, {"authorization": f"Bearer {server.key}"})
    assert reply.status == 404
