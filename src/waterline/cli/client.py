"""How a command speaks with the running server: its address and a key, one JSON request at a time.

WATERLINE_URL and WATERLINE_KEY, else `server.json` and `operator.key` in the data folder of this machine.
"""

import http.client
import json
import os
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from rich.console import Console

SERVER_FILE = "server.json"
KEY_FILE = "operator.key"
TIMEOUT_S = 60.0

PIPED_WIDTH = 200  # columns where nobody looks at a terminal: a table is not cut to 80


class Screen:
    """A rich Console that is made when something is said: a server says nothing before it is ready."""

    def __init__(self, stderr: bool) -> None:
        self.stderr = stderr

    @cached_property
    def console(self) -> "Console":
        from rich.console import Console

        width = None if self.stderr or sys.stdout.isatty() else PIPED_WIDTH
        return Console(stderr=self.stderr, highlight=False, width=width)

    def print(self, *what: Any, **how: Any) -> None:
        self.console.print(*what, **how)


out, err = Screen(stderr=False), Screen(stderr=True)


def die(message: str, code: int = 1) -> NoReturn:
    """One clear sentence on stderr, and out."""
    err.print(f"waterline: {message}", markup=False, soft_wrap=True)
    raise SystemExit(code)


def data_folder(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    if given is not None:
        return given
    if environ.get("WATERLINE_DATA"):
        return Path(environ["WATERLINE_DATA"])
    base = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "waterline"


class Server:
    """The control plane of a running server."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self.timeout_s = TIMEOUT_S

    @classmethod
    def find(cls, data: Path | None = None) -> "Server":
        """Exits with a clear sentence if no server can be found."""
        url, key = os.environ.get("WATERLINE_URL", ""), os.environ.get("WATERLINE_KEY", "")
        folder = data_folder(data)
        if not url:
            try:
                url = str(json.loads((folder / SERVER_FILE).read_text())["url"])
            except (OSError, ValueError, KeyError):
                die(
                    f"no running server is known in {folder}. Start one (waterline up), name its data folder "
                    "(--data), or set WATERLINE_URL and WATERLINE_KEY."
                )
        if not key:
            try:
                key = (folder / KEY_FILE).read_text().strip()
            except OSError:
                die(f"there is no {folder / KEY_FILE}. Set WATERLINE_KEY to a personal key.")
        return cls(url, key)

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The decoded answer. Exits with the server's own message when it refuses."""
        status, data = self.raw(method, path, body, **query)
        try:
            answer = json.loads(data) if data else None
        except ValueError:
            die(f"{self.url} did not answer with JSON (status {status}). Is it a Waterline server?")
        if status >= 400:
            message = answer.get("error", {}).get("message") if isinstance(answer, dict) else None
            die(message or f"{self.url}{path} answered {status}")
        return answer

    def raw(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = make(parts.hostname or "127.0.0.1", parts.port, timeout=self.timeout_s)
        filled = {k: v for k, v in query.items() if v is not None and v != ""}
        target = quote(path, safe="/%") + (f"?{urlencode(filled)}" if filled else "")
        headers = {"authorization": f"Bearer {self.key}", "accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            connection.request(method, target, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            die(f"cannot reach {self.url}: {error}. Is the server running? Start it with: waterline up")
        finally:
            connection.close()


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
