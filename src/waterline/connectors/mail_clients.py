"""The mail clients of the standard library, over sockets that we dialled. TLS is for the name, not for the address."""

import imaplib
import smtplib
import socket
import ssl

from waterline.connectors.dial import dial


class Smtp(smtplib.SMTP):
    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        return dial(host, port, timeout)


class SmtpTls(smtplib.SMTP_SSL, Smtp):
    """SMTP_SSL wraps what the next class in line dials."""


class Imap(imaplib.IMAP4):
    def _create_socket(self, timeout: float | None) -> socket.socket:
        return dial(self.host, self.port, timeout)


class ImapTls(imaplib.IMAP4_SSL):
    ssl_context: ssl.SSLContext

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return self.ssl_context.wrap_socket(dial(self.host, self.port, timeout), server_hostname=self.host)
