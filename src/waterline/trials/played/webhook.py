"""Plays a receiver of web hooks, which looks at the signature and drops a delivery that it has."""

import time
from typing import Any

import msgspec

from waterline.connectors.base import ConnectorFault
from waterline.connectors.webhook import sign
from waterline.core.app_spec import Connection
from waterline.trials.played.base import REFUSED, Record, Reply, Request

SECRET = "trial-secret-of-the-web-hook"


class PlayedReceiver:
    scoped = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.writes: dict[str, tuple[str, ...]] = {"send": ("POST",)}
        self.events: dict[str, dict[str, tuple[bytes, float]]] = {}  # place -> delivery -> body, when it came
        self.other: list[tuple[str, str]] = []  # a delivery that came again and said something else

    def connection(self) -> Connection:
        return Connection(self._connection.kind, {**self._connection.parameters, "allow_private": True})

    def settings(self, url: str) -> dict[str, str]:
        return {"url": f"{url}/hook", "secret": SECRET}

    def place_of(self, request: Request) -> str:
        try:
            said: dict[str, Any] = msgspec.json.decode(request.body)
            return str(said.get("branch", ""))
        except (msgspec.DecodeError, AttributeError):
            return ""

    def wire(self, request: Request) -> str:
        return request.method

    def answer(self, request: Request, place: str, dirty: bool) -> Reply:
        """`dirty`: a receiver may answer what it likes."""
        delivery, at_s = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        try:
            good = sign(SECRET, delivery, int(at_s), request.body)
        except (ValueError, ConnectorFault):
            return REFUSED
        if good not in request.headers.get("webhook-signature", "").split():
            return REFUSED
        known = self.events.setdefault(place, {})
        if delivery in known and known[delivery][0] != request.body:
            self.other.append((place, delivery))
        known.setdefault(delivery, (request.body, time.time()))
        return Reply(200, b"\xff\xfe<html>\x00" if dirty else b"{}")

    def changed(self, request: Request) -> Reply:
        return Reply(410)

    def records(self, place: str) -> list[Record]:
        came = [Record("send", delivery, at_s) for delivery, (_, at_s) in self.events.get(place, {}).items()]
        return came + [Record("send", delivery, 0.0) for where, delivery in self.other if where == place]
