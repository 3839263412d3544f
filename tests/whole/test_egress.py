"""Where we connect to: the configured provider, verified, and nowhere else, whatever a caller or a provider says."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from whole_app import App, Reply, Route, Server

from waterline.core.app_spec import AppSpec, encode_spec
from waterline.core.judge import Judge

Serve = Callable[[bytes], bytes]
ANSWER = b'{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"ok"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'  # noqa: E501
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


class Listener:
    """A provider of one answer, or a place where nobody should come. Keeps what it was sent."""

    def __init__(self, answer: bytes = OK, tls: ssl.SSLContext | None = None) -> None:
        self.answer, self.tls = answer, tls
        self.came = 0
        self.heard = b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.came += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            connection.settimeout(60)
            got = b""
            while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < _length(got):
                part = connection.recv(65536)
                if not part:
                    return
                got += part
                self.heard += part
            connection.sendall(self.answer)

    def close(self) -> None:
        self.socket.close()


def _length(got: bytes) -> int:
    _, found, rest = got.lower().partition(b"content-length: ")
    return int(rest.split(b"\r\n")[0]) if found else 0


@pytest.fixture
def listener() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(*args: object, **more: object) -> Listener:
        made.append(Listener(*args, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return cert, key


class Direct:
    """A server that speaks to its providers itself, not through the simulated one."""

    def __init__(self, tmp_path: Path, **environ: str) -> None:
        self.server = Server(tmp_path / "d", OPENAI_API_KEY="sk-real-provider-key", **environ)
        self.apps = 0

    def chat(self, base_url: str, *, provider: str = "openai", body: object = None, **headers: str) -> Reply:
        self.apps += 1
        route = Route(provider=provider, model="gpt-4o-mini", base_url=base_url, retries=0, max_tokens=50)  # type: ignore[arg-type]
        app = App(self.server, f"app{self.apps}", {"main": route})
        return app.post(body or {"model": "main", "messages": [{"role": "user", "content": "hi"}]}, **headers)


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Direct]:
    made = Direct(tmp_path_factory.mktemp("direct"))
    yield made
    assert made.server.stop() == 0, made.server.log()[-3000:]


# --- TLS ---------------------------------------------------------------------------------------------------------


def test_a_provider_with_an_unknown_certificate_is_refused_before_it_hears_a_word(direct, listener, certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    provider = listener(tls=context)
    reply = direct.chat(f"https://localhost:{provider.address.split(':')[1]}/v1")
    assert (reply.status, reply.code) == (502, "provider_unavailable")
    assert "certificate" in reply.json["error"]["message"].lower()
    assert provider.came == 1
    assert provider.heard == b""


def test_a_certificate_for_another_name_is_refused_and_a_trusted_one_is_not(tmp_path, listener, certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    provider = listener(tls=context)
    direct = Direct(tmp_path, SSL_CERT_FILE=str(certificate[0]))
    try:
        port = provider.address.split(":")[1]
        assert direct.chat(f"https://127.0.0.1:{port}/v1").status == 502
        assert provider.heard == b""
        assert direct.chat(f"https://localhost:{port}/v1").status == 200
        assert b"sk-real-provider-key" in provider.heard
    finally:
        direct.server.stop()


# --- no detours --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_is_never_followed(direct, listener, status):
    elsewhere = listener()
    to = f"http://{elsewhere.address}/v1/chat/completions".encode()
    provider = listener(b"HTTP/1.1 %d Moved\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % (status, to))
    reply = direct.chat(f"http://{provider.address}/v1")
    assert (reply.status, reply.code) == (502, "provider_unavailable"), reply.body
    assert (provider.came, elsewhere.came) == (1, 0)


def test_no_address_in_a_request_is_ever_visited(direct, listener):
    elsewhere, provider = listener(), listener()
    url = f"http://{elsewhere.address}/v1"
    fields = dict.fromkeys(("base_url", "api_base", "api_url", "url", "endpoint", "webhook", "proxy"), url)
    body = {"model": "main", "messages": [{"role": "user", "content": "hi"}], **fields, "extra_body": fields}
    headers = {"x_waterline_base_url": url, "x_forwarded_host": elsewhere.address, "host": elsewhere.address,
               "x_original_url": url, "forwarded": f"host={elsewhere.address}", "x_base_url": url}  # fmt: skip
    reply = direct.chat(f"http://{provider.address}/v1", body=body, **headers)
    assert reply.status == 200, reply.body
    assert (provider.came, elsewhere.came) == (1, 0)


@pytest.mark.parametrize("provider_kind", ["openai", "anthropic"])
def test_the_url_of_an_image_is_passed_on_and_never_fetched(direct, listener, provider_kind):
    elsewhere = listener()
    message = (
        b'{"id":"m","model":"c","content":[{"type":"text","text":"ok"}],"stop_reason":"end_turn",'
        b'"usage":{"input_tokens":1,"output_tokens":1}}'
    )
    spoken = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    provider = listener(OK if provider_kind == "openai" else spoken % (len(message), message))
    url = f"http://{elsewhere.address}/secret.png"
    parts = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "main", "messages": [{"role": "user", "content": parts}]}
    reply = direct.chat(f"http://{provider.address}/v1", provider=provider_kind, body=body)
    assert reply.status == 200, reply.body
    assert json.dumps(url).encode() in provider.heard
    assert elsewhere.came == 0


@pytest.mark.parametrize(
    "model", ["http://127.0.0.1:1/v1", "../../etc/passwd", "main@evil.example", "//evil/x", "{route}"]
)
def test_a_model_name_that_looks_like_an_address_is_an_unknown_model(direct, listener, model):
    provider = listener()
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    reply = direct.chat(f"http://{provider.address}/v1", body=body)
    assert (reply.status, reply.code) == (404, "unknown_model")
    assert provider.came == 0


def test_a_release_may_not_send_another_of_our_secrets_to_its_provider(direct):
    """`api_key_env` is part of a release: it may name a provider's key, not the master key or a password."""
    route = Route(provider="openai", model="m", base_url="http://127.0.0.1:1/v1", api_key_env="WATERLINE_MASTER_KEY")
    with pytest.raises(AssertionError, match="api_key_env"):
        App(direct.server, "thief", {"main": route})


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]", "[fd00:ec2::254]", "2852039166", "0xa9fea9fe",
     "169.254.43518", "metadata.google.internal", "Metadata.Google.Internal."],
)  # fmt: skip
def test_a_release_may_not_make_the_server_ask_its_cloud_for_credentials(direct, host):
    with pytest.raises(AssertionError, match="hands credentials"):
        App(direct.server, "thief", {"main": Route(provider="openai", model="m", base_url=f"http://{host}/v1")})


