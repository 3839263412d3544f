"""Counters of this process, for `/metrics` (Prometheus text format 0.0.4)."""

from bisect import bisect_left

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
Labels = tuple[str, ...]


class Metrics:
    def __init__(self) -> None:
        self.requests: dict[Labels, int] = {}  # app, route, outcome, code
        self.cost: dict[Labels, int] = {}  # app, route, model -> nano-USD
        self.tokens: dict[Labels, int] = {}  # app, route, direction
        self.latency: dict[Labels, list[int]] = {}  # app, route -> one count a bucket, the last is +Inf
        self.latency_sum_us: dict[Labels, int] = {}
        self.events: dict[Labels, int] = {}  # name -> count: fallbacks, unpriced, overshoot, auth failures
        self.in_flight = 0

    def count(self, name: str, by: int = 1) -> None:
        self.events[(name,)] = self.events.get((name,), 0) + by

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
        key = (app, route, outcome, code)
        self.requests[key] = self.requests.get(key, 0) + 1
        place = (app, route)
        counts = self.latency.get(place)
        if counts is None:
            counts = self.latency[place] = [0] * (len(BUCKETS_S) + 1)
        counts[bisect_left(BUCKETS_S, duration_us / 1e6)] += 1
        self.latency_sum_us[place] = self.latency_sum_us.get(place, 0) + duration_us
        if cost_nano_usd:
            spent = (app, route, model)
            self.cost[spent] = self.cost.get(spent, 0) + cost_nano_usd
        if tokens_in:
            self.tokens[(app, route, "in")] = self.tokens.get((app, route, "in"), 0) + tokens_in
        if tokens_out:
            self.tokens[(app, route, "out")] = self.tokens.get((app, route, "out"), 0) + tokens_out

    def text(self, gauges: dict[str, float]) -> str:
        """`gauges`: name -> value, measured by the caller (spool, budgets, database)."""
        out: list[str] = []
        _family(out, "waterline_requests_total", "counter", "Requests that ended")
        _samples(out, "waterline_requests_total", ("app", "route", "outcome", "code"), self.requests)
        _family(out, "waterline_cost_nano_usd_total", "counter", "Cost, in nano-USD")
        _samples(out, "waterline_cost_nano_usd_total", ("app", "route", "model"), self.cost)
        _family(out, "waterline_tokens_total", "counter", "Tokens")
        _samples(out, "waterline_tokens_total", ("app", "route", "direction"), self.tokens)
        _family(out, "waterline_events_total", "counter", "Things worth counting")
        _samples(out, "waterline_events_total", ("event",), self.events)
        name = "waterline_request_duration_seconds"
        _family(out, name, "histogram", "Duration of a request")
        for place, counts in sorted(self.latency.items()):
            labels = _labels(("app", "route"), place)
            running = 0
            for bound, n in zip((*BUCKETS_S, float("inf")), counts, strict=True):
                running += n
                edge = "+Inf" if bound == float("inf") else repr(bound)
                out.append(f'{name}_bucket{{{labels},le="{edge}"}} {running}')
            out.append(f"{name}_sum{{{labels}}} {self.latency_sum_us[place] / 1e6}")
            out.append(f"{name}_count{{{labels}}} {running}")
        for gauge, value in sorted(gauges.items()):
            out += [f"# TYPE {gauge} gauge", f"{gauge} {value:g}"]
        return "\n".join(out) + "\n"


def _family(out: list[str], name: str, kind: str, help_text: str) -> None:
    out += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _samples(out: list[str], name: str, names: Labels, values: dict[Labels, int]) -> None:
    out += [f"{name}{{{_labels(names, key)}}} {value}" for key, value in sorted(values.items())]


def _labels(names: Labels, values: Labels) -> str:
    def escape(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return ",".join(f'{name}="{escape(value)}"' for name, value in zip(names, values, strict=True))
