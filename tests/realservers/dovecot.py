"""Dovecot, a real IMAP server, as a process of its own with a temporary folder: TLS with an authority of its own."""

import getpass
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

USER, PASSWORD = "office@school.example", "mailbox secret"
PROGRAM = shutil.which("dovecot") or ("/usr/sbin/dovecot" if Path("/usr/sbin/dovecot").exists() else "")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Dovecot:
    """`url`: imaps://localhost:port, and `trust` to verify it with. The mailbox is a folder of files, and not one of
    pytest's: those are closed to other users whenever another run begins."""

    def __init__(self) -> None:
        self.folder = folder = Path(tempfile.mkdtemp(prefix="waterline-dovecot-"))
        self.maildir = folder / "mail"
        for name in ("cur", "new", "tmp"):
            (self.maildir / name).mkdir(parents=True)
        self._count = 0
        port = free_port()
        key, cert = folder / "key.pem", folder / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
            check=True, capture_output=True,
        )  # fmt: skip
        me = getpass.getuser()
        owner = "nobody" if os.geteuid() == 0 else me
        group = "nogroup" if os.geteuid() == 0 else str(os.getgid())
        (folder / "run").mkdir()
        (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        config = folder / "dovecot.conf"
        config.write_text(f"""
base_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{cert}
ssl_key = <{key}
default_internal_user = {owner}
default_internal_group = {group if os.geteuid() == 0 else _group(os.getegid())}
default_login_user = {owner}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{self.maildir}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid={owner} gid={group} home={self.maildir}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
""")
        if os.geteuid() == 0:
            folder.chmod(0o711)  # "nobody" must come in
            subprocess.run(["chown", "-R", f"{owner}:{group}", str(self.maildir)], check=True)
        self.log = folder / "dovecot.log"
        self.url = f"imaps://localhost:{port}"
        self.certificate = cert
        self.trust = ssl.create_default_context(cafile=str(cert))
        self._owner = (owner, group)
        self._config, self._port = config, port
        self.start()

    def start(self) -> None:
        self.child = subprocess.Popen([PROGRAM, "-F", "-c", str(self._config)], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"dovecot did not start: {self.log.read_text() if self.log.exists() else ''}")

    def put(self, mail: bytes) -> None:
        """As a mail server delivers: written aside, then moved."""
        self._count += 1
        name = f"{time.time_ns()}.{self._count}.test"
        aside = self.maildir / "tmp" / name
        aside.write_bytes(mail)
        if os.geteuid() == 0:
            shutil.chown(aside, *self._owner)
        aside.rename(self.maildir / "new" / name)

    def seen(self) -> int:
        return sum(":2," in f.name and "S" in f.name.rpartition(":2,")[2] for f in (self.maildir / "cur").iterdir())

    def stop(self) -> None:
        self.child.terminate()
        self.child.wait(timeout=20)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _group(gid: int) -> str:
    import grp

    return grp.getgrgid(gid).gr_name
