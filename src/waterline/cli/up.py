"""`waterline up`: gateway, console and worker in one go."""

import gc
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from waterline.cli.building import built_or_die
from waterline.cli.client import KEY_FILE, SERVER_FILE, data_folder, die, err, out, print_json
from waterline.core.errors import WaterlineError


def up(
    apps: Annotated[
        list[Path] | None, typer.Argument(metavar="[APP_DIR]...", help="Built and promoted if new.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder; made if it is not there.")] = None,
    host: Annotated[str | None, typer.Option("--host")] = None,
    port: Annotated[int | None, typer.Option("--port", help="0: a free one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON when it is ready, for programs.")] = False,
    until_stdin_closes: Annotated[bool, typer.Option(hidden=True, help="End with whoever started it.")] = False,
) -> None:
    """Serve the gateway and the console until Ctrl-C. An APP_DIR goes live only where nothing is live yet."""
    gc.disable()  # as in __main__
    from waterline.serving import run_server
    from waterline.settings import load
    from waterline.settings.problems import SettingsError

    gc.enable()
    built = [built_or_die(folder, data=data) for folder in apps or []]
    folder = data_folder(data)
    environ = dict(os.environ)
    if host is not None:
        environ["WATERLINE_HOST"] = host
    if port is not None:
        environ["WATERLINE_PORT"] = str(port)

    if until_stdin_closes:
        threading.Thread(target=_end_with_stdin, daemon=True).start()

    def ready(url: str, key: str, first: bool) -> None:
        if json:
            print_json_line({"ready": True, "url": url, "key": key, "data": str(folder), "pid": os.getpid()})
            return
        out.print(f"Waterline is up.  Gateway {url}/v1   Console {url}/", markup=False, soft_wrap=True)
        if first:
            out.print(f"First admin key (also in {folder / KEY_FILE}): {key}", markup=False, soft_wrap=True)
        else:
            where = f"in {folder / KEY_FILE}" if key else "the owner's key that was made before"
            out.print(f"Admin key: {where}", markup=False, soft_wrap=True)
        out.print("Stop with Ctrl-C.", markup=False)
        sys.stdout.flush()  # a service manager reads this from a pipe

    try:
        settings = load(environ, folder)
        code = run_server(settings, environ, [(b.manifest, b.spec) for b in built], ready, SERVER_FILE, KEY_FILE)
    except (WaterlineError, SettingsError) as error:
        die(str(error))
    if not json:
        err.print("Waterline has stopped; everything that was answered is stored.", markup=False)
    raise SystemExit(code)


def _end_with_stdin() -> None:
    """A trial that is killed leaves no server behind: its end of the pipe is closed by the kernel."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def print_json_line(value: dict[str, object]) -> None:
    """One line, flushed: another program waits for it."""
    import json as json_module
    import sys

    sys.stdout.write(json_module.dumps(value) + "\n")
    sys.stdout.flush()


__all__ = ["print_json", "up"]
