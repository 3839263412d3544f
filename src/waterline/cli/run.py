"""`waterline run -- CMD`: an unchanged program, with its SDKs pointed at the gateway."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from waterline.cli.client import Server, die


def run(
    context: typer.Context,
    app: Annotated[
        str, typer.Option("--app", help="Whose key the program gets; may be left out if there is one.")
    ] = "",
    env: Annotated[str, typer.Option("--env", help="Environment of the app.")] = "production",
    data: Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")] = None,
) -> None:
    """Run a program with OPENAI_BASE_URL and OPENAI_API_KEY (and ANTHROPIC_*) set to the gateway.

    The program gets a key of its own, which is revoked when it ends. Exit status: the program's."""
    command = context.args
    if not command:
        die("nothing to run. Write: waterline run --app NAME -- python demo.py", 2)
    if shutil.which(command[0]) is None:
        die(f'there is no program "{command[0]}" on the PATH.', 127)
    server = Server.find(data)
    if not app:
        names = [a["name"] for a in server.ask("GET", "/api/apps")]
        if len(names) != 1:
            die(f"which app? Name one with --app: {', '.join(names) or 'none is known; build one first'}", 2)
        app = names[0]
    name = f"run {Path(command[0]).name} {os.getpid()}"
    key = server.ask("POST", "/api/keys", {"kind": "app", "app": app, "env": env, "name": name, "hours": 24})
    environ = dict(os.environ)
    for prefix, path in (("OPENAI", "/v1"), ("ANTHROPIC", "")):
        environ[f"{prefix}_BASE_URL"] = server.url + path
        environ[f"{prefix}_API_KEY"] = key["key"]
    try:
        code = subprocess.run(command, env=environ, check=False).returncode
    except KeyboardInterrupt:
        code = 130
    finally:
        server.ask("POST", f"/api/keys/{key['id']}/revocation")
    sys.exit(code if code >= 0 else 128 - code)
