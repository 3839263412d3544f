"""Judges on a running server: answers are labelled, the judge is asked, and its word counts once it is calibrated."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner
from whole_app import App, Server, Sim, eventually, send

from waterline.cli import commands
from waterline.core.app_spec import PriceOverride, encode_spec
from waterline.core.judge import Judge
from waterline.core.release import Route
from waterline.providers.simulated_script import Answer, Fault, Target, When

ROUTE = Route(provider="simulated", model="judge-2026-01-01", retries=0)
JUDGE = Judge("Is it polite?", "Polite?\n{{answer}}", ROUTE)
YES, NO = '{"reason": "it is", "verdict": "yes"}', '{"reason": "curt words", "verdict": "no"}'
KIND = Target(answer=Answer(text=NO), rules=(Answer(text=YES, match="please"),))


@pytest.fixture(scope="module")
def world(sim: Sim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, App]]:
    sim.play(main=Target(answer=Answer(echo=True)), polite=KIND)
    server = Server(tmp_path_factory.mktemp("judges") / "d", f"{sim.address}/{{route}}")
    pairs = msgspec.structs.replace(JUDGE, scale="pairwise", text="{{answer}} {{other}}")
    names = ("changing", "failing", "desk", "broken", "busy")
    others = {name: msgspec.structs.replace(JUDGE, question=f"Is it polite, {name}?") for name in names}
    declared = {"polite": JUDGE, "pairs": pairs, **others}
    routes = {"main": Route(provider="simulated", model="small")}
    yield server, App(server, "judged", routes, judges=declared)
    server.stop()


def path(judge: str, *rest: str) -> str:
    return "/".join((f"/api/apps/judged/judges/{judge}", *rest))


def labelled(server: Server, judge: str, count: int = 40, wrong: int = 2) -> None:
    """Half polite, half not, and so labelled, but for `wrong` of each."""
    items = [
        {"answer": f"{'please' if good else 'no'} {n}", "label": "pass" if good == (n >= wrong) else "fail",
         "labeller": "ana"}
        for good in (True, False) for n in range(count)
    ]  # fmt: skip
    server.ask("POST", path(judge, "items"), {"items": items})


def asked(server: Server, judge: str) -> None:
    while server.ask("POST", path(judge, "runs"), {"limit": 50})["left"]:
        pass


def test_a_judge_is_calibrated_on_labels_and_expires_with_its_prompt(world: tuple[Server, App], sim: Sim) -> None:
    server, app = world
    sim.play(polite=KIND)
    before = server.ask("GET", path("polite"))
    assert "nobody has labelled" in server.ask("GET", path("polite"))["standing"].get("why", "nobody has labelled")
    labelled(server, "polite")
    refused = send(server.url, "POST", path("polite", "calibrations"), b"", {"authorization": f"Bearer {server.key}"})
    assert refused.status == 409
    assert "has not been asked" in refused.json["error"]["message"]
    asked(server, "polite")
    assert sim.asked("polite") == 80
    view = server.ask("POST", path("polite", "calibrations"))
    assert view["standing"]["may_gate"]
    assert view["standing"]["errors"] == {"sensitivity": [38, 40], "specificity": [38, 40]}
    again = server.ask("POST", path("polite", "calibrations"))
    assert len(again["looks"]) == 1  # nothing new to look at
    asked(server, "polite")
    assert sim.asked("polite") == 80  # asked once each, not until it says what one likes
    # another wording is another judge, on the same labels
    changed = msgspec.structs.replace(JUDGE, text="Is this polite?\n{{answer}}")
    spec = msgspec.structs.replace(app.spec, judges={**app.spec.judges, "polite": changed})
    server.ask("POST", "/api/environment-records", {"spec": encode_spec(spec).decode(), "reason": "reworded"})
    after = server.ask("GET", path("polite"))
    assert after["id"] != before["id"]
    assert not after["standing"].get("may_gate")
    assert "not those that were calibrated" in after["standing"]["why"]
    assert after["labelled_by"] == {"ana, by operator": 80}  # the labels stay
    asked(server, "polite")
    second = server.ask("POST", path("polite", "calibrations"))
    assert second["standing"]["may_gate"]
    assert [look["calibration"]["look"] for look in second["looks"]] == [1, 2]
    assert second["looks"][1]["calibration"]["alpha"] < second["looks"][0]["calibration"]["alpha"]
    server.ask("POST", "/api/environment-records", {"spec": encode_spec(app.spec).decode(), "reason": "back"})
    acts = [entry for entry in server.ask("GET", "/api/audit") if entry["action"].startswith("judges.")]
    assert {entry["action"] for entry in acts} == {"judges.label", "judges.calibrate"}


def test_what_judges_cost_and_answer_is_no_live_traffic(world: tuple[Server, App], sim: Sim) -> None:
    server, _ = world
    sim.play(desk=KIND)
    labelled(server, "desk", 3, 0)
    asked(server, "desk")
    found = server.traces(app="judged", purpose="judge", route="desk")
    assert len(found) == 6
    assert {row["env"] for row in found} == {"judges"}
    assert not server.traces(app="judged", purpose="live", route="desk")


def test_answers_without_a_verdict_are_counted_and_never_a_yes(world: tuple[Server, App], sim: Sim) -> None:
    server, _ = world
    unsure = Answer(text='{"reason": "it depends", "verdict": "well"}', match="perhaps")
    sim.play(broken=Target(answer=Answer(text=YES), rules=(unsure,)))
    server.ask("POST", path("broken", "items"), {"items": [
        {"answer": f"{'perhaps' if n % 2 else 'please'} {n}", "label": "pass", "labeller": "ana"} for n in range(20)
    ]})  # fmt: skip
    made = server.ask("POST", path("broken", "runs"), {"limit": 50})
    assert (made["asked"], made["no_verdict"]) == (20, 10)
    view = server.ask("POST", path("broken", "calibrations"))
    found = view["looks"][-1]["calibration"]
    assert (found["both"], found["people_only"], found["gave_none"]) == (10, 10, 10)
    assert not view["standing"].get("may_gate")
    assert "failed 0" in view["standing"]["why"]


def test_a_judge_whose_provider_is_busy_is_waited_for(world: tuple[Server, App], sim: Sim) -> None:
    server, _ = world
    busy = Fault(kind="http", status=429, retry_after_s=1, when=When(first=2))
    sim.play(busy=Target(answer=Answer(text=YES), faults=(busy,)))
    labelled(server, "busy", 5)
    made = server.ask("POST", path("busy", "runs"), {"limit": 50})
    assert made == {"asked": 10, "no_verdict": 0, "left": 0, "changed": "", "stopped": ""}
    assert sim.asked("busy") == 12


def test_what_a_judge_cannot_be_asked_now_is_left_for_another_time(world: tuple[Server, App], sim: Sim) -> None:
    server, _ = world
    sim.play(dear=Target(answer=Answer(text=YES)))
    route = msgspec.structs.replace(ROUTE, model="dear-2026-01-01")
    poor = msgspec.structs.replace(JUDGE, question="Dear?", route=route, nano_usd_per_day=1)
    price = PriceOverride(model=route.model, provider="simulated", input=10**9, output=10**9)
    app = App(server, "bounded", {"main": ROUTE}, judges={"dear": poor}, prices=(price,))
    judge = "/api/apps/bounded/judges/dear"
    server.ask("POST", f"{judge}/items", {"items": [{"answer": "please", "label": "pass", "labeller": "ana"}]})
    made = server.ask("POST", f"{judge}/runs", {"limit": 50})
    assert (made["asked"], made["no_verdict"], made["left"]) == (0, 0, 1)
    assert made["stopped"].startswith("budget_exceeded")
    told = CliRunner().invoke(commands(), ["judge", "calibrate", "bounded", "dear", "--data", str(server.data)])
    assert told.exit_code == 1
    assert "1 left: the judge cannot be asked now. budget_exceeded" in " ".join(told.output.split())
    assert sim.asked("dear") == 0
    rich = msgspec.structs.replace(poor, nano_usd_per_day=10**12)
    spec = msgspec.structs.replace(app.spec, judges={"dear": rich})
    server.ask("POST", "/api/environment-records", {"spec": encode_spec(spec).decode(), "reason": "more"})
    assert server.ask("POST", f"{judge}/runs", {"limit": 50})["asked"] == 1


def test_a_labeller_sees_the_answer_and_not_what_the_judge_or_others_said(world: tuple[Server, App]) -> None:
    server, _ = world
    labelled(server, "changing", 2, 0)
    shown = server.ask("GET", path("changing", "next"))
    assert set(shown["item"]) == {"id", "ordinal", "asked", "answer", "expected", "context", "source", "at_us"}
    assert (shown["mine"], shown["items"]) == (0, 4)
    following = server.ask("POST", path("changing", "labels"), {"item": shown["item"]["id"], "label": "unsure"})
    assert following["mine"] == 1
    assert following["item"]["id"] != shown["item"]["id"]
    changed = server.ask("POST", path("changing", "labels"), {"item": shown["item"]["id"], "label": "fail"})
    assert changed["mine"] == 1  # one's mind may change; it is still one label
    for bad in ({"item": shown["item"]["id"], "label": "maybe"}, {"item": "nothing", "label": "pass"}):
        reply = send(server.url, "POST", path("changing", "labels"), json.dumps(bad).encode(),
                     {"authorization": f"Bearer {server.key}"})  # fmt: skip
        assert reply.status in (400, 404)


def test_answers_to_label_come_from_live_traffic_without_addresses(world: tuple[Server, App], sim: Sim) -> None:
    server, app = world
    sim.play(main=Target(answer=Answer(echo=True)))
    app.chat("write to ana@example.org please")
    made = server.ask("POST", path("failing", "samples"), {"count": 5})
    assert made["new"] >= 1
    items = server.ask("GET", path("failing", "items"))["items"]
    assert any("write to [email] please" in item["answer"] for item in items)
    assert not any("ana@example.org" in str(item) for item in items)


def test_the_command_line_imports_runs_and_calibrates(
    world: tuple[Server, App], sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = world
    sim.play(failing=KIND)
    monkeypatch.setenv("WATERLINE_URL", server.url)
    monkeypatch.setenv("WATERLINE_KEY", server.key)
    rows = [f"please {n},pass" for n in range(15)] + [f"no {n},fail" for n in range(15)]
    (tmp_path / "labels.csv").write_text("answer,label\n" + "\n".join(rows) + "\n")
    run = CliRunner().invoke
    made = run(commands(), ["judge", "import", "judged", "failing", str(tmp_path / "labels.csv"), "--labeller", "rui"])
    assert "30 answers, 30 of them new; 30 labels" in made.output
    done = run(commands(), ["judge", "calibrate", "judged", "failing"])
    assert done.exit_code == 0, done.output
    assert "kappa: 1.00" in done.output
    assert "may gate" in done.output
    assert run(commands(), ["judge", "show", "judged", "changing"]).exit_code == 2
    assert "failing" in run(commands(), ["judge", "list", "judged"]).output
    (tmp_path / "bad.csv").write_text("answr,label\nx,pass\n")
    bad = run(commands(), ["judge", "import", "judged", "failing", str(tmp_path / "bad.csv")])
    assert bad.exit_code == 1


def test_the_pages_of_a_judge_show_the_table_and_label_without_a_script(world: tuple[Server, App]) -> None:
    server, _ = world
    labelled(server, "desk", 3, 0)

    def page(method: str, at: str, form: bytes | None = None) -> str:
        headers = {"authorization": f"Bearer {server.key}", "accept": "text/html"}
        headers |= {"content-type": "application/x-www-form-urlencoded"} if form else {}
        reply = send(server.url, method, at, form, headers)
        assert reply.status in (200, 303), (at, reply.status)
        return reply.body.decode() or reply.headers.get("location", "")

    assert "may gate" in page("GET", "/judges").casefold()
    assert "at least 10 answers that people passed" in page("GET", "/judges/judged/desk")
    shown = page("GET", "/judges/judged/desk/label")
    assert "0 of 6 labelled by you" in shown
    assert "curt words" not in shown  # the judge's reason
    item = shown.split('name="item" value="')[1].split('"')[0]
    assert "/judges/judged/desk/label" in page("POST", "/judges/judged/desk/label", f"item={item}&label=fail".encode())
    assert "1 of 6 labelled by you" in page("GET", "/judges/judged/desk/label")
    missing = send(server.url, "GET", "/judges/judged/nothing", None,
                   {"authorization": f"Bearer {server.key}", "accept": "text/html"})  # fmt: skip
    assert missing.status == 404


def test_a_share_of_live_answers_is_judged_between_requests_and_never_on_the_users_budget(
    world: tuple[Server, App], sim: Sim
) -> None:
    server, _ = world
    sim.play(main=Target(answer=Answer(echo=True)), tone=KIND)
    dear = msgspec.structs.replace(JUDGE, question="Dear?", sample=1.0,
                                   route=msgspec.structs.replace(ROUTE, model="dear-2026-01-01"))  # fmt: skip
    declared = {"tone": msgspec.structs.replace(JUDGE, question="Tone?", sample=1.0), "dear": dear,
                "off": msgspec.structs.replace(JUDGE, question="Off?")}  # fmt: skip
    price = PriceOverride(model="dear-2026-01-01", provider="simulated", input=10**9, output=10**9)
    watched = App(server, "watched", {"main": Route(provider="simulated", model="small")}, judges=declared,
                  prices=(price,))  # fmt: skip
    key = watched.make_key(assert_identity=True)["key"]
    body = json.dumps({"model": "main", "messages": [{"role": "user", "content": "please write to Ana Quirido"}]})
    headers = {"authorization": f"Bearer {key}", "x-waterline-subject": "ana"}
    trace = send(server.url, "POST", "/v1/chat/completions", body.encode(), headers).trace

    def said() -> dict[str, str]:
        return {v["name"]: v["outcome"] for v in server.trace(trace)["verdicts"]}

    assert eventually(lambda: said() == {"judge.tone": "pass"})
    assert sim.asked("dear") == sim.asked("off") == 0  # nobody said what it may cost; nobody asked for it
    rows = server.traces(app="watched")
    assert {row["purpose"]: row["route"] for row in rows} == {"live": "main", "judge": "tone"}
    assert len({server.trace(row["id"])["row"]["subject"] for row in rows}) == 1  # erased together
    server.ask("POST", "/api/apps/watched/judges/off/samples", {"count": 5})
    page = "/api/apps/watched/judges/off/items"
    assert "Ana Quirido" in str(server.ask("GET", page))
    done = server.ask("POST", "/api/subjects/erasure", {"subject": "ana", "why": "she asked"})
    assert done["count"]["judge_items"] == 1
    assert "Ana Quirido" not in str(server.ask("GET", page))
    left = [server.trace(row["id"]) for row in rows]
    assert all("Quirido" not in str(one) for one in left)
