"""One secret of each kind is planted and used in requests that succeed and that fail in every way we know; then
everything that is written or shown is searched for it."""

import hmac
import json
import sqlite3
import time
from pathlib import Path

import pytest
from whole_app import App, Route, Server, eventually, send

from waterline.core.branch import Branch
from waterline.core.channels import Channels, EmailPolicy, WhatsAppPolicy
from waterline.providers.simulated_script import Answer, Fault, Target

PROVIDER = "sk-planted-0123456789abcdefghijABCDEFGHIJ"
OTHER = "sk-ant-planted-ZYXWVUTSRQponmlkjihgfedcba"
MASTER = "c0ffee" + "5eed" * 14 + "ab"
GUESS = "wl-deadbeef" + "Qz7" * 14 + "Q"
SETTINGS = {name: f"planted-{number}-of-the-settings-QzQzQz" for number, name in enumerate((
    "whatsapp_token", "whatsapp_app_secret", "whatsapp_verify_token", "connector_crm_password", "connector_hook_secret",
    "email_password",
))}  # fmt: skip
GOOD = Target(answer=Answer(text="ok"))


def echo(kind: str, text: str, **more: object) -> Target:
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {text}. Fix {text}", "type": "x"}})
    return Target(answer=Answer(text="ok"), faults=(Fault(kind, body=body, **more),))  # type: ignore[arg-type]


@pytest.fixture
def used(tmp_path, sim):
    """A server that was used: (server, secrets, everything a caller was told)."""
    assert len(MASTER) == 64
    environ = {"OPENAI_API_KEY": PROVIDER, "ANTHROPIC_API_KEY": OTHER, "WATERLINE_MASTER_KEY": MASTER}
    environ |= {f"WATERLINE_{name.upper()}": secret for name, secret in SETTINGS.items()}
    environ |= {"WATERLINE_WHATSAPP_URL": "http://127.0.0.1:1", "WATERLINE_WHATSAPP_ACCOUNTS": "200",
                "WATERLINE_EMAIL_ADDRESS": "office@school.example", "WATERLINE_EMAIL_IMAP": "imap://127.0.0.1:1",
                "WATERLINE_EMAIL_SMTP": "smtp://127.0.0.1:1", "WATERLINE_EMAIL_EVERY_S": "1"}  # fmt: skip
    server = Server(tmp_path / "d", **environ, WATERLINE_LOG_LEVEL="debug")
    here, there = f"{sim.address}/main/v1", f"{sim.address}/other/v1"
    heard: list[bytes] = []

    def routes(number: int) -> dict[str, Route]:
        """Of models that nothing is known of: none is cooling down."""
        return {
            "main": Route(provider="openai", model=f"gpt-{number}", base_url=here, retries=0),
            "other": Route(provider="anthropic", model=f"claude-{number}", base_url=there, retries=0, max_tokens=20),
            "dead": Route(provider="openai", model="gpt-4o-mini", base_url="http://127.0.0.1:1/v1", retries=0),
        }

    def ask(app: App, route: str) -> None:
        for stream in (False, True):
            message = {"role": "user", "content": "hi"}
            reply = app.post({"model": route, "messages": [message], "stream": stream})
            heard.append(reply.body + repr(reply.headers).encode())

    statuses = (400, 401, 403, 404, 422, 429, 500, 503)
    broken = [Target(faults=(Fault(kind, after=1),)) for kind in ("error_event", "malformed_event", "cut", "garbage")]
    played = [(GOOD, GOOD), *((target, target) for target in broken)]
    played += [(echo("http", PROVIDER, status=s), echo("http", OTHER, status=s)) for s in statuses]
    cut = ["x" * length for length in range(920, 1000, 7)]  # what is told of a message ends in the middle of a key
    played += [(echo("http", x + PROVIDER, status=400), echo("http", x + OTHER, status=400)) for x in cut]
    for number, (main, other) in enumerate(played):
        sim.play(main=main, other=other)
        app = App(server, f"planted{number}", routes(number))
        ask(app, "main")
        ask(app, "other")
        assert (sim.asked("main"), sim.asked("other")) == (2, 2)
    extra = app.make_key(assert_identity=True)
    ask(app, "dead")
    ask(app, "no such route")
    for wrong in (GUESS, GUESS[:-1], app.key[:-1] + ("A" if app.key[-1] != "A" else "B"), f"{app.key} ", PROVIDER):
        for headers in (
            {"authorization": f"Bearer {wrong}"},
            {"x-api-key": wrong},
            {"authorization": f"Basic {wrong}"},
        ):
            for path in ("/v1/models", "/api/traces", "/metrics", f"/v1/models?api_key={wrong}", f"/?key={wrong}"):
                reply = send(server.url, "GET", path.replace(" ", "%20"), headers=headers)
                heard.append(reply.body + repr(reply.headers).encode())
    heard += on_channels(server, routes(99)["dead"])
    form = f"key={GUESS}&next=/".encode()
    urlencoded = {"content-type": "application/x-www-form-urlencoded"}
    heard.append(send(server.url, "POST", "/login", form, urlencoded).body)
    server.ask("POST", f"/api/keys/{extra['id']}/revocation")
    app.key, kept = extra["key"], app.key
    ask(app, "main")
    app.key = kept
    secrets = {"provider": PROVIDER, "other provider": OTHER, "master": MASTER, "app key": app.key,
               "revoked key": extra["key"], "operator's key": server.key, "guess": GUESS, **SETTINGS}  # fmt: skip
    assert eventually(lambda: server.ask("GET", "/api/status")["waiting"] == 0)
    yield server, {name: secret.encode() for name, secret in secrets.items()}, heard
    server.stop()


