"""What an app folder declares besides its behaviour: the environment record.

Rolling a release back must not bring an old budget back, so limits, prices, objectives and trial settings are
versioned here, apart from the Release. A record's id is the SHA-256 of its stored bytes; promotion applies it.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.core.branch import Branch
from waterline.core.canary import Canary, Shadow
from waterline.core.channels import Channels
from waterline.core.conversing import Conversing
from waterline.core.defaults import with_default_objects
from waterline.core.gates import NONE, SCORE_MIN, Gates, loosened
from waterline.core.ids import sha256_hex
from waterline.core.judge import Judge


class Spending(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Hard budgets of one name. None: not limited. Unit: nano-USD."""

    nano_usd_per_day: int | None = None
    nano_usd_per_month: int | None = None


UNLIMITED = Spending()
Priority = Literal["low", "normal", "high"]  # who is shed first


class Limits(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """None: not limited. Money in nano-USD (app.toml writes USD)."""

    rpm: int | None = None
    tpm: int | None = None
    nano_usd_per_day: int | None = None
    nano_usd_per_month: int | None = None
    max_concurrency: int | None = None
    timezone: str = "UTC"
    adaptive_concurrency: bool = False  # learn how much each provider takes at once; shed beyond
    priority: Priority = "normal"  # of requests that name none
    branch: Spending = Spending()  # of each branch, key and subject that has none of its own
    key: Spending = Spending()
    subject: Spending = Spending()
    branches: dict[str, Spending] = {}  # by name

    @property
    def money(self) -> bool:
        """Whether a hard budget is declared here (a key may carry one besides)."""
        declared = (self.branch, self.key, self.subject, *self.branches.values())
        amounts = [self.nano_usd_per_day, self.nano_usd_per_month]
        amounts += [nano for one in declared for nano in (one.nano_usd_per_day, one.nano_usd_per_month)]
        return any(nano is not None for nano in amounts)


class Quality(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Thresholds a trial holds the release to, declared before the run."""

    score_min: float | None = None  # share of cases that pass; gated on the one-sided 95 % Wilson lower bound
    robustness_drop_max: float | None = None  # largest drop under perturbation, absolute share of cases
    regression_max: float | None = (
        None  # how much worse than another release one may be: the margin of `waterline eval`
    )


class Objectives(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    availability: float | None = None  # 0..1
    ttft_ms_p95: float | None = None
    answer_ms_p95: float | None = None
    nano_usd_per_conversation: int | None = None
    monthly_conversations: int | None = None
    turns_per_conversation: float = 1.0
    nano_usd_per_month: int | None = None
    expected_concurrency: int = 1
    quality: Quality = Quality()


class Expected(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a turn is expected to be before there are traces, for the forecast. `..._within` 0.3: with 90 % confidence
    between a 1.3th and 1.3 times of the figure. Volume and turns themselves are objectives."""

    question_tokens: float = 40.0
    answer_tokens: float | None = None  # None: half of the route's max_tokens, or 200
    retrieved_tokens: float = 0.0
    calls_per_turn: float = 1.0
    cached_share: float = 0.0  # of prompt and history, read from the provider's cache
    volume_within: float = 0.5
    turns_within: float = 0.3
    prompt_within: float = 0.2  # its tokens are counted from its characters
    question_within: float = 0.5
    answer_within: float = 0.5


class Trial(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    drills: tuple[str, ...] = ()  # required ones; others are shown as NOT RUN
    short_cases: int = 24  # cases sampled by seed in the short trial
    seed: int = 1


class Retention(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    bodies_days: int = 90
    rows_days: int = 365
    on_trace_failure: Literal["refuse", "answer"] = "refuse"  # when a trace cannot be written


class Funnel(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a session is to come to, in this order, as the app reports it."""

    steps: tuple[str, ...] = ()
    quiet_minutes: float = 30.0  # after an answer, without a next step: abandoned


class Command(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a trial starts and addresses the team's own code; without it drills speak to the release's route."""

    command: str = ""
    url: str = ""


class PriceOverride(Struct, frozen=True, omit_defaults=True):
    """One entry of the app's prices.toml; nano-USD per million tokens."""

    model: str
    provider: str
    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    valid_from: str = ""
    tier: str = ""  # the service tier that it is the price of; "": the standard one
    cache_write_1h: int | None = None
    audio_minute: int | None = None  # nano-USD a minute of a recording; then the others are 0
    aborted: str = ""  # "whole": an aborted stream is billed to its end; else for what was made until then


class Connection(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """[connectors.<name>]: which kind of system, and what is not secret of how it is used."""

    kind: str
    parameters: dict[str, Any] = {}
    files: dict[str, str] = {}  # texts of the app folder that parameters name, by parameter


class AppSpec(Struct, frozen=True, omit_defaults=True):
    name: str
    purpose: str = ""
    owner: str = ""
    environments: tuple[str, ...] = ("production",)
    limits: Limits = Limits()
    objectives: Objectives = Objectives()
    trial: Trial = Trial()
    retention: Retention = Retention()
    app: Command = Command()
    prices: tuple[PriceOverride, ...] = ()
    forecast: Expected = Expected()
    connectors: dict[str, Connection] = {}
    format: int = 1
    branches: tuple[Branch, ...] = ()
    conversations: Conversing = Conversing()
    channels: Channels = Channels()
    canary: Canary = Canary()
    shadow: Shadow = Shadow()
    judges: dict[str, Judge] = {}
    offered: tuple[str, ...] = ()  # operations of connectors that are tools at /mcp: "crm.note"
    funnel: Funnel = Funnel()
    gates: dict[str, Gates] = {}  # by environment

    def gates_of(self, env: str) -> Gates:
        """With its margin filled in."""
        gates = self.gates.get(env, NONE)
        if gates.evaluation_margin is not None or "evaluation" not in gates.requires:
            return gates
        return msgspec.structs.replace(gates, evaluation_margin=self.objectives.quality.regression_max or 0.0)

    @property
    def all_gates(self) -> dict[str, Gates]:
        return {env: self.gates_of(env) for env in self.gates}


def asks_less(now: AppSpec, then: AppSpec) -> list[str]:
    """What `then` asks less of a release than `now`, in words; empty: it is at least as strict."""
    found = loosened(now.all_gates, then.all_gates)
    was, is_ = now.objectives.quality.score_min, then.objectives.quality.score_min
    for env, gates in now.gates.items():
        if "evaluation" in gates.requires and gates.evaluation_against == SCORE_MIN and (is_ or 0.0) < (was or 0.0):
            found.append(f'"{env}": score_min {was:g} -> {is_ or 0.0:g}')
    return found


def encode_spec(spec: AppSpec) -> bytes:
    return msgspec.json.encode(with_default_objects(spec), order="deterministic")


def ungated(record: bytes) -> bytes:
    """The same record, asking nothing of releases."""
    spec = parse_spec(record)
    return encode_spec(msgspec.structs.replace(spec, gates={})) if spec.gates else record


def spec_id(record: bytes) -> str:
    return sha256_hex(record)


def parse_spec(record: bytes) -> AppSpec:
    return msgspec.json.decode(record, type=AppSpec)


def plain(value: Any) -> Any:
    """Builtins only, for templates and JSON pages."""
    return msgspec.to_builtins(value)
