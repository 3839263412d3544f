"""Web hooks out, against a real receiver: signed, the same delivery the same bytes, never into our own network."""

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from waterline.connectors import http
from waterline.connectors.base import Config, ConnectorFault, Scope
from waterline.connectors.run import Ready, perform
from waterline.connectors.webhook import Webhook, sign

PORTO = Scope("porto")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "an older secret of 24 ch"
EVENT = {"event": "visit.booked", "data": {"name": "João", "at": "2027-01-04T10:00:00+00:00"}}


class Receiver:
    def __init__(self) -> None:
        self.how: list[int | str] = []  # what the next requests get; 200 after that
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.hold = threading.Event()
        self.begin(0)

    def begin(self, port: int) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.seen.append(({k.lower(): v for k, v in self.headers.items()}, body))
                how = outer.how.pop(0) if outer.how else 200
                if how == "slow":
                    outer.hold.wait(3)
                if how == "garbage":
                    self.wfile.write(b"SSH-2.0 hello\r\n")
                    return
                self.send_response(how if isinstance(how, int) else 200)
                self.send_header("location", f"http://127.0.0.1:{outer.port}/internal")
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.hold.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def hook(receiver: Receiver, url: str = "", secret: str = SECRET, previous: str = "", **more: Any) -> Webhook:
    settings = {"url": url or f"http://127.0.0.1:{receiver.port}/in", "secret": secret, "previous_secret": previous}
    return Webhook(Config("crm", settings, {"allow_private": True, **more}), clock=lambda: 1_800_000_000.5)


async def fault(connector: Webhook) -> ConnectorFault:
    with pytest.raises(ConnectorFault) as caught:
        await connector.call("send", EVENT, "k", PORTO)
    return caught.value


def verified(headers: dict[str, str], body: bytes, key: bytes) -> bool:
    """As a receiver does it, by the words of the specification."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return wanted in headers["webhook-signature"].split(" ")


def test_the_signature_is_that_of_the_specification() -> None:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries: the vector all libraries share."""
    made = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_an_event_is_signed_over_its_id_its_time_and_its_body(receiver: Receiver) -> None:
    result = await hook(receiver).call("send", EVENT, "c1/3/crm", PORTO)
    ((headers, body),) = receiver.seen
    assert json.loads(body) == {
        "id": result["delivery"],
        "type": "visit.booked",
        "branch": "porto",
        "data": EVENT["data"],
    }
    assert headers["webhook-timestamp"] == "1800000000"
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert verified(headers, body, key)
    assert not verified(headers, body + b" ", key)
    assert not verified(headers | {"webhook-timestamp": "1800000001"}, body, key)


async def test_while_a_secret_is_changed_receivers_of_both_understand(receiver: Receiver) -> None:
    await hook(receiver, previous=OLD).call("send", EVENT, "k", PORTO)
    ((headers, body),) = receiver.seen
    assert verified(headers, body, OLD.encode())
    assert verified(headers, body, base64.b64decode(SECRET.removeprefix("whsec_")))


async def test_a_repeat_has_the_same_id_and_the_same_bytes(receiver: Receiver) -> None:
    """The receiver answered 503 twice; the runner backs off and repeats."""
    receiver.how = [503, 500]
    made = hook(receiver)
    ready = Ready(made, Config("crm", made.settings), chance=lambda: 0.0)
    await perform(ready, "send", EVENT, "k1", PORTO)
    await perform(ready, "send", EVENT, "k2", PORTO)
    ids = [headers["webhook-id"] for headers, _ in receiver.seen]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert len({body for _, body in receiver.seen[:3]}) == 1


async def test_what_an_event_tells_may_be_nested_and_not_without_end(receiver: Receiver) -> None:
    line = Ready(hook(receiver), Config("events"))
    data: dict[str, Any] = {"lead": {"name": "João", "children": [{"age": 4}, {"age": 7}]}, "tags": ["visit"]}
    await perform(line, "send", {"event": "lead.new", "data": data}, "k", PORTO)
    assert json.loads(receiver.seen[0][1])["data"] == data
    for _ in range(5000):
        data = {"more": data}
    with pytest.raises(ConnectorFault, match="nested too deep"):
        await perform(line, "send", {"event": "lead.new", "data": data}, "k2", PORTO)
    assert len(receiver.seen) == 1


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.how = [307]
    assert (await fault(hook(receiver))).kind == "schema"
    assert len(receiver.seen) == 1


PRIVATE = ("127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1", "::1", "fd00::1")
PRIVATE += ("::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::")  # IPv4 within IPv6


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_into_a_private_network_is_refused_before_anything_is_sent(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Also when one of several addresses is public: the one that was looked at is the one that is used."""
    assert not http.is_public(address)
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))
    inside = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [public, inside])
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("connected"))
    made = hook(receiver, url="https://hooks.example/in", allow_private=False)
    found = await fault(made)
    assert (found.kind, "private network" in found.message) == ("invalid", True)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254"])
async def test_also_with_leave_to_be_private_no_name_leads_to_a_clouds_credentials(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """It is looked up once, so there is no second answer to be connected to."""
    lookups: list[str] = []

    def resolve(host: str, *_: object, **__: object) -> list[object]:
        lookups.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("connected"))
    found = await fault(hook(receiver, url="http://hooks.example/in", allow_private=True))
    assert (found.kind, address in found.message) == ("invalid", True)
    assert lookups == ["hooks.example"]


async def test_without_leave_to_be_private_it_goes_over_https_only(receiver: Receiver) -> None:
    assert "https" in (await fault(hook(receiver, allow_private=False))).message
    assert receiver.seen == []


@pytest.mark.parametrize("secret", ["", "short", "whsec_!!!"])
async def test_a_secret_that_protects_nothing_is_refused(receiver: Receiver, secret: str) -> None:
    assert (await fault(hook(receiver, secret=secret))).kind == "credentials"
    assert receiver.seen == []


@pytest.mark.parametrize(
    ("how", "kind"),
    [("slow", "slow"), (503, "down"), ("down", "down"), (401, "credentials"), (404, "schema"), (410, "schema"),
     ("garbage", "down"), (422, "refused")],
)  # fmt: skip
async def test_a_fault_has_its_name_and_is_over_when_its_cause_is(
    receiver: Receiver, how: int | str, kind: str
) -> None:
    receiver.how = [how]
    if how == "down":
        receiver.stop()
    found = await fault(hook(receiver, timeout_s=0.4 if how == "slow" else 10.0))
    assert found.kind == kind, found.message
    assert SECRET not in found.message
    receiver.hold.set()
    if how == "down":
        receiver.how = []
        receiver.begin(receiver.port)
    assert (await hook(receiver).call("send", EVENT, "k", PORTO))["status"] == 200
