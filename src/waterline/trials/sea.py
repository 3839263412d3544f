"""What a drill is given: the release under test, its declarations and cases, and means to bring it into trouble."""

import socket
from pathlib import Path

import msgspec
from msgspec import Struct

from waterline.core.app_spec import AppSpec, Limits, encode_spec, ungated
from waterline.core.case import Case
from waterline.core.release import Release, Route
from waterline.providers.simulated import SimulatedProcess
from waterline.providers.simulated_script import Script
from waterline.trials.asking import CouldNotRun, RealModel
from waterline.trials.instance import Instance
from waterline.trials.progress import Teller


class Pace(Struct, frozen=True):
    """How long the drills take. Seconds, or counts."""

    stage_s: float  # a stage of the load drill, at least
    stage_samples: int  # and at least so many answers
    alone_samples: int
    outage_calls: int  # answered calls at most, for the availability objective
    outage_each: int  # calls of each kind where no answer can be expected
    perturbed: int  # questions of the robustness drill
    again: int  # the same input asked twice
    repeats: int  # cases of the quality drill that are asked a second time
    moves: int  # rollbacks
    kills: int
    requests: int = 3_000  # of the availability drill
    branches: int = 12  # of the branches drill, the hostile one too
    people: int = 2  # of each branch, at least
    spread_s: float = 6.0  # in which they begin


SHORT = Pace(5.0, 320, 80, 4_000, 3, 60, 12, 0, 2, 3)
FULL = Pace(20.0, 1_500, 400, 30_000, 10, 400, 40, 40, 5, 10, requests=100_000, branches=1_000, spread_s=300.0)


class Sea(Struct):
    """One trial's surroundings. `real` is shared by the drills that ask the real model."""

    release_id: str
    release: Release
    manifest: bytes
    spec: AppSpec
    cases: tuple[Case, ...]
    has_cases: bool  # False: the trial was given an app of the server, and cases are only in the folder
    seed: int
    short: bool
    pace: Pace
    folder: Path  # of this drill; it is removed after the trial
    teller: Teller
    real: RealModel

    def instance(
        self, name: str, *, redirect: str = "", environ: dict[str, str] | None = None,
        listener: socket.socket | None = None,
    ) -> Instance:  # fmt: skip
        return Instance(self.folder / name, redirect=redirect, environ=environ, listener=listener)

    def simulated(self, script: Script) -> SimulatedProcess:
        return SimulatedProcess(script)

    def spec_with(self, limits: Limits) -> bytes:
        return ungated(encode_spec(msgspec.structs.replace(self.spec, limits=limits)))

    def lifted(self) -> bytes:
        """The environment record with its limits lifted, all but the number of requests at once."""
        kept = Limits(max_concurrency=self.spec.limits.max_concurrency, timezone=self.spec.limits.timezone)
        return self.spec_with(kept)

    @property
    def env(self) -> str:
        return self.spec.environments[0]

    @property
    def main(self) -> str:
        """The route that the drills of the gateway speak to: "main", else the first that chats."""
        chats = [name for name, route in self.release.routes.items() if not route.embeddings]
        if not chats:
            raise CouldNotRun("The release has no route that chats. Add [models.main] to app.toml.")
        return "main" if "main" in chats else chats[0]

    @property
    def route(self) -> Route:
        return self.release.routes[self.main]


LIFTED = "The app's limits were lifted for this drill, all but max_concurrency."
