"""The key that everything sealed is sealed with: in a file of the data folder, or in the environment."""

import base64
import binascii
import os
import re
import tempfile
from pathlib import Path
from secrets import token_bytes

from waterline.settings.problems import Problem, SettingsError

MASTER_KEY_FILE = "master.key"
MASTER_KEY_BYTES = 32


def decoded(text: str) -> bytes | None:
    try:
        if re.fullmatch(r"[0-9a-fA-F]{64}", text):
            return bytes.fromhex(text)
        raw = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == MASTER_KEY_BYTES else None


def ensure_master_key(data: Path) -> bytes:
    """The 32 bytes of <data>/master.key, made (mode 0600) if there are none. Raises SettingsError.

    The file appears whole or not at all (written aside, synced, then linked), and two processes that start at the
    same instant agree on one key. A damaged file is never replaced: what it sealed would be lost."""
    path = data / MASTER_KEY_FILE
    try:
        if not path.exists():
            _make_master_key(path)
        mode = path.stat().st_mode
        key = path.read_bytes()
    except OSError as error:
        remedy = "Let this user read it (mode 0600), or set WATERLINE_MASTER_KEY."
        raise SettingsError([Problem(str(path), f"cannot be used: {error.strerror or error}", remedy)]) from error
    if len(key) != MASTER_KEY_BYTES:
        remedy = "Restore it from where you keep it; a new key cannot open what the old one sealed."
        raise SettingsError([Problem(str(path), f"has {len(key)} bytes instead of {MASTER_KEY_BYTES}", remedy)])
    if mode & 0o077:
        raise SettingsError([Problem(str(path), "others may read the master key", f"Run: chmod 600 {path}")])
    return key


def _make_master_key(path: Path) -> None:
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".master-")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(token_bytes(MASTER_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            return  # another process was first; its key counts
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        Path(aside).unlink()
