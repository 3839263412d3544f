"""The C programs (and the Go one), compiled on first use into a cache folder, by the digest of their source."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "native"


class MissingTool(Exception):
    """What is not installed, and how to get it."""


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "waterline" / "bench"


def compiled(name: str) -> Path:
    """The path of `upstream` or `load`. Raises MissingTool if there is no C compiler."""
    compiler = next(
        (found for c in (os.environ.get("CC", ""), "cc", "gcc", "clang") if c and (found := shutil.which(c))), None
    )
    if compiler is None:
        raise MissingTool("There is no C compiler. On Debian and Ubuntu: apt install gcc libc6-dev")
    return _build(SOURCES / f"{name}.c", lambda source, made: [compiler, "-O2", "-o", str(made), str(source)])


def go_proxy() -> Path | None:
    """The bare Go reverse proxy, or None where no Go toolchain is installed."""
    go = shutil.which("go")
    if go is None:
        return None
    return _build(SOURCES / "proxy.go", lambda source, made: [go, "build", "-o", str(made), str(source)])


def _build(source: Path, command) -> Path:  # type: ignore[no-untyped-def]
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    made = cache_folder() / f"{source.stem}-{digest}"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        aside = made.with_suffix(f".{os.getpid()}")
        done = subprocess.run(command(source, aside), capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingTool(f"{source.name} does not compile:\n{done.stderr}")
        aside.rename(made)
    return made
