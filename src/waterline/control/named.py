"""A release that somebody names: by its id or the first digits of it."""

import msgspec

from waterline.core.errors import Refused
from waterline.core.release import Release, StoredRelease, parse_release
from waterline.store import releases
from waterline.store.db import Tx


def resolved(tx: Tx, wanted: str, app: str | None = None) -> StoredRelease:
    """A release by its id or the first digits of it."""
    text = wanted.strip().lower()
    ids = releases.find(tx, text, app) if len(text) >= 4 and all(c in "0123456789abcdef" for c in text) else []
    stored = releases.get(tx, ids[0]) if len(ids) == 1 else None
    if stored is not None:
        return stored
    if len(ids) > 1:
        raise Refused(f'"{wanted[:70]}" could be {len(ids)} releases. Give more digits.', 400)
    whose = f' of app "{app}"' if app else ""
    raise Refused(f'There is no release "{wanted[:70]}"{whose}. List them: waterline release list {app or "APP"}.', 404)


def parsed(stored: StoredRelease) -> Release:
    try:
        return parse_release(stored.manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"Release {stored.id[:12]} can no longer be read: {error}.") from None
