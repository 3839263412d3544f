"""More than a provider takes: shed early and by priority, or to a fallback; never a queue."""

from concurrent.futures import ThreadPoolExecutor

from waterline.core.app_spec import Limits
from waterline.providers.simulated_script import Answer, Target

SLOW = Target(answer=Answer(text="At last."), first_token_ms=4000.0)
ADAPTIVE = Limits(adaptive_concurrency=True)
TWO = {"first_token_s": 20.0, "total_s": 30.0}


def at_once(app, count, **headers):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: app.chat(headers=headers), range(count)))


def warm(app, sim):
    """It is known to answer: what comes next is not held back until the first news."""
    sim.play()
    assert app.chat().status == 200


def test_beyond_the_learned_limit_callers_are_shed_at_once_with_retry_after(make_app, sim):
    app = make_app(main=TWO, limits=ADAPTIVE)
    warm(app, sim)
    sim.play(main=SLOW)
    replies = at_once(app, 40)
    assert {r.status for r in replies} == {200, 503}
    shed = [r for r in replies if r.status == 503]
    assert all((r.code, r.headers["retry-after"]) == ("overloaded", "1") for r in shed)
    assert sim.stats("main")["max_in_flight"] >= 1
    assert sim.asked("main") == len(replies) - len(shed) <= 20
    assert all(app.trace_of(r)["row"]["attempts"] == 0 for r in shed[:3])


def test_with_a_fallback_nobody_is_shed(make_app, sim):
    app = make_app(fallback=True, main=TWO, limits=ADAPTIVE)
    warm(app, sim)
    sim.play(main=SLOW)
    assert {r.status for r in at_once(app, 30)} == {200}
    assert sim.asked("main") < 30


def test_low_priority_is_shed_first(make_app, sim):
    app = make_app(main=TWO, limits=ADAPTIVE)
    warm(app, sim)
    sim.play(main=SLOW)
    low = at_once(app, 30, x_waterline_priority="low")
    assert sum(r.status == 200 for r in low) == 14  # 70 % of 20
    high = at_once(app, 30, x_waterline_priority="high")
    assert sum(r.status == 200 for r in high) > 14


def test_without_it_nothing_is_shed(make_app, sim):
    app = make_app(main=TWO)
    warm(app, sim)
    sim.play(main=SLOW)
    assert {r.status for r in at_once(app, 30)} == {200}


def test_an_unknown_priority_is_refused_by_name(make_app):
    reply = make_app().chat(headers={"x_waterline_priority": "urgent"})
    assert (reply.status, reply.code) == (400, "invalid_request")
