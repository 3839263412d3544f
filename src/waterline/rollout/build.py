"""From an app folder to a release: its manifest, whose SHA-256 is its id, and the environment record beside it.

The manifest holds what can change an answer, by value. Names are sorted, so the same content gives the same id in any
folder on any machine, whatever the order and the dates of the files; limits, prices, objectives and cases do not change
it. Inside a JSON Schema the keys stay as they were written, because models fill in fields in the order of the schema.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from msgspec import Struct

from waterline.core.app_spec import encode_spec, spec_id
from waterline.core.egress import EVERYWHERE, Egress
from waterline.core.release import encode_release, release_id
from waterline.rollout.check import NOWHERE, check


class Built(Struct, frozen=True):
    app: str
    release_id: str
    manifest: bytes  # stored as they are; the id is their digest
    spec_id: str
    spec_record: bytes
    warnings: list[str]


def build(
    folder: Path, *, model_digests: Mapping[str, str], known_drills: Collection[str], egress: Egress = EVERYWHERE,
    addresses: Mapping[str, str] = NOWHERE,
) -> Built:  # fmt: skip
    """Raises AppFolderError with every mistake in the folder; the arguments are those of `check`."""
    checked = check(folder, model_digests=model_digests, known_drills=known_drills, egress=egress, addresses=addresses)
    manifest = encode_release(checked.release)
    record = encode_spec(checked.spec)
    return Built(checked.release.app, release_id(manifest), manifest, spec_id(record), record, checked.warnings)
