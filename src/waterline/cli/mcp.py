"""`waterline mcp accept URL`: what an MCP server offers now, as the file that an app's folder keeps."""

import asyncio
import os
from typing import Annotated

import typer

from waterline.cli.client import die, out
from waterline.connectors.base import ConnectorFault

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Tools of an MCP server."""


@app.command()
def accept(
    url: Annotated[str, typer.Argument(help="The server's endpoint: https://host/mcp")],
    token_env: Annotated[str, typer.Option(help="The environment variable that holds the token.")] = "",
) -> None:
    """Print the server's tools as JSON: look at them, and keep them as a file of the app's folder. A tool that differs
    from this file later is refused."""
    from waterline.connectors.mcp import encode_tools, tools_of

    try:
        tools = asyncio.run(tools_of(url, os.environ.get(token_env, "") if token_env else ""))
    except ConnectorFault as fault:
        die(fault.message)
    except ImportError:
        die("The connectors are not installed. Run: pip install 'waterline[connectors]'")
    out.print(encode_tools(tools), end="", markup=False, highlight=False, soft_wrap=True)
