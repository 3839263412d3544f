"""The systems that the school lives among, on this machine: a calendar (Radicale), a CRM (Tryton) and telephones (the
simulated WhatsApp), with one page that shows a telephone, the calendar and the leads side by side.

`Office(folder)` starts them and says in `environ` what Waterline must know; what they hold stays in the folder.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

HERE = Path(__file__).resolve().parent
CALENDAR = "office/visits"
DATABASE = "school"
SHOWN_BY_S = 60
ANA = "351911000001"  # whose telephone is open at first
NUMBER = "100000000000001"  # the school's, as in school/branches.toml
MAKE = (
    '<?xml version="1.0" encoding="utf-8"?><C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">'
    "<D:set><D:prop><D:displayname>Visits</D:displayname></D:prop></D:set></C:mkcalendar>"
)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


class Office:
    """`webhook`: where the telephones' messages are delivered, Waterline's address and /webhooks/whatsapp."""

    def __init__(self, folder: Path, webhook: str) -> None:
        self.folder = folder
        self.webhook = webhook
        self.running: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.password = self._password()
        self.calendar_url, self.crm_url, self.phone_url, self.board_url = (
            f"http://127.0.0.1:{free_port()}" for _ in range(4)
        )

    @property
    def environ(self) -> dict[str, str]:
        return {
            "WATERLINE_CONNECTOR_CALENDAR_URL": self.calendar_url,
            "WATERLINE_CONNECTOR_CALENDAR_USER": "office",
            "WATERLINE_CONNECTOR_CALENDAR_PASSWORD": self.password,
            "WATERLINE_CONNECTOR_CRM_URL": self.crm_url,
            "WATERLINE_CONNECTOR_CRM_DATABASE": DATABASE,
            "WATERLINE_CONNECTOR_CRM_USER": "office",
            "WATERLINE_CONNECTOR_CRM_PASSWORD": self.password,
            "WATERLINE_WHATSAPP_URL": self.phone_url,
            "WATERLINE_WHATSAPP_TOKEN": "simulated-token",
            "WATERLINE_WHATSAPP_APP_SECRET": "simulated-secret",
            "WATERLINE_WHATSAPP_VERIFY_TOKEN": "simulated-verify",
            "WATERLINE_WHATSAPP_ACCOUNTS": "200000000000001",
        }

    def start(self) -> None:
        self._start_calendar()
        self._start_crm()
        port = self.phone_url.rpartition(":")[2]
        script = self.folder / "phone.json"
        script.write_text(json.dumps({"numbers": [{"id": NUMBER, "name": "Porto Azul International School"}]}))
        phone = [sys.executable, "-m", "waterline.channels.simulated", "--port", port, "--webhook", self.webhook]
        phone += ["--script", str(script)]
        self._run("phone", phone)
        board = [sys.executable, str(HERE / "board.py"), "--port", self.board_url.rpartition(":")[2]]
        board += [
            "--phone",
            f"{self.phone_url}/phone/{ANA}?number={NUMBER}",
            "--calendar",
            f"{self.calendar_url}/{CALENDAR}/",
        ]
        console = self.webhook.removesuffix("/webhooks/whatsapp")
        self._run("board", [*board, "--crm", str(self._crm_file), "--console", console])
        for url in (self.calendar_url, self.crm_url, self.phone_url, self.board_url):
            self._wait(url)

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()

    def _run(self, name: str, command: list[str], **environ: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            env = {**os.environ, "BOARD_USER": "office", "BOARD_PASSWORD": self.password, **environ}
            self.running.append(subprocess.Popen(command, stdout=log, stderr=log, env=env))

    def _wait(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        until = time.monotonic() + SHOWN_BY_S
        while time.monotonic() < until:
            with socket.socket() as sock:
                if sock.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.1)
        raise SystemExit(f"{url} does not answer after {SHOWN_BY_S} s. Its log is in {self.folder}")

    def _password(self) -> str:
        """Made once; for these two servers of this machine only."""
        file = self.folder / "password"
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(os.urandom(12).hex())
        return file.read_text()

    def _start_calendar(self) -> None:
        folder = self.folder / "radicale"
        folder.mkdir(exist_ok=True)
        (folder / "users").write_text(f"office:{self.password}\n")
        (folder / "users").chmod(0o600)
        config = (
            f"[server]\nhosts = {self.calendar_url.removeprefix('http://')}\n[auth]\ntype = htpasswd\n"
            f"htpasswd_filename = {folder}/users\nhtpasswd_encryption = plain\n"
            f"[storage]\nfilesystem_folder = {folder}/collections\n[logging]\nlevel = warning\n"
        )
        (folder / "config").write_text(config)
        self._run("calendar", [sys.executable, "-m", "radicale", "--config", str(folder / "config")])
        self._wait(self.calendar_url)
        request = urllib.request.Request(f"{self.calendar_url}/{CALENDAR}/", MAKE.encode(), method="MKCALENDAR")
        request.add_header("authorization", "Basic " + b64encode(f"office:{self.password}".encode()).decode())
        try:
            urllib.request.urlopen(request).close()
        except urllib.error.HTTPError as error:
            if error.code not in (405, 409):  # it is there already
                raise

    @property
    def _crm_file(self) -> Path:
        return self.folder / "tryton" / f"{DATABASE}.sqlite"

    def _start_crm(self) -> None:
        folder = self._crm_file.parent
        folder.mkdir(exist_ok=True)
        config = folder / "trytond.conf"
        address = self.crm_url.removeprefix("http://")
        config.write_text(f"[database]\nuri = sqlite://\npath = {folder}\n[web]\nlisten = {address}\n")
        if not self._crm_file.exists():
            self._make_crm(config)
        self._run("crm", [program("trytond"), "-c", str(config), "-d", DATABASE])

    def _make_crm(self, config: Path) -> None:
        print("Making the CRM's database (Tryton; once, about half a minute) ...", flush=True)
        making = config.parent / "making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        (making / f"{DATABASE}.sqlite").touch()
        text = re.sub(r"path = .*", f"path = {making}", config.read_text())
        (making / "trytond.conf").write_text(text)
        (making / "password").write_text(self.password)
        environ = {**os.environ, "TRYTONPASSFILE": str(making / "password")}
        admin = [program("trytond-admin"), "-c", str(making / "trytond.conf"), "-d", DATABASE, "-u", "sale_opportunity"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(
            [*admin, "--activate-dependencies", "--email", "a@example.org"], env=environ, check=True, **quiet
        )
        fill = [sys.executable, str(HERE / "office_crm.py"), str(making / "trytond.conf"), DATABASE, "office"]
        subprocess.run([*fill, self.password], check=True, **quiet)
        shutil.move(making / f"{DATABASE}.sqlite", self._crm_file)
        shutil.rmtree(making)


if __name__ == "__main__":
    office = Office(Path(sys.argv[1]), sys.argv[2])
    try:
        office.start()
        print(json.dumps({"board": office.board_url, **office.environ}, indent=1), flush=True)
        office.running[0].wait()
    except KeyboardInterrupt:
        pass
    finally:
        office.stop()
