"""What we ship refers to what exists, and a wheel has everything that is read at run time."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer.main

from waterline.cli import commands
from waterline.settings import FIELDS

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
UNIT = (ROOT / "deploy" / "waterline.service").read_text(encoding="utf-8")
HOWTOS = (
    "docs/howto/install.md", "docs/howto/first-app.md", "docs/howto/operate.md", "docs/howto/whatsapp.md",
    "docs/howto/webchat-and-email.md",
)  # fmt: skip
COMMANDS = typer.main.get_command(commands()).commands  # type: ignore[attr-defined]
VARIABLES = {field.variable for field in FIELDS if field.in_environment} | {"WATERLINE_URL", "WATERLINE_KEY"}
DATA_SUFFIXES = (".sql", ".toml", ".html", ".css", ".js", ".svg", ".typed", ".md", ".json")


def test_a_start_loads_no_other_command_and_nothing_heavy() -> None:
    code = (
        "import sys; from waterline.cli import commands; commands('up'); import waterline.serving, waterline.app\n"
        "heavy = {'pydantic', 'rich', 'aiohttp', 'numpy', 'requests', 'phonenumbers', 'dateparser'}\n"
        "ours = {name for name in sys.modules if name.startswith('waterline.cli.')}\n"
        "print(sorted(heavy & set(sys.modules)), sorted(ours))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['waterline.cli.building', 'waterline.cli.client', 'waterline.cli.up']"


def unit_value(name: str) -> list[str]:
    return [line.partition("=")[2] for line in UNIT.splitlines() if line.startswith(f"{name}=")]


def test_the_dockerfile_copies_only_what_is_here_and_what_dockerignore_lets_through() -> None:
    copied = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if re.match(r"COPY (?!--from)", line)]
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line]
    assert names
    for name in names:
        assert (ROOT / name).exists(), name
        assert name in let_through, f"{name} is not in the build context"


def test_the_image_starts_a_command_that_exists_with_settings_that_exist() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    entry = re.search(r'^ENTRYPOINT \["([^"]+)"\]$', DOCKERFILE, re.MULTILINE)
    command = re.search(r'^CMD \["([^"]+)"\]$', DOCKERFILE, re.MULTILINE)
    assert entry
    assert entry[1] in scripts
    assert command
    assert command[1] in COMMANDS
    assert set(re.findall(r"WATERLINE_\w+", DOCKERFILE)) <= VARIABLES


def test_the_image_does_not_run_as_root_and_is_asked_whether_it_is_alive() -> None:
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER waterline$", last_stage, re.MULTILINE)
    assert "/healthz" in last_stage
    assert "\nVOLUME /data\n" in last_stage


def test_the_image_uses_the_uv_of_the_makefile() -> None:
    wanted = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert wanted
    assert f"uv=={wanted[1]}" in DOCKERFILE


def test_the_unit_starts_a_command_that_exists_with_settings_that_exist() -> None:
    (start,) = unit_value("ExecStart")
    program, command = start.split()
    assert Path(program).name == "waterline"
    assert command in COMMANDS
    settings = {value.partition("=")[0] for value in unit_value("Environment")}
    assert {name for name in settings if name.startswith("WATERLINE_")} <= VARIABLES
    assert f"WATERLINE_DATA=/var/lib/{unit_value('StateDirectory')[0]}" in unit_value("Environment")
    assert unit_value("User") == ["waterline"]


def test_the_unit_gives_a_stop_more_time_than_the_server_takes() -> None:
    from waterline.app import GRACE_S

    assert int(unit_value("TimeoutStopSec")[0]) > GRACE_S + 30  # the worker joins within 30 s


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "waterline.service"
    unit.write_text(UNIT.replace("/opt/waterline/bin/waterline", sys.executable))
    (tmp_path / "waterline.socket").write_text((ROOT / "deploy" / "waterline.socket").read_text(encoding="utf-8"))
    files = [unit, tmp_path / "waterline.socket"]
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "waterline." in line]
    assert not said


@pytest.mark.parametrize("document", HOWTOS)
def test_every_command_and_variable_in_a_howto_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    used = re.findall(
        r"(?:^ {4}|`|bin/|docker exec waterline |\$\()waterline ([a-z]+)(?: ([a-z]+))?", text, re.MULTILINE
    )
    assert used
    for command, sub in used:
        assert command in COMMANDS, f"waterline {command}"
        subs = getattr(COMMANDS[command], "commands", None)
        if subs is not None:
            assert sub in subs, f"waterline {command} {sub}"
    assert set(re.findall(r"WATERLINE_[A-Z_]+", text)) <= VARIABLES


@pytest.mark.parametrize("document", HOWTOS)
def test_every_link_and_file_in_a_howto_exists(document: str) -> None:
    path = ROOT / document
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / target).exists(), target
    for target in re.findall(r"\b(?:deploy|docs|examples|bench)/[\w./-]*\w", text):
        assert (ROOT / target).exists(), target


def test_every_metric_that_is_explained_is_exported_by_the_server() -> None:
    explained = set(re.findall(r"`(waterline_\w+)", (ROOT / "docs/howto/operate.md").read_text()))
    sources = (ROOT / "src/waterline/app.py", ROOT / "src/waterline/gateway/metrics.py")
    code = "".join(path.read_text() for path in sources)
    assert explained
    for name in explained:
        assert name in code, name


def test_the_wheel_has_every_file_that_is_read_at_run_time(tmp_path: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        pytest.skip("uv is not in the environment")
    command = [uv, "build", "--quiet", "--offline", "--no-build-isolation", "--wheel", "--out-dir", tmp_path, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:  # hatchling is not installed beside it: fetch it as a user's build does
        command = [uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("waterline-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    needed = {
        str(path.relative_to(source))
        for path in (source / "waterline").rglob("*")
        if path.is_file() and (path.suffix in DATA_SUFFIXES or path.suffix == ".py") and "__pycache__" not in path.parts
    }
    assert not needed - inside
    for kind in ("console/templates/", "console/static/", "store/sql/", "store/migrations/"):
        assert any(f"waterline/{kind}" in name for name in inside), kind
    for name in ("core/prices.toml", "providers/models.toml", "py.typed"):
        assert f"waterline/{name}" in inside
    assert not [name for name in inside if not name.startswith(("waterline/", "waterline-"))]


def test_every_package_that_is_installed_is_locked_by_its_digest() -> None:
    """What is published under a known name tomorrow is not what we install."""
    for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]:
        if package["source"] == {"editable": "."}:
            continue
        files = package.get("wheels", []) + ([package["sdist"]] if "sdist" in package else [])
        assert files, package["name"]
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", one["hash"]) for one in files), package["name"]
    syncs = re.findall(r"uv sync .*", DOCKERFILE + (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert len(syncs) == 3
    assert all("--frozen" in sync for sync in syncs)
