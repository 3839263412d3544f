"""A trial drives the team's own code where [app] names it, and counts what it asks models through the gateway."""

import socket
import sys
from pathlib import Path

import pytest

from waterline.core.app_spec import AppSpec, Command, encode_spec
from waterline.core.case import Case, Expect
from waterline.core.release import Release, Route, encode_release
from waterline.providers.simulated import SimulatedProcess
from waterline.providers.simulated_script import Answer, Script, Target
from waterline.trials.asking import CouldNotRun, Question, RealModel
from waterline.trials.instance import Instance
from waterline.trials.progress import Silent
from waterline.trials.team_app import TeamApp

TEAM = r"""
import http.server, json, os, sys, urllib.request

class Agent(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = []
        for turn in ("plan", "answer"):  # two calls to models behind one answer
            body = {"model": "main", "messages": asked["messages"] + [{"role": "user", "content": turn}]}
            url, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
            headers = {"authorization": "Bearer " + key, "content-type": "application/json"}
            call = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode(), headers)
            said.append(json.load(urllib.request.urlopen(call))["choices"][0]["message"]["content"])
        chunk = {"choices": [{"index": 0, "delta": {"content": "team: " + said[1]}, "finish_reason": "stop"}]}
        data = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *a):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Agent).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def real_model(declared: Command, route: Route, folder: Path) -> RealModel:
    release = Release(app="agent", routes={"main": route})
    spec = encode_spec(AppSpec(name="agent", app=declared))
    team = TeamApp(declared, folder, folder / "team.log")
    return RealModel(Instance(folder / "real"), release, encode_release(release), spec, "production", team)


async def test_questions_go_to_the_teams_code_and_its_calls_are_counted(tmp_path: Path) -> None:
    (tmp_path / "team.py").write_text(TEAM)
    port = free_port()
    declared = Command(command=f"{sys.executable} team.py {port}", url=f"http://127.0.0.1:{port}/v1")
    async with SimulatedProcess(Script(default=Target(answer=Answer(text="Tuesday")))) as provider:
        route = Route(provider="openai", model="gpt-4o-mini", base_url=provider.base_url("main"))
        real = real_model(declared, route, tmp_path)
        cases = [Case(id=f"c{n}", expect=Expect(contains=("tuesday",)), input="When?") for n in range(2)]
        try:
            asked = await real.ask([Question(case) for case in cases], Silent())
        finally:
            await real.close()
    assert [a.call.text for a in asked] == ["team: Tuesday"] * 2
    for a in asked:
        assert a.passed
        assert a.model == "gpt-4o-mini"
        assert a.usage is not None
        assert a.usage.total_output >= 2
        assert a.cost_nano_usd is not None
        assert a.cost_nano_usd > 0
    with socket.socket() as gone:
        assert gone.connect_ex(("127.0.0.1", port)) != 0  # it ends with the trial


async def test_code_that_does_not_start_is_a_drill_that_could_not_run(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('no database')")
    declared = Command(command=f"{sys.executable} broken.py", url="http://127.0.0.1:9/v1")
    real = real_model(declared, Route(provider="openai", model="m", base_url="http://127.0.0.1:9/v1"), tmp_path)
    case = Case(id="c", expect=Expect(contains=("x",)), input="?")
    try:
        with pytest.raises(CouldNotRun, match="no database"):
            await real.ask([Question(case)], Silent())
    finally:
        await real.close()