def test_a_judge_is_held_to_what_a_route_is_held_to(direct, listener):
    app = App(direct.server, "judged", {"main": Route(provider="openai", model="m", base_url="http://127.0.0.1:1/v1")})
    for wrong in ({"base_url": "http://169.254.169.254/v1"}, {"api_key_env": "WATERLINE_MASTER_KEY"}):
        route = Route(provider="openai", model="m", **wrong)
        judge = Judge(question="Is it polite?", text="Polite? {{answer}}", route=route)
        app.spec = AppSpec(name=app.name, judges={"tone": judge})
        with pytest.raises(AssertionError, match=r"judge ...tone"):
            app.build(app.release)
        body = {"spec": encode_spec(app.spec).decode(), "reason": "a judge"}
        with pytest.raises(AssertionError, match=r"judge ...tone"):
            direct.server.ask("POST", "/api/environment-records", body)


def test_only_the_hosts_that_the_operator_allows_are_asked(tmp_path, listener):
    """When a release is built; and, because the list may have become shorter since, when it is served."""
    provider = listener()
    server = Server(tmp_path / "d", OPENAI_API_KEY="sk-x", WATERLINE_EGRESS_HOSTS="127.0.0.1,*.example.org")
    try:
        here = Route(provider="openai", model="m", base_url=f"http://{provider.address}/v1", retries=0)
        app = App(server, "allowed", {"main": here})
        assert app.chat().status == 200
        for base_url in ("http://localhost:1/v1", "https://example.org/v1", ""):  # "": the provider's own
            elsewhere = Route(provider="openai", model="m", base_url=base_url)
            with pytest.raises(AssertionError) as refused:
                App(server, "elsewhere", {"main": elsewhere})
            assert "127.0.0.1, *.example.org" in str(refused.value)
            assert (urlsplit(base_url).hostname or "api.openai.com") in str(refused.value)
        server.stop()
        server.environ["WATERLINE_EGRESS_HOSTS"] = "*.example.org"
        server.start()
        came = provider.came
        reply = app.chat()
        assert (reply.status, reply.code) == (502, "provider_unavailable")
        assert '"127.0.0.1"' in reply.json["error"]["message"]
        assert "WATERLINE_EGRESS_HOSTS" in reply.json["error"]["message"]
        assert provider.came == came
    finally:
        server.stop()


def test_a_server_whose_own_settings_contradict_the_list_does_not_start(tmp_path):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WATERLINE_")} | {
        "WATERLINE_EGRESS_HOSTS": "api.openai.com", "WATERLINE_CONNECTOR_CRM_URL": "https://crm.example.net/api",
        "WATERLINE_PROVIDER_URLS": "openai=https://eu.api.openai.com/v1",
    }  # fmt: skip
    command = [sys.executable, "-m", "waterline", "up", "--data", str(tmp_path / "d"), "--port", "0"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "WATERLINE_CONNECTOR_CRM_URL" in ended.stderr
    assert '"crm.example.net"' in ended.stderr
    assert '"eu.api.openai.com"' in ended.stderr


# --- What goes along ------------------------------------------------------------------------------------------------


def test_nothing_of_the_callers_own_head_reaches_the_provider(direct, listener):
    """Hop-by-hop headers, the caller's key, cookies and addresses end here; the provider hears our key alone."""
    provider = listener()
    said = {
        "te": "trailers", "keep-alive": "timeout=5", "proxy-authorization": "Basic c2VjcmV0", "cookie": "session=1",
        "x-forwarded-for": "203.0.113.7", "forwarded": "for=203.0.113.7", "x-waterline-session": "s-1",
        "x-api-key": "sk-of-the-caller", "openai-organization": "org-of-the-caller", "x-anything": "at all",
    }  # fmt: skip
    reply = direct.chat(f"http://{provider.address}/v1", **said)
    assert reply.status == 200, reply.body
    head = provider.heard.partition(b"\r\n\r\n")[0].lower()
    names = {line.partition(b":")[0] for line in head.split(b"\r\n")[1:]}
    assert names == {b"host", b"content-type", b"user-agent", b"authorization", b"content-length"}
    assert b"authorization: bearer sk-real-provider-key" in head
    assert b"wl-" not in head
