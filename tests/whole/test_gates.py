"""Gates, approvals and incidents as people use them: over HTTP and from the command line."""

import http.client
import json
import subprocess
import sys
import threading
from typing import Any

import pytest
from typer.testing import CliRunner
from whole_app import App, Route, Server, eventually, send

from waterline.cli import commands
from waterline.core.app_spec import AppSpec, Objectives, encode_spec
from waterline.core.gates import Gates
from waterline.core.release import Release
from waterline.providers.simulated_script import Target

APPROVED = {"production": Gates(("no_open_incident", "approval"))}


class Port:
    """A server with an app whose production asks for a second person."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.keys = {
            name: self.person(name, role)
            for name, role in (("Dev", "developer"), ("Olga", "operator"), ("Vic", "viewer"))
        }
        self.app = App(server, "gated", {"main": Route(provider="simulated", model="small")},
                       environments=("production", "staging"))  # fmt: skip
        self.app.spec = AppSpec("gated", environments=("production", "staging"), gates=APPROVED)
        self.put(self.app.spec)

    def person(self, name: str, role: str, **more: str) -> str:
        body = {"kind": "person", "role": role, "name": name, **more}
        return str(self.server.ask("POST", "/api/keys", body)["key"])

    def put(self, spec: AppSpec, key: str = "", reason: str = "because") -> Any:
        body = {"spec": encode_spec(spec).decode(), "reason": reason}
        return self.send("POST", "/api/environment-records", body, key or self.server.key)

    def build(self, model: str, who: str = "Dev") -> str:
        """By a developer."""
        from waterline.core.release import encode_release

        release = Release(app="gated", routes={"main": Route(provider="simulated", model=model)})
        body = {"manifest": encode_release(release).decode(), "spec": encode_spec(self.app.spec).decode()}
        return str(self.server.ask("POST", "/api/releases", body, key=self.keys[who])["id"])

    def send(self, method: str, path: str, body: Any, key: str) -> Any:
        return send(self.server.url, method, path, json.dumps(body).encode(), {"authorization": f"Bearer {key}"})

    def run(self, *words: str, who: str = "Olga") -> Any:
        """A command, in this process."""
        environ = {"WATERLINE_URL": self.server.url, "WATERLINE_KEY": self.keys[who] if who else self.server.key}
        return CliRunner().invoke(commands(), list(words), env=environ)


@pytest.fixture(scope="module")
def port(sim, tmp_path_factory):
    sim.play(main=Target())
    server = Server(tmp_path_factory.mktemp("gates") / "d", f"{sim.address}/{{route}}")
    yield Port(server)
    assert server.stop() == 0, server.log()[-3000:]


def test_a_release_needs_a_second_person_from_the_command_line(port):
    made = port.build("second")
    refused = port.run("promote", "gated", made[:12], "--to", "production")
    assert refused.exit_code == 1
    assert "approval: NOT PASSED: 0 of 1; its author, Dev, cannot" in refused.stderr
    assert f"next: waterline approve gated {made[:12]} --to production" in refused.stderr

    own = port.run("approve", "gated", made[:12], "--to", "production", who="Dev")
    assert own.exit_code == 1
    assert "the same person" in own.stderr

    looked = port.run("gates", "gated", made[:12], "--to", "production", "--json", who="Vic")
    assert looked.exit_code == 1
    assert json.loads(looked.stdout)["not_passed"] == ["approval"]

    said = port.run("approve", "gated", made[:12], "--to", "production", "--note", "read the prompts")
    assert said.exit_code == 0, said.stderr
    assert f"next: waterline promote gated {made[:12]} --to production" in said.stdout
    moved = port.run("promote", "gated", made[:12], "--to", "production")
    assert moved.exit_code == 0, moved.stderr
    assert "evidence: approval olga" in moved.stdout
    audit = [e["action"] for e in port.server.ask("GET", "/api/audit", limit=2)]
    assert audit == ["rollout.promote", "rollout.approve"]


def test_an_incident_blocks_until_it_is_closed_from_the_command_line(port):
    made = port.build("third")
    assert port.run("approve", "gated", made, "--to", "production").exit_code == 0
    trace = port.app.chat().trace
    opened = port.run("incident", "open", "gated", "It swears", "--severity", "critical", "--trace", trace, "--json",
                      who="Dev")  # fmt: skip
    one = json.loads(opened.stdout)
    assert one["links"] == [{"kind": "trace", "id": trace}]
    assert f"no_open_incident: NOT PASSED: open: {one['id']}" in port.run(
        "promote", "gated", made, "--to", "production"
    ).stderr  # fmt: skip
    assert one["id"] in port.run("incident", "list", "gated", who="Vic").stdout
    closed = port.run("incident", "close", one["id"], "--resolution", "the word list was empty")
    assert closed.exit_code == 0, closed.stderr
    assert port.run("promote", "gated", made, "--to", "production").exit_code == 0


def test_only_an_owner_goes_past_the_gates_and_it_stays_on_record(port):
    made = port.build("fourth")
    tried = port.run("promote", "gated", made, "--to", "production", "--override", "now")
    assert tried.exit_code == 1
    assert 'may not do "gate.override"' in tried.stderr
    done = port.run("promote", "gated", made, "--to", "production", "--override", "the live one leaks", who="")
    assert done.exit_code == 0, done.stderr
    past = port.server.ask("GET", f"/api/releases/{made}/gates")
    assert (past[0]["override"], past[0]["report"]["not_passed"]) == ("the live one leaks", ["approval"])


def test_only_an_owner_asks_less_of_releases(port):
    less = AppSpec("gated", environments=("production", "staging"))
    key = port.keys["Olga"]
    assert port.put(less, key).status == 403
    assert "say why" in port.put(less, "", " ").json["error"]["message"].lower()
    assert port.server.ask("GET", "/api/apps/gated/spec")["gates"], "nothing was put into force"
    more = AppSpec(
        "gated", environments=("production", "staging"), gates=APPROVED, objectives=Objectives(availability=0.9)
    )
    assert port.put(more, key).status == 201
    assert port.put(port.app.spec, key).status == 201


def test_a_release_that_brings_no_gates_does_not_take_them_away(port):
    """Promoted to an environment that asks for nothing, it would otherwise open all the others."""
    kept = port.app.spec
    port.app.spec = AppSpec("gated", environments=("production", "staging"))
    made = port.build("sly")
    port.app.spec = kept
    moved = port.run("promote", "gated", made, "--to", "staging")
    assert moved.exit_code == 0, moved.stderr
    assert "approval" in str(port.server.ask("GET", "/api/apps/gated/spec")["gates"])
    last = port.server.ask("GET", "/api/audit", limit=1)[0]
    assert "asks less" in last["detail"]["record_in_force_stays"]


def test_two_keys_of_one_person_are_one_person(port):
    port.keys["Dev's other key"] = port.person("night shift", "operator", person="Dev")
    made = port.build("fifth")
    said = port.run("approve", "gated", made, "--to", "production", who="Dev's other key")
    assert said.exit_code == 1
    assert "built by Dev, and night shift is the same person" in said.stderr


def test_a_canary_begins_at_the_gates_too(port):
    made = port.build("ninth")
    refused = port.run("canary", "start", "gated", made, "--to", "production")
    assert refused.exit_code == 1
    assert "approval: NOT PASSED" in refused.stderr
    assert port.server.ask("GET", "/api/canaries", app="gated")["rows"] == []


def test_a_load_line_is_recorded_as_what_it_says_of_itself(port):
    made, other = port.build("tenth"), port.build("eleventh")
    key = port.keys["Dev"]

    def record(document: dict[str, Any], exit_status: int = 0) -> Any:
        body = {"app": "gated", "release": made, "exit_status": exit_status, "json": json.dumps(document), "html": ""}
        return port.send("POST", "/api/load-lines", body, key)

    assert "is of release" in record({"release": other}).json["error"]["message"]
    assert "It ended with 1, not with 0" in record({"release": made, "exit_status": 1}).json["error"]["message"]
    assert record({"release": made, "exit_status": 0, "objectives_id": "0" * 64}).json["valid"] is False
    assert record({"release": made, "exit_status": 0}).json["valid"] is True


@pytest.mark.slow
def test_up_starts_the_first_release_and_says_which_gates_nobody_passed(port, tmp_path, sim):
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / "app.toml").write_text(
        'name = "first"\n[environments]\nnames = ["production"]\n[environments.production]\n'
        'requires = ["load_line", "approval"]\n[models.main]\nprovider = "simulated"\nmodel = "small"\n'
    )
    command = [
        sys.executable,
        "-m",
        "waterline",
        "up",
        str(folder),
        "--data",
        str(tmp_path / "d"),
        "--port",
        "0",
        "--json",
    ]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=port.server.environ)
    try:
        ready = json.loads(child.stdout.readline())
        reply = send(ready["url"], "GET", "/api/apps/first/rollout", None, {"authorization": f"Bearer {ready['key']}"})
        assert reply.json["history"][0]["evidence"] == (
            "OVERRIDE (first release, by waterline up); not passed: approval, load_line"
        )
    finally:
        child.terminate()
        child.wait(timeout=60)


def test_the_page_of_a_release_has_the_checklist_and_the_button_only_for_who_may(port):
    made = port.build("sixth")

    def page(who: str, path: str = f"/releases/{made}") -> str:
        headers = {"authorization": f"Bearer {port.keys[who]}", "accept": "text/html"}
        reply = send(port.server.url, "GET", path, None, headers)
        assert reply.status == 200, reply.body
        return reply.body.decode()

    seen = page("Olga")
    assert "May it go to production?" in seen
    assert "Approve for production" in seen
    assert "You built this release" in page("Dev")
    assert "Approve for production" not in page("Dev")
    port.run("approve", "gated", made, "--to", "production", "--note", "<script>alert(1)</script>")
    seen = page("Olga")
    assert "You have approved it" in seen
    assert "<script>alert" not in seen
    assert "Nothing" not in page("Vic", "/incidents?state=open")
    assert "Open one" not in page("Vic", "/incidents")


def test_what_is_approved_on_the_page_is_what_the_page_showed(port):
    """Two tabs: the evidence changes in one, the button of the other no longer approves."""
    made = port.build("seventh")
    shown = port.server.ask("GET", "/api/apps/gated/gates", release=made, env="production")["shown"]
    other = port.build("eighth")
    port.server.ask("POST", "/api/apps/gated/moves", {"kind": "promote", "release": other, "override": "meanwhile"})
    body = {"release": made, "env": "production", "shown": shown}
    refused = port.send("POST", "/api/apps/gated/approvals", body, port.keys["Olga"])
    assert (refused.status, "changed since you looked" in refused.json["error"]["message"]) == (409, True)


@pytest.mark.slow
def test_a_kill_leaves_a_move_with_its_audit_entry_and_its_report_or_none_of_them(sim, tmp_path):
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    spec = {"environments": ("production",), "gates": {"production": Gates(("no_open_incident",))}}
    app = App(server, "killed", {"main": Route(provider="simulated", model="m0")}, **spec)
    ids = [app.id, app.build(Release(app="killed", routes={"main": Route(provider="simulated", model="m1")}))]
    done = 1
    for life in range(3):
        answered: list[str] = []

        def keep_moving(answered: list[str] = answered, url: str = server.url) -> None:
            while True:
                try:
                    now = send(url, "GET", "/api/apps/killed/rollout", None, {"authorization": f"Bearer {server.key}"})
                    live = now.json["shares"][0]["release"]
                    body = json.dumps({"kind": "promote", "release": ids[0] if live == ids[1] else ids[1]}).encode()
                    path = "/api/apps/killed/moves"
                    reply = send(url, "POST", path, body, {"authorization": f"Bearer {server.key}"})
                except (OSError, http.client.HTTPException, KeyError, IndexError, ValueError):
                    return
                if reply.status == 201:
                    answered.append(str(reply.json["seq"]))

        movers = [threading.Thread(target=keep_moving) for _ in range(2)]
        for mover in movers:
            mover.start()
        assert eventually(lambda n=5 + 3 * life, seen=answered: len(seen) >= n)
        server.kill9()
        for mover in movers:
            mover.join()
        server.start()
        done += len(answered)
        moves = server.ask("GET", "/api/apps/killed/rollout", env="production")["history"]
        audit = [e for e in server.ask("GET", "/api/audit", limit=1000) if e["action"] == "rollout.promote"]
        reports = [one["move"] for i in ids for one in server.ask("GET", f"/api/releases/{i}/gates")]
        assert len(audit) == len(moves) == len(reports)
        assert sorted(reports) == sorted(m["seq"] for m in moves)
        assert len(moves) >= done, "an answered move was lost"
        done = len(moves)
    server.stop()


@pytest.mark.slow
def test_the_commands_that_the_gates_name_lead_to_a_promotion(sim, tmp_path):
    """As they are printed: a real trial and a real evaluation of a gated app, each in a server of its own."""
    sim.play(main=Target())
    folder = tmp_path / "desk"
    (folder / "cases").mkdir(parents=True)
    (folder / "prompts").mkdir()
    (folder / "prompts" / "agent.md").write_text("You answer.")
    (folder / "app.toml").write_text(
        'name = "desk"\n[environments.production]\n'
        'requires = ["load_line", "evaluation", "no_open_incident", "approval"]\n'
        'evaluation_margin = 0.1\n[models.main]\nprovider = "simulated"\nmodel = "small"\nprompt = "agent"\n'
        '[objectives]\navailability = 0.9\n[trial]\ndrills = ["rollback"]\n'
    )
    rows = [{"id": f"c{n}", "input": f"hello {n}", "expect": {"max_words": 500}} for n in range(120)]
    (folder / "cases" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    try:
        keys = {
            name: server.ask("POST", "/api/keys", {"kind": "person", "role": role, "name": name})["key"]
            for name, role in (("Dev", "developer"), ("Olga", "operator"))
        }
        environ = {**server.environ, "WATERLINE_URL": server.url, "WATERLINE_DATA": str(tmp_path / "d")}
        environ["WATERLINE_REDIRECT_PROVIDERS"] = f"{sim.address}/{{route}}"

        def run(who: str, command: str) -> "subprocess.CompletedProcess[str]":
            words = command.replace("APP_DIR", str(folder)).split()
            return subprocess.run(
                [sys.executable, "-m", *words], capture_output=True, text=True, check=False, cwd=tmp_path,
                env={**environ, "WATERLINE_KEY": keys.get(who, server.key)}, stdin=subprocess.DEVNULL,
            )  # fmt: skip

        def built() -> str:
            return str(json.loads(run("Dev", "waterline release build APP_DIR --json").stdout)["id"])[:12]

        first = built()
        assert run("", f"waterline promote desk {first} --to production --override first").returncode == 0
        (folder / "prompts" / "agent.md").write_text("You answer in a word.")
        made = built()
        refused = run("Olga", f"waterline promote desk {made} --to production").stderr
        steps = [line.split("next: ")[1] for line in refused.splitlines() if "next: " in line]
        assert [step.split()[1] for step in steps] == ["trial", "eval", "approve"]
        for who, step in zip(("Dev", "Dev", "Olga"), steps, strict=True):
            done = run(who, step.partition(" (")[0])
            assert done.returncode == 0, (step, done.stdout[-2000:], done.stderr[-2000:])
        moved = run("Olga", f"waterline promote desk {made} --to production")
        assert moved.returncode == 0, moved.stderr
        assert "approval olga" in moved.stdout
        assert run("Olga", "waterline rollback desk").returncode == 0
        again = run("Olga", f"waterline promote desk {made} --to production")
        assert "rolled back since" in again.stderr
    finally:
        server.stop()
