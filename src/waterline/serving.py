"""The process: its socket, its signals, the files that say where it is and with which key, and an orderly end."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import uvloop

from waterline.access.keys import KeyRing
from waterline.app import Waterline
from waterline.core.egress import Egress
from waterline.core.errors import Refused, WaterlineError
from waterline.settings import Settings
from waterline.settings.problems import Problem, SettingsError
from waterline.settings.read import CONNECTOR_PREFIX

FIRST_LISTEN_FD = 3
log = logging.getLogger("waterline")


def inherited(environ: Mapping[str, str]) -> socket.socket | None:
    """The listening socket that a service manager holds for us, so that callers wait through a restart instead of
    being refused. Source: sd_listen_fds(3). None: there is none."""
    if environ.get("LISTEN_PID") != str(os.getpid()) or environ.get("LISTEN_FDS") != "1":
        return None
    os.set_inheritable(FIRST_LISTEN_FD, False)
    return socket.socket(fileno=FIRST_LISTEN_FD)


def bind(host: str, port: int) -> socket.socket:
    """The listening socket. Raises Refused naming the port and the way out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise Refused(
            f"cannot listen on {host}:{port}: {error.strerror}. Choose another port (--port 8401, or --port 0 for a "
            "free one), or stop what uses it."
        ) from error
    return sock


def run_server(
    settings: Settings,
    environ: Mapping[str, str],
    folders: list[tuple[bytes, bytes]],
    ready: Callable[[str, str, bool], None],
    server_file: str,
    key_file: str,
) -> int:
    """Serve until SIGINT or SIGTERM. `ready(url, key, first)` is called when requests are answered."""
    logging.basicConfig(
        level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if problems := _not_allowed(settings):
        raise SettingsError(problems)
    sock = inherited(environ) or bind(settings.host, settings.port)
    host = settings.host if settings.host not in ("0.0.0.0", "::") else "127.0.0.1"
    url = settings.public_url or f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"

    async def main() -> int:
        asked = asyncio.Event()
        for sig in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sig, asked.set)
        waterline = Waterline(settings, environ)
        await waterline.start()
        try:
            for manifest, spec in folders:
                await waterline.install(manifest, spec)
            key, first = _operator_key(waterline.keys, settings.data / key_file)
            await waterline.listen(sock)
            address = settings.data / server_file
            address.write_text(json.dumps({"url": url, "pid": os.getpid(), "started_us": waterline.started_us}))
            ready(url, key, first)
            await asked.wait()
            await waterline.hang_up()
            (settings.data / server_file).unlink(missing_ok=True)
        finally:
            await waterline.stop()
        return 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _not_allowed(settings: Settings) -> list[Problem]:
    """Addresses of the settings themselves that are not in the list of hosts beside them."""
    egress = Egress(settings.egress_hosts)
    addresses = {f"provider_urls, {kind}": url for kind, url in settings.provider_urls.items()}
    addresses |= {f"{CONNECTOR_PREFIX}{n}": v for n, v in settings.connectors.items() if n.endswith(("_URL", "_HOST"))}
    addresses |= {"WATERLINE_EMAIL_IMAP": settings.email_imap, "WATERLINE_EMAIL_SMTP": settings.email_smtp}
    if settings.whatsapp_token:
        addresses["WATERLINE_WHATSAPP_URL"] = settings.whatsapp_url
    found = [(where, *egress.refusal(url)) for where, url in addresses.items() if url]
    return [Problem(where, problem, f"{remedy}.") for where, problem, remedy in found if problem]


def _operator_key(keys: KeyRing, file: Path) -> tuple[str, bool]:
    """The owner's key of this machine's operator: made at the first start, kept in a file only its user can read."""
    if file.exists():
        text = file.read_text().strip()
        try:
            keys.check(text.encode())
            return text, False
        except WaterlineError:
            log.warning("%s holds a key that is not valid here (revoked?); it is left alone", file)
            return "", False
    made = keys.create_first_key("operator", lost=True)  # whoever may write here may also read the database
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(made.text + "\n")
    return made.text, True
