"""What `pip install waterline` puts on a disk: a default install into a fresh environment."""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Installed:
    megabytes: float  # of 10**6 bytes, as `du --apparent-size` counts; bytecode not among them
    packages: int  # Waterline among them


def install_size() -> Installed:
    """Raises CalledProcessError; needs uv, and the packages from a registry or uv's cache."""
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise FileNotFoundError("uv is not installed")
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(python.parent.parent)])
        before = _bytes(python.parent.parent)
        _run([uv, "pip", "install", "--quiet", "--python", str(python), str(ROOT)])
        listed = _run([uv, "pip", "list", "--quiet", "--python", str(python), "--format", "json"])
        return Installed((_bytes(python.parent.parent) - before) / 1e6, len(json.loads(listed)))


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
