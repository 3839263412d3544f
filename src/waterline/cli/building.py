"""An app folder read and built, or its mistakes printed. Shared by `check`, `release build` and `up`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from waterline.cli.client import die, err, print_json
from waterline.core.egress import Egress
from waterline.core.errors import AppFolderError
from waterline.providers import all_providers, models
from waterline.rollout.build import build
from waterline.rollout.check import Checked, check
from waterline.settings import outward
from waterline.settings.problems import SettingsError
from waterline.trials import DRILLS

T = TypeVar("T")


class FromFolder(Struct, frozen=True):
    app: str
    release_id: str
    manifest: bytes
    spec: bytes
    warnings: list[str]


def built_or_die(folder: Path, as_json: bool = False, data: Path | None = None) -> FromFolder:
    """Prints every mistake with file, line and remedy, and exits 1. `data`: the folder whose list of hosts counts."""
    built = _or_die(folder, as_json, lambda **known: build(folder, **known), data)
    return FromFolder(built.app, built.release_id, built.manifest, built.spec_record, built.warnings)


def checked_or_die(folder: Path, as_json: bool = False, *, learned: bool = True) -> Checked:
    """What the folder declares; without what was learned while that is being learned."""
    return _or_die(folder, as_json, lambda **known: check(folder, learned=learned, **known))


def _or_die(folder: Path, as_json: bool, read: Callable[..., T], data: Path | None = None) -> T:
    try:
        digests = {s.name: s.sha256 for s in models.known().values()}
        return read(model_digests=digests, known_drills=DRILLS, **_outside(data))
    except AppFolderError as error:
        if as_json:
            print_json({"app": None, "mistakes": msgspec.to_builtins(error.mistakes)})
        else:
            for mistake in error.mistakes:
                where = mistake if mistake.file == str(folder) else f"{folder}/{mistake}"
                err.print(f"{where}", markup=False, soft_wrap=True)
            err.print(f"{len(error.mistakes)} mistake(s). Nothing was built.", markup=False)
        raise SystemExit(1) from None
    except SettingsError as error:
        die(str(error))


def _outside(data: Path | None) -> dict[str, Any]:
    """What this machine's operator allows, where there is such a list."""
    hosts, urls = outward(os.environ, data)
    if not hosts:
        return {}
    own = {kind: provider.default_base_url for kind, provider in all_providers(lambda: 0).items()}
    return {"egress": Egress(hosts), "addresses": {**own, **urls}}
