"""The load line: for which load, cost, quality and risks exactly this release may sail, under exactly these objectives.

Its JSON is a public format: fields are added, never renamed or removed (`FORMAT` says which; a test holds the names).
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.core.app_spec import AppSpec, Objectives
from waterline.core.ids import sha256_hex
from waterline.core.verdict import Outcome, Verdict

FORMAT = 1
Behind = Literal["real", "simulated", "none"]  # the provider behind a figure
State = Literal["ran", "could_not_run", "not_run"]
Answer = Literal["MAY SAIL", "MAY NOT SAIL", "INCONCLUSIVE", "COULD NOT RUN"]
ANSWERS: dict[int, Answer] = {0: "MAY SAIL", 1: "MAY NOT SAIL", 2: "INCONCLUSIVE", 3: "COULD NOT RUN"}


class Fact(Struct, frozen=True):
    """Measured, not judged."""

    name: str
    text: str
    provider: Behind = "none"


class Table(Struct, frozen=True):
    title: str
    columns: list[str]
    rows: list[list[str]]
    provider: Behind = "none"
    note: str = ""


class Series(Struct, frozen=True):
    """A latency distribution: (percentile, milliseconds) pairs, rising."""

    name: str
    points: list[tuple[float, float]]


class Section(Struct):
    """What one drill found. `state` other than "ran" has its reason (and the remedy) in `reason`."""

    drill: str
    required: bool = True
    state: State = "ran"
    reason: str = ""
    verdicts: list[Verdict] = []
    facts: list[Fact] = []
    tables: list[Table] = []
    curves: list[Series] = []
    excludes: list[str] = []  # what the drill does not show
    seconds: float = 0.0
    calls_real: int = 0
    calls_simulated: int = 0
    detail: str = ""  # of an unexpected failure, for who reports it

    @property
    def outcome(self) -> Outcome:
        """The worst of its verdicts. A drill that ran without any is inconclusive: no data is never green."""
        if self.state != "ran":
            return Outcome.NOT_RUN
        seen = {v.outcome for v in self.verdicts}
        for worst in (Outcome.FAIL, Outcome.NOT_RUN, Outcome.INCONCLUSIVE):
            if worst in seen:
                return Outcome.INCONCLUSIVE if worst is Outcome.NOT_RUN else worst
        return Outcome.PASS if seen else Outcome.INCONCLUSIVE


class Row(Struct, frozen=True):
    """One of the nine rows of page one."""

    name: str
    figure: str  # "not shown" where nothing was measured
    evidence: str = ""
    owner: str = ""
    excludes: str = ""
    outcome: Outcome = Outcome.NOT_RUN
    provider: Behind = "none"


class Machine(Struct, frozen=True):
    cpus: int
    cpu: str
    memory_gb: float
    system: str
    load_average: float  # over the last minute, when the trial began
    others_share: float | None = None  # share of the CPUs that other programs used meanwhile; None: not known


class LoadLine(Struct):
    app: str
    release: str
    spec_id: str
    objectives_id: str
    owner: str
    purpose: str
    short: bool
    seed: int
    cases: int
    case_set: str
    made_at: str  # RFC 3339, UTC
    seconds: float
    machine: Machine
    versions: dict[str, str]
    exit_status: int
    answer: Answer
    because: str
    sections: list[Section]
    rows: list[Row]
    declared: dict[str, Any]
    manifest: str
    spec: str
    models: list[str] = []
    format: int = FORMAT

    def summary(self) -> dict[str, Any]:
        """A few lines for programs; the whole is in the JSON file."""
        return {
            "app": self.app,
            "release": self.release,
            "answer": self.answer,
            "exit_status": self.exit_status,
            "because": self.because,
            "short": self.short,
            "seconds": round(self.seconds, 1),
            "drills": {s.drill: s.state if s.state != "ran" else str(s.outcome) for s in self.sections},
        }

    def document(self) -> dict[str, Any]:
        """What the JSON file holds: everything but the manifest (the release id names it), and its digest."""
        said: dict[str, Any] = msgspec.to_builtins(self)
        del said["manifest"], said["spec"]
        for section, built in zip(self.sections, said["sections"], strict=True):
            built["outcome"] = str(section.outcome)
        said["digest"] = digest(said)
        return said


def digest(document: dict[str, Any]) -> str:
    """SHA-256 of the document's canonical JSON, without the digest itself."""
    bare = {k: v for k, v in document.items() if k != "digest"}
    return sha256_hex(msgspec.json.encode(bare, order="sorted"))


def objectives_id(objectives: Objectives) -> str:
    """A load line holds for exactly these; the server computes the same."""
    return sha256_hex(msgspec.json.encode(objectives, order="deterministic"))


def expired(document: dict[str, Any], release: str, spec: AppSpec) -> bool:
    """Whether a load line no longer speaks for this release under these objectives."""
    return (document["release"], document["objectives_id"]) != (release, objectives_id(spec.objectives))


def exit_status(sections: list[Section]) -> int:
    """0 may sail, 1 a drill failed, 2 inconclusive, 3 could not run. A failure beats what could not run, which beats
    what is inconclusive. A required drill that was left out leaves the question open (2)."""
    required = [s for s in sections if s.required]
    if any(s.outcome is Outcome.FAIL for s in sections):
        return 1
    if any(s.state == "could_not_run" for s in sections):
        return 3
    if not required or any(s.outcome is not Outcome.PASS for s in sections if s.required or s.state == "ran"):
        return 2
    return 0
