"""Radicale, a CalDAV server in Python."""

import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from realservers.process import answers, free_port, running

USER, PASSWORD = "office", "correct-horse"
MAKE = (
    '<?xml version="1.0" encoding="utf-8"?><C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">'
    "<D:set><D:prop><D:displayname>Visits</D:displayname></D:prop></D:set></C:mkcalendar>"
)


class Radicale:
    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder
        self.url = f"http://127.0.0.1:{port}"

    def request(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(f"{self.url}/{path}", body.encode() or None, method=method)
        request.add_header("authorization", "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def calendar(self, name: str) -> str:
        """A new, empty calendar; its path."""
        assert self.request("MKCALENDAR", f"{USER}/{name}/", MAKE)[0] == 201
        return f"{USER}/{name}"

    def put(self, calendar: str, name: str, text: str) -> None:
        status, said = self.request("PUT", f"{calendar}/{name}", text, content_type="text/calendar")
        assert status in (201, 204), said

    def on_disk(self, calendar: str) -> Path:
        return self.folder / "collections/collection-root" / calendar

    def events(self, calendar: str) -> list[str]:
        """What is really there: the texts of all entries."""
        return [path.read_text("utf-8") for path in sorted(self.on_disk(calendar).glob("*.ics"))]


@contextmanager
def radicale(folder: Path) -> Iterator[Radicale]:
    port = free_port()
    (folder / "users").write_text(f"{USER}:{PASSWORD}\n")
    (folder / "config").write_text(
        f"[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = htpasswd\nhtpasswd_filename = {folder}/users\n"
        f"htpasswd_encryption = plain\ndelay = 0\n[storage]\nfilesystem_folder = {folder}/collections\n"
        "[logging]\nlevel = warning\n"
    )
    command = [sys.executable, "-m", "radicale", "--config", str(folder / "config")]
    with running(command, lambda: answers(port), folder / "log"):
        yield Radicale(port, folder)
