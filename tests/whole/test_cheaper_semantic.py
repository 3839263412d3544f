"""The semantic cache through the whole app, with the real embeddings."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from whole_app import App, Release, Reply, Server, Sim, eventually

from waterline.core.release import Route
from waterline.core.savings import Cache, Semantic
from waterline.providers.simulated_script import Answer, Target

pytest.importorskip("wordllama")


def semantic(**changes: Any) -> Semantic:
    from waterline.providers.embedder import weights_digest

    given = {"threshold": 0.7, "embedder": weights_digest(), "cases": "c", "questions": 100, "hits": 50,
             "false_hits": 0, "false_upper": 0.05, **changes}  # fmt: skip
    return Semantic(**given)


@pytest.fixture
def app(server: Server, sim: Sim, request: pytest.FixtureRequest) -> App:
    sim.play(Target(answer=Answer(echo=True)))
    name = "semantic-" + "".join(c for c in request.node.name.lower() if c.isalnum())[-40:]
    made = App(server, name, {"main": Route(provider="simulated", model="small")})
    made.install(Release(app=name, routes=made.release.routes, cache=Cache(exact=True, semantic=semantic())))
    # The embeddings are loaded in a thread when they are first needed.
    assert eventually(lambda: near(ask_both(made)), 60), "the embedder never became ready"
    return made


_NUMBER = iter(range(10_000))


def ask_both(app: App) -> Reply:
    topic = f"open door {next(_NUMBER)}"
    app.chat(f"tell me about the {topic}")
    return app.chat(f"hi tell me about the {topic} please")


def near(reply: Reply) -> bool:
    assert reply.status == 200, reply.body
    return reply.headers.get("x-waterline-cache") == "semantic"


@pytest.mark.parametrize("stream", [False, True])
def test_another_wording_is_answered_without_the_provider_and_costs_nothing(app: App, sim: Sim, stream: bool) -> None:
    first = app.chat("when does the school open?", stream=stream)
    before = sim.asked("main")
    second = app.chat("hello, what time does the school open please?", stream=stream)
    assert near(second)
    assert second.body == first.body
    assert sim.asked("main") == before
    app.server.traces(app=app.name)
    trace = app.trace_of(second)
    (event,) = [e for e in trace["events"] if e["type"] == "cache_hit"]
    assert (event["source"], trace["row"]["cost_nano_usd"]) == (first.trace, 0)
    assert 0.7 <= event["similarity"] < 1


def test_no_caller_gets_the_answer_to_anothers_question_however_similar(app: App) -> None:
    app.chat("when does the school open?")
    wording = "hi, when does the school open please?"
    app.key = app.make_key(assert_identity=True)["key"]
    assert not near(app.chat(wording, headers={"x_waterline_subject": "ana"}))
    assert not near(app.chat(wording, headers={"x_waterline_subject": "rui"}))
    assert not near(app.chat(wording, headers={"x_waterline_groups": "teachers"}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("how much is grade 3 a month?", "how much is grade 4 a month?"),
        ("can my son come to the visit?", "can my son not come to the visit?"),
        ("when is the visit to the school?", "where is the visit to the school?"),
        ("send the form to ana please", "send the form to rui please"),
    ],
)
def test_what_differs_in_what_matters_is_asked_anew(app: App, one: str, other: str) -> None:
    app.chat(one)
    assert not near(app.chat(other))


def test_a_conversation_and_other_parameters_are_asked_anew(app: App) -> None:
    app.chat("when does the school open?")
    wording = "hi, when does the school open please?"
    earlier = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello."}]
    assert not near(app.post({"model": "main", "messages": [*earlier, {"role": "user", "content": wording}]}))
    assert not near(app.chat(wording, temperature=0.5))
    assert not near(app.chat(wording, stream=True))
    assert near(app.chat(wording))


def test_a_calibration_for_other_embeddings_is_not_used(app: App) -> None:
    other = Cache(exact=True, semantic=semantic(embedder="f" * 64))
    app.install(Release(app=app.name, routes=app.release.routes, cache=other))
    assert not near(ask_both(app))


def waterline(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "waterline", *arguments], capture_output=True, text=True, timeout=120)


def test_a_folder_with_a_semantic_cache_needs_a_calibration_for_its_cases(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    head = 'name = "s"\n[models.main]\nprovider = "simulated"\nmodel = "m"\n'
    (tmp_path / "app.toml").write_text(head + "[cache]\nexact = true\nsemantic = true\n")
    topics = [
        "bus",
        "pool",
        "lunch",
        "visit",
        "uniform",
        "library",
        "garden",
        "piano",
        "chess",
        "judo",
        "latin",
        "canteen",
    ]
    topics += ["nurse", "choir", "theatre"]
    ways = ("tell me of the {}", "hi, tell me of the {}", "tell me of the {} please", "tell me of the {}, thanks",
            "hello, tell me of the {} please", "please tell me of the {}", "could you tell me of the {}",
            "hi please tell me of the {}", "hey, tell me of the {}, thank you")  # fmt: skip

    def write(topics: list[str]) -> None:
        lines = [
            f'{{"id": "{t}{n}", "input": "{way.format(t)}", "expect": {{"contains": ["{t}"]}}}}'
            for t in topics
            for n, way in enumerate(ways)
        ]
        (tmp_path / "cases" / "c.jsonl").write_text("\n".join(lines))

    write(topics[:3])
    missing = waterline("check", str(tmp_path))
    assert missing.returncode == 1
    assert "waterline cache calibrate" in missing.stderr
    assert waterline("cache", "calibrate", str(tmp_path)).returncode == 2
    assert not (tmp_path / "semantic.json").exists()
    write(topics)
    done = waterline("cache", "calibrate", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    good = waterline("check", str(tmp_path))
    assert good.returncode == 0, good.stderr
    assert "falsely" in good.stdout
    write(topics[:-1])
    stale = waterline("check", str(tmp_path))
    assert stale.returncode == 1
    assert "other cases" in stale.stderr
