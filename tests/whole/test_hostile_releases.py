"""Releases and environment records that cannot be served are refused when they are built; none of them reads a secret
of the server, or stops its next start."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest
from whole_app import App, Release, Reply, Route, Server, send

from waterline.core.app_spec import AppSpec, encode_spec
from waterline.core.release import encode_release
from waterline.providers.simulated_script import Answer, Target

GOOD = Target(answer=Answer(text="ok"))


def tell(server: Server, path: str, body: Any, key: str = "") -> Reply:
    """POST, whatever comes of it."""
    return send(server.url, "POST", path, json.dumps(body).encode(), {"authorization": f"Bearer {key or server.key}"})


def built(release: Release, **spec: Any) -> dict[str, str]:
    record = encode_spec(AppSpec(name=release.app)).decode() if not spec else json.dumps({"name": release.app, **spec})
    return {"manifest": encode_release(release).decode(), "spec": record}


def test_a_time_zone_that_is_none_is_refused_and_does_not_stop_the_next_start(tmp_path, sim):
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    app = App(server, "a", {"main": Route(provider="simulated", model="small")})
    changed = msgspec.structs.replace(app.release, purpose="on Mars")
    refused = tell(server, "/api/releases", built(changed, limits={"timezone": "Mars/Phobos"}))
    assert refused.status == 400
    assert "Mars/Phobos" in refused.json["error"]["message"]
    assert server.stop() == 0
    server.start()
    assert app.chat().status == 200
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("route", "names"),
    [
        ({"fallbacks": ("nowhere",)}, "nowhere"),
        ({"prompt": "missing"}, "missing"),
        ({"base_url": "not a url"}, "not a url"),
    ],
)
def test_a_manifest_that_cannot_be_served_is_refused_and_names_why(server, route, names):
    release = Release(app="unservable", routes={"main": Route(provider="openai", model="m", **route)})
    refused = tell(server, "/api/releases", built(release))
    assert refused.status == 400
    assert names in refused.json["error"]["message"]
    assert "unservable" not in server.ask("GET", "/api/status")["apps"]


def test_what_was_built_before_a_restart_can_be_promoted_after_it(tmp_path, sim):
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    release = Release(app="a", routes={"main": Route(provider="simulated", model="m")})
    made = tell(server, "/api/releases", built(release)).json["id"]
    assert server.stop() == 0
    server.start()
    moved = tell(server, "/api/apps/a/moves", {"kind": "promote", "release": made})
    assert moved.status == 201, moved.body
    assert server.stop() == 0


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str | None]]]:
    """Somebody's server, and the credentials that it was sent."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers.get("authorization"))
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(500)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", seen
        http.shutdown()
        thread.join()


def test_a_replay_sends_no_secret_of_the_server_to_an_address_of_the_developers_choice(tmp_path, sim, listener):
    address, seen = listener
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", DATABASE_PASSWORD="hunter2", ANOTHER_API_KEY="hunter3")
    try:
        routes = {"main": Route(provider="openai", model="gpt-4o-mini", base_url=f"{sim.address}/main/v1")}
        app = App(server, "a", routes)
        trace = app.chat().trace
        developer = server.ask("POST", "/api/keys", {"kind": "person", "name": "dev", "role": "developer"})["key"]
        curious = Route(
            provider="openai", model="gpt-4o-mini", reproducible=True, base_url=address,
            api_key_env="DATABASE_PASSWORD",
        )  # fmt: skip
        body = built(Release(app="a", routes={"main": curious}))
        refused = tell(server, "/api/releases", body, developer)
        assert (refused.status, "DATABASE_PASSWORD" in refused.body.decode()) == (400, True)
        usual = msgspec.structs.replace(curious, api_key_env="ANOTHER_API_KEY")
        made = tell(server, "/api/releases", built(Release(app="a", routes={"main": usual})), developer).json["id"]
        replayed = tell(server, f"/api/traces/{trace}/replay", {"release": made}, developer)
        assert replayed.status < 300, replayed.body
        assert "only under the trace's own release" in replayed.json["answer"]
        assert tell(server, "/api/apps/a/moves", {"kind": "promote", "release": made}, developer).status == 403
        assert seen == []
    finally:
        server.stop()
