"""Counters of this process, for `/metrics` (Prometheus text format 0.0.4)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from waterline.core.app_spec import Priority

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
Labels = tuple[str, ...]


class Tally:
    """What became of the requests of one app, route and model."""

    __slots__ = ("buckets", "cost", "ended", "latency_us", "tokens_in", "tokens_out")

    def __init__(self) -> None:
        self.ended: dict[tuple[str, str], int] = {}  # outcome, code
        self.buckets = [0] * (len(BUCKETS_S) + 1)  # the last is +Inf
        self.latency_us = 0
        self.cost = 0  # nano-USD
        self.tokens_in = 0
        self.tokens_out = 0


class Metrics:
    def __init__(self) -> None:
        self.tallies: dict[Labels, Tally] = {}  # app, route, model
        self.sheds: dict[Labels, int] = {}  # app, why, priority
        self.events: dict[Labels, int] = {}  # name -> count: fallbacks, unpriced, overshoot, auth failures

    def count(self, name: str, by: int = 1) -> None:
        self.events[(name,)] = self.events.get((name,), 0) + by

    def shed(self, app: str, why: Literal["event_loop", "provider"], priority: Priority) -> None:
        labels = (app, why, priority)
        self.sheds[labels] = self.sheds.get(labels, 0) + 1

    def ended(
        self,
        app: str,
        route: str,
        outcome: str,
        code: str,
        model: str,
        duration_us: int,
        cost_nano_usd: int | None,
        tokens_in: int,
        tokens_out: int,
    ) -> None:
        labels = (app, route, model)
        tally = self.tallies.get(labels)
        if tally is None:
            tally = self.tallies[labels] = Tally()
        end = (outcome, code)
        tally.ended[end] = tally.ended.get(end, 0) + 1
        tally.buckets[bisect_left(BUCKETS_S, duration_us / 1e6)] += 1
        tally.latency_us += duration_us
        if cost_nano_usd:
            tally.cost += cost_nano_usd
        tally.tokens_in += tokens_in
        tally.tokens_out += tokens_out

    def text(self, gauges: dict[str, float]) -> str:
        """`gauges`: name -> value, measured by the caller (spool, budgets, database)."""
        requests, cost, tokens = Counter[Labels](), Counter[Labels](), Counter[Labels]()
        sums, latency = Counter[Labels](), dict[Labels, list[int]]()
        for (app, route, model), tally in self.tallies.items():
            for end, n in tally.ended.items():
                requests[(app, route, *end)] += n
            for found, key, n in (
                (cost, model, tally.cost), (tokens, "in", tally.tokens_in), (tokens, "out", tally.tokens_out)
            ):  # fmt: skip
                if n:
                    found[(app, route, key)] += n
            sums[(app, route)] += tally.latency_us
            before = latency.get((app, route))
            latency[(app, route)] = (
                [a + b for a, b in zip(before, tally.buckets, strict=True)] if before else tally.buckets
            )
        out: list[str] = []
        _family(out, "waterline_requests_total", "counter", "Requests that ended")
        _samples(out, "waterline_requests_total", ("app", "route", "outcome", "code"), requests)
        _family(out, "waterline_cost_nano_usd_total", "counter", "Cost, in nano-USD")
        _samples(out, "waterline_cost_nano_usd_total", ("app", "route", "model"), cost)
        _family(out, "waterline_tokens_total", "counter", "Tokens")
        _samples(out, "waterline_tokens_total", ("app", "route", "direction"), tokens)
        _family(out, "waterline_events_total", "counter", "Things worth counting")
        _samples(out, "waterline_events_total", ("event",), self.events)
        _family(out, "waterline_shed_total", "counter", "Requests refused because there was too much to do")
        _samples(out, "waterline_shed_total", ("app", "why", "priority"), self.sheds)
        name = "waterline_request_duration_seconds"
        _family(out, name, "histogram", "Duration of a request")
        for place, counts in sorted(latency.items()):
            labels = _labels(("app", "route"), place)
            running = 0
            for bound, n in zip((*BUCKETS_S, float("inf")), counts, strict=True):
                running += n
                edge = "+Inf" if bound == float("inf") else repr(bound)
                out.append(f'{name}_bucket{{{labels},le="{edge}"}} {running}')
            out.append(f"{name}_sum{{{labels}}} {sums[place] / 1e6}")
            out.append(f"{name}_count{{{labels}}} {running}")
        for gauge, value in sorted(gauges.items()):
            out += [f"# TYPE {gauge} gauge", f"{gauge} {value:g}"]
        return "\n".join(out) + "\n"


def _family(out: list[str], name: str, kind: str, help_text: str) -> None:
    out += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _samples(out: list[str], name: str, names: Labels, values: Mapping[Labels, int]) -> None:
    out += [f"{name}{{{_labels(names, key)}}} {value}" for key, value in sorted(values.items())]


def _labels(names: Labels, values: Labels) -> str:
    def escape(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return ",".join(f'{name}="{escape(value)}"' for name, value in zip(names, values, strict=True))
