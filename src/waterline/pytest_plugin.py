"""pytest's way to `waterline eval` and `waterline trial`: every app.toml under the arguments becomes tests.

    pytest --waterline-eval --waterline-trial apps/

Every pytest loads it where Waterline is installed, so importing it costs nothing and without its options it does
nothing. The work is the command's own, in a process of its own: what a build server sees is what people see.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STATUS = {1: "failed", 2: "inconclusive", 3: "could not run"}


class NotGreen(Exception):
    """The verdict, as people read it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("waterline")
    flag, text = group.addoption, "With --waterline-eval: "
    flag("--waterline-eval", action="store_true", help="Evaluate every app.toml that is collected.")
    flag("--waterline-against", default="", metavar="RELEASE", help=text + "compare with this release.")
    flag("--waterline-repeats", type=int, default=1, metavar="K", help=text + "how often each case is asked.")
    flag("--waterline-margin", default="", metavar="M", help=text + "how much worse it may be.")
    flag("--waterline-trial", action="store_true", help="Send every app.toml that is collected to sea: a test a drill.")
    flag("--waterline-short", action="store_true", help="With --waterline-trial: sampled cases, short loads.")
    flag("--waterline-inconclusive", choices=("fail", "skip"), default="fail", help="What an open verdict counts as.")
    flag("--waterline-out", default="", metavar="DIR", help="Where answers and load lines are kept.")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "AppFile | None":
    wanted = parent.config.getoption("--waterline-eval") or parent.config.getoption("--waterline-trial")
    return AppFile.from_parent(parent, path=file_path) if wanted and file_path.name == "app.toml" else None


class AppFile(pytest.File):
    """One app folder."""

    _line: "tuple[dict[str, Any], int] | None" = None

    def collect(self) -> Iterator[pytest.Item]:
        if self.config.getoption("--waterline-eval"):
            yield Evaluation.from_parent(self, name="eval")
        if self.config.getoption("--waterline-trial"):
            for drill in tomllib.loads(self.path.read_text(encoding="utf-8")).get("trial", {}).get("drills", [""]):
                yield Drill.from_parent(self, name=f"trial[{drill}]" if drill else "trial", drill=drill)

    @property
    def folder(self) -> Path:
        return self.path.parent

    def out(self, what: str) -> Path:
        """Kept, so that a run that was killed goes on where it stopped."""
        given = self.config.getoption("--waterline-out")
        where = Path(given) if given else self.config.rootpath / "out"
        return where / what / self.folder.name

    def line(self, session: pytest.Session) -> tuple[dict[str, Any], int]:
        """The load line and the exit status, of one trial with every drill that was selected."""
        if self._line is None:
            drills = [item.drill for item in session.items if isinstance(item, Drill) and item.parent is self]
            words = [word for drill in drills if drill for word in ("--drill", drill)]
            words += ["--short"] if self.config.getoption("--waterline-short") else []
            said, status, _ = run("trial", str(self.folder), "--out", str(self.out("trial")), *words)
            self._line = json.loads(Path(said["json"]).read_text(encoding="utf-8")), status
        return self._line


class Judged(pytest.Item):
    parent: AppFile

    def hold(self, status: int, text: str) -> None:
        if status == 2 and self.config.getoption("--waterline-inconclusive") == "skip":
            pytest.skip(f"inconclusive: {text}")
        if status:
            raise NotGreen(text)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return str(excinfo.value) if isinstance(excinfo.value, NotGreen) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"{self.parent.folder.name}: {self.name}"


class Evaluation(Judged):
    def runtest(self) -> None:
        given = self.config.getoption
        words = ["--out", str(self.parent.out("eval")), "--repeats", str(given("--waterline-repeats"))]
        words += ["--against", given("--waterline-against")] if given("--waterline-against") else []
        words += ["--margin", given("--waterline-margin")] if given("--waterline-margin") else []
        said, status, summary = run("eval", str(self.parent.folder), *words)
        estimate = said["estimate"] or {}
        for name in ("word", "reason", "run", "address"):
            self.user_properties.append((f"waterline_{name}", said[name]))
        self.user_properties += [(f"waterline_{n}", estimate[n]) for n in ("value", "low", "high") if n in estimate]
        self.hold(status, summary)


class Drill(Judged):
    def __init__(self, *, drill: str, **more: Any) -> None:
        super().__init__(**more)
        self.drill = drill

    def runtest(self) -> None:
        line, status = self.parent.line(self.session)
        if not self.drill:
            self.hold(status, f"{line['answer']}: {line['because']}")
            return
        section = next(s for s in line["sections"] if s["drill"] == self.drill)
        outcome = section["outcome"] if section["state"] == "ran" else "not_run"
        said = [f"{v['name']}: {v['outcome']}: {v['reason']}" for v in section["verdicts"] if v["outcome"] != "pass"]
        self.user_properties.append(("waterline_outcome", outcome))
        why = [section["reason"]] if outcome == "not_run" else []
        self.hold({"pass": 0, "fail": 1, "inconclusive": 2}.get(outcome, 3), "\n".join([self.name, *why, *said]))


def run(command: str, *words: str) -> tuple[dict[str, Any], int, str]:
    """What it printed, its exit status (0, 1 or 2) and its Markdown. Raises NotGreen when it could not run."""
    with tempfile.TemporaryDirectory(prefix="waterline-pytest-") as folder:
        summary = Path(folder) / "summary.md"
        line = [sys.executable, "-m", "waterline", command, *words, "--json", "--markdown", str(summary)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1, 2) or not done.stdout.strip():
            raise NotGreen(f"{STATUS.get(done.returncode, 'failed')}: {done.stderr.strip()[-2000:]}")
        return json.loads(done.stdout), done.returncode, summary.read_text(encoding="utf-8")