def on_channels(server: Server, route: Route) -> list[bytes]:
    """Web hooks that are let in and that are not; a message whose answer cannot leave."""
    lines = {"whatsapp": ("111",), "email": ("office@school.example",)}
    branches = (Branch("lisbon", "Lisbon", addresses=lines),)
    channels = Channels(whatsapp=WhatsAppPolicy(), email=EmailPolicy())
    App(server, "lines", {"main": route}, branches=branches, channels=channels)
    message = {"from": "351900000001", "id": "wamid.1", "timestamp": str(int(time.time())), "type": "text",
               "text": {"body": "hello"}}  # fmt: skip
    value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "111"}, "messages": [message],
             "contacts": [{"wa_id": "351900000001", "profile": {"name": "Ana"}}]}  # fmt: skip
    entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
    body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    secret = SETTINGS["whatsapp_app_secret"]
    right = hmac.new(secret.encode(), body, "sha256").hexdigest()
    replies = [
        send(server.url, "POST", "/webhooks/whatsapp", body, {"x-hub-signature-256": f"sha256={signature}"})
        for signature in (secret, right)
    ]
    assert [reply.status for reply in replies] == [401, 200], [reply.body for reply in replies]
    asked = f"hub.mode=subscribe&hub.challenge=1&hub.verify_token={SETTINGS['whatsapp_verify_token'][:-1]}"
    replies.append(send(server.url, "GET", f"/webhooks/whatsapp?{asked}"))
    assert eventually(lambda: "127.0.0.1:1" in server.log())  # the answer, or what is asked of the account, failed
    return [reply.body for reply in replies]


def found_in(data: bytes, secrets: dict[str, bytes]) -> set[str]:
    """Whole, or enough of it: of our keys the part that is not shown, of others the beginning."""
    return {n for n, s in secrets.items() if (s[11:30] if s.startswith(b"wl-") else s[:19]) in data}


def test_no_secret_is_in_an_answer_a_log_a_page_a_metric_or_a_file(used):
    server, secrets, heard = used
    leaks: dict[str, set[str]] = {}

    def search(where: str, data: bytes) -> None:
        if found := found_in(data, secrets):
            leaks[where] = found

    for number, body in enumerate(heard):
        search(f"answer {number}: {body[:200]!r}", body)
    headers = {"authorization": f"Bearer {server.key}"}
    pages = ["/", "/traces", "/releases", "/load-lines", "/keys", "/audit", "/login"]
    api = ["/api/status", "/api/apps", "/api/traces?limit=1000", "/api/keys", "/api/releases?app=planted1",
           "/api/audit/export", "/api/apps/planted1/rollout", "/metrics", "/readyz", "/healthz"]  # fmt: skip
    traces = [row["id"] for row in server.traces()]
    assert len(traces) > 40
    api += [f"/api/traces/{trace}" for trace in traces]
    pages += [f"/traces/{trace}" for trace in traces[:10]]
    for path in pages + api:
        for accept in ("text/html", "application/json"):
            reply = send(server.url, "GET", path, headers={**headers, "accept": accept})
            assert reply.status in (200, 303), (path, reply.status)
            search(f"{accept} of {path}", reply.body + repr(reply.headers).encode())
    assert server.stop() == 0
    search("stdout", server.child.stdout.read().encode())
    own = {"operator.key": {"operator's key"}}  # the file that is made to hold it, mode 0600
    for path in sorted(server.data.rglob("*")):
        if path.is_file():
            left = {n: s for n, s in secrets.items() if n not in own.get(path.name, set())}
            if found := found_in(path.read_bytes(), left):
                leaks[str(path.relative_to(server.data))] = found
            if path.name in own:
                assert path.stat().st_mode & 0o077 == 0
    for table, text in every_text(server.data / "waterline.db"):
        search(f"table {table}", text)
    assert leaks == {}
    files = {p.suffix for p in server.data.rglob("*") if p.is_file()}
    assert ".db" in files
    assert (server.data / "server.log").stat().st_size > 0


def every_text(database: Path) -> list[tuple[str, bytes]]:
    """Every value of every table; compressed bodies are opened."""
    import zstandard

    connection = sqlite3.connect(database)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = []
    opened = 0
    for table in tables:
        if table.startswith("traces_text") or "_fts" in table:
            continue
        for row in connection.execute(f'SELECT * FROM "{table}"'):
            for value in row:
                data = value if isinstance(value, bytes) else str(value).encode()
                if data[:4] == b"\x28\xb5\x2f\xfd":
                    data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
                    opened += 1
                found.append((table, data))
    connection.close()
    assert opened, "no compressed body was opened: has their form changed?"
    return found


def test_the_search_itself_finds_a_secret():
    secrets = {"provider": PROVIDER.encode(), "guess": GUESS.encode()}
    assert found_in(b"...Bearer " + PROVIDER.encode(), secrets) == {"provider"}
    assert found_in(b"...cut: " + PROVIDER[:31].encode(), secrets) == {"provider"}
    assert found_in(GUESS[11:].encode(), secrets) == {"guess"}
    assert found_in(b"wl-deadbeef...", secrets) == set()  # the part that is shown


def test_a_prompt_that_holds_a_key_is_the_users_own_and_is_not_rewritten(make_app, sim):
    """What a user typed goes to the provider as it is; what is kept of it is another matter."""
    sim.play(main=Target(answer=Answer(echo=True)))
    assert GUESS in make_app().chat(f"is {GUESS} a key?").text
