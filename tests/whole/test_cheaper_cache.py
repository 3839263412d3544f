"""The exact cache, through the whole app: what it saves, and whom it never mixes up."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from whole_app import App, Prompt, Release, Reply, Server, Sim

from waterline.core.app_spec import PriceOverride
from waterline.core.release import Route
from waterline.core.savings import Cache
from waterline.providers.simulated_script import Answer, Fault, Target, Tool

PRICES = (PriceOverride(model="small", provider="simulated", input=1_000_000_000, output=2_000_000_000),)
HIT = "x-waterline-cache"


@pytest.fixture
def cached(server: Server, sim: Sim) -> Any:
    """cached(cache=..., prompts=..., main={...}) -> an app whose answers are echoes, and cached."""
    sim.play(Target(answer=Answer(echo=True)))
    made = iter(range(1000))

    def make(cache: Cache | None = None, fallback: bool = False, **spec: Any) -> App:
        main = {"provider": "simulated", "model": "small", "retries": 0, "total_s": 8.0, **spec.pop("main", {})}
        routes = {"main": Route(**main, fallbacks=("backup",) if fallback else ())}
        if fallback:
            routes["backup"] = Route(provider="simulated", model="other", retries=0, total_s=8.0)
        prompts = spec.pop("prompts", {})
        app = App(server, f"cached{next(made)}-{id(spec)}", routes, prices=PRICES, prompts=prompts, **spec)
        policy = cache or Cache(exact=True)
        app.release = Release(app=app.name, routes=routes, prompts=prompts, cache=policy)
        app.id = app.install(app.release)
        return app

    return make


def hit(reply: Reply) -> bool:
    assert reply.status == 200, reply.body
    return reply.headers.get(HIT) == "hit"


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_question_is_answered_again_without_the_provider_byte_for_byte(
    cached: Any, sim: Sim, stream: bool
) -> None:
    app = cached()
    before = sim.asked("main")
    first, second = app.chat("when do you open?", stream=stream), app.chat("when do you open?", stream=stream)
    assert not hit(first)
    assert hit(second)
    assert second.body == first.body
    assert second.headers["content-type"] == first.headers["content-type"]
    assert sim.asked("main") - before == 1


def test_an_answer_from_the_cache_costs_nothing_in_every_book(cached: Any, server: Server) -> None:
    app = cached()
    app.chat("how much?")
    second = app.chat("how much?")
    assert float(second.headers["x-waterline-cost-usd"]) == 0
    assert second.json["usage"]["prompt_tokens"] > 0  # the body is the provider's
    rows = server.traces(app=app.name)
    assert [r["cost_nano_usd"] > 0 for r in rows] == [False, True]
    assert (rows[0]["tokens_in"], rows[0]["tokens_out"], rows[0]["attempts"]) == (0, 0, 0)
    assert sum(r["cost_nano_usd"] for r in server.ask("GET", "/api/cost", app=app.name)) == rows[1]["cost_nano_usd"]
    seen = next(a for a in server.ask("GET", "/api/apps") if a["name"] == app.name)
    assert seen["spent_today_nano_usd"] == rows[1]["cost_nano_usd"]


def test_the_trace_says_whose_answer_it_was(cached: Any, server: Server) -> None:
    app = cached()
    first, second = app.chat("where are you?"), app.chat("where are you?")
    server.traces(app=app.name)
    trace = app.trace_of(second)
    event = next(e for e in trace["events"] if e["type"] == "cache_hit")
    assert event["source"] == first.trace
    assert event["age_us"] >= 0
    assert len(event["key"]) == 32
    assert "where are you?" in trace["request"]
    replayed = server.ask("POST", f"/api/traces/{second.trace}/replay", {})
    assert first.trace in str(replayed)


def test_no_key_app_environment_subject_or_group_sees_anothers_answer(cached: Any, server: Server) -> None:
    one, two = cached(), cached()
    one.chat("my balance?")
    assert not hit(two.chat("my balance?"))
    assert hit(one.chat("my balance?"))
    one.key = one.make_key()["key"]  # another team of the same app
    assert not hit(one.chat("my balance?"))
    one.key = one.make_key(assert_identity=True)["key"]
    ana, rui = {"x_waterline_subject": "ana"}, {"x_waterline_subject": "rui"}
    assert not hit(one.chat("my balance?", headers=ana))
    assert not hit(one.chat("my balance?", headers=rui))
    assert hit(one.chat("my balance?", headers=ana))
    assert not hit(one.chat("my balance?", headers={**ana, "x_waterline_groups": "teachers"}))


def test_shared_answers_are_shared_between_keys_and_subjects_but_not_between_groups(cached: Any) -> None:
    app = cached(Cache(exact=True, shared=True))
    app.chat("opening hours?")
    app.key = app.make_key(assert_identity=True)["key"]
    assert hit(app.chat("opening hours?", headers={"x_waterline_subject": "ana"}))
    assert not hit(app.chat("opening hours?", headers={"x_waterline_groups": "teachers"}))


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 1}, {"seed": 2}, {"n": 2}, {"max_tokens": 50}, {"stream": True}, {"stop": ["x"]},
        {"unheard_of": 1}, {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
    ids=lambda m: next(iter(m)),
)  # fmt: skip
def test_a_request_that_differs_in_any_parameter_is_another_question(cached: Any, more: dict[str, Any]) -> None:
    app = cached()
    app.chat("hello")
    assert not hit(app.chat("hello", **more))


def test_a_new_release_begins_with_an_empty_cache(cached: Any) -> None:
    app = cached()
    app.chat("hello")
    assert hit(app.chat("hello"))
    app.install(Release(app=app.name, routes=app.release.routes, cache=Cache(exact=True), purpose="another"))
    assert not hit(app.chat("hello"))


def test_the_variables_of_a_prompt_are_in_the_key(cached: Any) -> None:
    prompt = Prompt(text="You speak to {{name}}.", variables=("name",))
    app = cached(main={"prompt": "p"}, prompts={"p": prompt})
    ana, rui = ({"waterline": {"variables": {"name": n}}} for n in ("Ana", "Rui"))
    app.chat("hello", **ana)
    assert not hit(app.chat("hello", **rui))
    assert hit(app.chat("hello", **ana))


@pytest.mark.parametrize("headers", [{"cache_control": "no-store"}, {"x_waterline_cache": "bypass"}])
def test_a_caller_may_pass_the_cache_by(cached: Any, headers: dict[str, str]) -> None:
    app = cached()
    app.chat("hello", headers=headers)
    assert not hit(app.chat("hello"))  # it was not kept either
    assert not hit(app.chat("hello", headers=headers))
    assert hit(app.chat("hello"))


def test_a_caller_may_refresh_what_is_kept(cached: Any) -> None:
    app = cached()
    first = app.chat("hello")
    second = app.chat("hello", headers={"x_waterline_cache": "refresh"})
    assert not hit(second)
    assert second.json["id"] != first.json["id"]
    assert app.chat("hello").json["id"] == second.json["id"]
    assert app.chat("hello", headers={"x_waterline_cache": "maybe"}).status == 400


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "target",
    [
        Target(answer=Answer(text="one two three four five six"), tokens=400),
        Target(answer=Answer(echo=True), faults=(Fault(kind="content_filter"),)),
        Target(answer=Answer(tool=Tool(name="f"))),
    ],
    ids=["truncated", "content filter", "tool call"],
)
def test_what_is_not_a_whole_answer_in_words_is_not_kept(cached: Any, sim: Sim, target: Target, stream: bool) -> None:
    app = cached()
    sim.play(target)
    more = {"max_tokens": 2, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}
    first = app.chat("hello", stream=stream, **more)
    assert first.status == 200
    assert not hit(app.chat("hello", stream=stream, **more))


@pytest.mark.parametrize("kind", ["cut", "missing_done", "error_event"])
def test_a_broken_stream_is_not_kept(cached: Any, sim: Sim, kind: Any) -> None:
    app = cached()
    sim.play(Target(answer=Answer(echo=True), faults=(Fault(kind=kind),)))
    app.chat("hello to all of you", stream=True)
    sim.play(Target(answer=Answer(echo=True)))
    assert not hit(app.chat("hello to all of you", stream=True))


def test_an_empty_answer_is_not_kept(cached: Any, sim: Sim) -> None:
    app = cached()
    sim.play(Target(answer=Answer(text=" ")))
    app.chat("hello")
    assert not hit(app.chat("hello"))


def test_the_answer_of_a_fallback_is_not_kept_for_the_route_that_failed(cached: Any, sim: Sim) -> None:
    app = cached(fallback=True)
    sim.play(Target(answer=Answer(echo=True)), main=Target(faults=(Fault(kind="http", status=503),)))
    assert app.chat("hello").status == 200
    assert not hit(app.chat("hello"))


def test_concurrent_streams_from_the_cache_are_never_mixed(cached: Any) -> None:
    app = cached()
    questions = [f"question {n} " * 20 for n in range(12)]

    def ask(at: int) -> tuple[str, Reply]:
        question = questions[at % len(questions)]
        return question, app.chat(question, stream=at % 2 == 0, max_tokens=4000)

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(ask, range(120)))
    assert all(reply.text.strip() == question.strip() for question, reply in replies)
    assert sum(hit(reply) for _, reply in replies) > 40


@pytest.fixture(scope="module")
def trial_server(sim: Sim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("d") / "d", f"{sim.address}/{{route}}", WATERLINE_PURPOSE="eval")
    yield made
    made.stop()


def test_repeats_of_an_evaluation_are_never_served_from_the_cache(trial_server: Server, sim: Sim) -> None:
    sim.play(Target(answer=Answer(echo=True)))
    app = App(trial_server, "repeated", {"main": Route(provider="simulated", model="small")})
    app.install(Release(app=app.name, routes=app.release.routes, cache=Cache(exact=True)))
    assert not any(hit(app.chat("again")) for _ in range(3))
    assert sim.asked("main") == 3
