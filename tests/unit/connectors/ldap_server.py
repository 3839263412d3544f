"""A real directory: OpenLDAP's slapd on a free port with a folder of its own; can be frozen, stopped, changed."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PASSWORD = "ldap-secret-42"
BASE = "dc=school,dc=example"
_SUFFIX = f"""dn: {BASE}
objectClass: dcObject
objectClass: organization
dc: school
o: School

"""
_PERSON = """dn: uid={uid},{where}
objectClass: inetOrgPerson
uid: {uid}
cn: {name}
sn: {name}
mail: {uid}@school.example
"""


class Slapd:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir(mode=0o700)
        self.certificate = folder / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", str(folder / "key.pem"), "-out",
             str(self.certificate)], check=True, capture_output=True,
        )  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"ldap://localhost:{self.port}"
        self.configure()
        self.fill()
        self.begin()

    @staticmethod
    def program(name: str) -> str | None:
        return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/lib/openldap")

    def configure(self) -> None:
        schemas = "\n".join(f"include /etc/ldap/schema/{n}.schema" for n in ("core", "cosine", "inetorgperson"))
        (self.folder / "slapd.conf").write_text(f"""{schemas}
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {self.folder}/slapd.pid
TLSCertificateFile {self.certificate}
TLSCertificateKeyFile {self.folder}/key.pem
database mdb
maxsize 16777216
suffix "{BASE}"
rootdn "cn=agent,{BASE}"
rootpw {PASSWORD}
directory {self.folder}/data
require bind
""")

    def fill(self) -> None:
        lines = [_SUFFIX]
        for branch, people in {
            "porto": [("ana", "Ana Sá"), ("rui", "Rui (Porto)")],
            "lisboa": [("eva", "Eva*")],
        }.items():
            where = f"ou={branch},{BASE}"
            lines.append(f"dn: {where}\nobjectClass: organizationalUnit\nou: {branch}\n\n")
            lines += [_PERSON.format(uid=uid, name=name, where=where) + "\n" for uid, name in people]
            members = "".join(f"member: uid={uid},{where}\n" for uid, _ in people)
            lines.append(f"dn: cn=teachers,{where}\nobjectClass: groupOfNames\ncn: teachers\n{members}\n")
        (self.folder / "all.ldif").write_text("".join(lines))
        subprocess.run(
            [str(self.program("slapadd")), "-f", str(self.folder / "slapd.conf"), "-l", str(self.folder / "all.ldif")],
            check=True, capture_output=True,
        )  # fmt: skip

    def begin(self) -> None:
        with (self.folder / "slapd.log").open("ab") as log:
            self.child = subprocess.Popen(
                [str(self.program("slapd")), "-d", "0", "-f", str(self.folder / "slapd.conf"), "-h",
                 f"ldap://localhost:{self.port}/"], stdout=log, stderr=log,
            )  # fmt: skip
        for _ in range(600):
            try:
                socket.create_connection(("localhost", self.port), 1).close()
                return
            except OSError:
                assert self.child.poll() is None, (self.folder / "slapd.log").read_text()
                time.sleep(0.05)
        raise AssertionError("slapd did not start")

    def freeze(self) -> None:
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.child.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.thaw()
        self.child.terminate()
        self.child.wait(30)

    def change(self, ldif: str) -> None:
        subprocess.run(
            ["ldapmodify", "-x", "-H", self.url, "-D", f"cn=agent,{BASE}", "-w", PASSWORD],
            input=ldif, text=True, check=True, capture_output=True,
        )  # fmt: skip
