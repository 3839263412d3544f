"""An app folder read and built, or its mistakes printed. Shared by `check`, `release build` and `up`."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from waterline.cli.client import err, print_json
from waterline.core.errors import AppFolderError
from waterline.providers import models
from waterline.rollout.build import build
from waterline.rollout.check import Checked, check
from waterline.trials import DRILLS

T = TypeVar("T")


class FromFolder(Struct, frozen=True):
    app: str
    release_id: str
    manifest: bytes
    spec: bytes
    warnings: list[str]


def built_or_die(folder: Path, as_json: bool = False) -> FromFolder:
    """Prints every mistake with file, line and remedy, and exits 1."""
    built = _or_die(folder, as_json, lambda **known: build(folder, **known))
    return FromFolder(built.app, built.release_id, built.manifest, built.spec_record, built.warnings)


def checked_or_die(folder: Path, as_json: bool = False, *, learned: bool = True) -> Checked:
    """What the folder declares; without what was learned while that is being learned."""
    return _or_die(folder, as_json, lambda **known: check(folder, learned=learned, **known))


def _or_die(folder: Path, as_json: bool, read: Callable[..., T]) -> T:
    try:
        return read(model_digests={s.name: s.sha256 for s in models.known().values()}, known_drills=DRILLS)
    except AppFolderError as error:
        if as_json:
            print_json({"app": None, "mistakes": msgspec.to_builtins(error.mistakes)})
        else:
            for mistake in error.mistakes:
                where = mistake if mistake.file == str(folder) else f"{folder}/{mistake}"
                err.print(f"{where}", markup=False, soft_wrap=True)
            err.print(f"{len(error.mistakes)} mistake(s). Nothing was built.", markup=False)
        raise SystemExit(1) from None
