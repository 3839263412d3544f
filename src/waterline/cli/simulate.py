"""`waterline simulate`: a provider, or WhatsApp with telephones; latency, limits and faults are declared in a file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from waterline.cli.client import die


def simulate(
    what: Annotated[Literal["provider", "whatsapp"], typer.Argument(help="What to stand in for.")] = "provider",
    script: Annotated[Path | None, typer.Option("--script", help="TOML: latency, limits, faults, answers.")] = None,
    port: Annotated[int, typer.Option(help="0: a free one.")] = 8500,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    webhook: Annotated[str, typer.Option(help="whatsapp: where deliveries go.")] = "",
) -> None:
    """Serve a simulated provider (OpenAI-, Anthropic- and Gemini-compatible), or WhatsApp's Cloud API with telephones
    to chat by hand, until Ctrl-C."""
    if what == "whatsapp":
        _whatsapp(script, host, port, webhook)
        return
    from waterline.providers import simulated
    from waterline.providers.simulated_script import Script, ScriptError

    try:
        simulated.run_server(script or Script(), host, port)
    except ScriptError as error:
        die(str(error), 2)
    except OSError as error:
        die(f"cannot listen on {host}:{port} ({error.strerror}). Choose another --port.", 2)


def _whatsapp(script: Path | None, host: str, port: int, webhook: str) -> None:
    from waterline.channels.simulated.script import ScriptError
    from waterline.channels.simulated.server import run_server

    try:
        run_server(script, host, port, webhook)
    except ScriptError as error:
        die(str(error), 2)
    except OSError as error:
        die(f"cannot listen on {host}:{port} ({error.strerror}). Choose another --port.", 2)
