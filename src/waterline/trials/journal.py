"""The journal of an evaluation: one line an answer, written before the next question of its caller is asked.

A line is one write(2) to a file opened for appending, so what `kill -9` leaves behind is whole lines and at most one
that was cut; the cut one is asked again. The first line is the plan. The same plan goes on in the same file, until its
last line says that it was finished.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from waterline.core.errors import WaterlineError
from waterline.evals.experiment import Answer, Plan, plan_id

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Answer).decode
_DONE = b'{"done":true}'
SYNC_EVERY = 200  # lines between two fsync: a power cut costs at most these


class JournalMismatch(WaterlineError):
    """The file is of another plan."""


class Journal:
    """Use as a context manager. `asked` holds the (case, arm, repeat) that need not be asked again."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        number = 1
        while _finished(folder / f"{plan_id(plan, number)}.jsonl"):
            number += 1
        self.id = plan_id(plan, number)
        self.path = folder / f"{self.id}.jsonl"
        self._plan = plan
        self._file = -1
        self._since = 0

    def __enter__(self) -> "Journal":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self._file).st_size
        if not size:
            os.write(self._file, _encode(self._plan) + b"\n")
            os.fsync(self._file)
        else:
            with self.path.open("rb") as stream:
                first = stream.readline()
                if not first.endswith(b"\n") or msgspec.json.decode(first, type=Plan) != self._plan:
                    raise JournalMismatch(f"{self.path} is of another plan. Move it away, or name another --out.")
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    os.write(self._file, b"\n")  # the line that was cut becomes one that cannot be read
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def add(self, answer: Answer) -> None:
        os.write(self._file, _encode(answer) + b"\n")
        self._since += 1
        if self._since >= SYNC_EVERY:
            self._since = 0
            os.fsync(self._file)

    def finish(self) -> None:
        os.write(self._file, _DONE + b"\n")

    def answers(self) -> Iterator[Answer]:
        """From the file, one at a time, in the order in which they came."""
        with self.path.open("rb") as stream:
            stream.readline()
            for line in stream:
                try:
                    yield _decode(line)
                except msgspec.DecodeError:
                    continue  # cut by a crash, or the last line


def _finished(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - len(_DONE) - 1))
            return stream.read().rstrip(b"\n") == _DONE
    except OSError:
        return False
