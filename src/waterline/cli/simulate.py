"""`waterline simulate --port P`: a provider whose latency, limits and faults are declared in a file."""

from pathlib import Path
from typing import Annotated

import typer

from waterline.cli.client import die


def simulate(
    script: Annotated[Path | None, typer.Option("--script", help="TOML: latency, limits, faults, answers.")] = None,
    port: Annotated[int, typer.Option(help="0: a free one.")] = 8500,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
) -> None:
    """Serve a simulated provider, OpenAI- and Anthropic-compatible, until Ctrl-C."""
    from waterline.providers import simulated
    from waterline.providers.simulated_script import Script, ScriptError

    try:
        simulated.run_server(script or Script(), host, port)
    except ScriptError as error:
        die(str(error), 2)
    except OSError as error:
        die(f"cannot listen on {host}:{port} ({error.strerror}). Choose another --port.", 2)
