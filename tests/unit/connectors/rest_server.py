"""A small REST system over real HTTP: records, sign-in, idempotency keys; it can be made slow, broken or changed."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


SPEC: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Enrolment", "version": "1"},
    "servers": [{"url": "https://evil.example"}],
    "security": [{"token": []}],
    "paths": {
        "/leads": {
            "get": {
                "operationId": "findLeads",
                "parameters": [
                    {"name": "ref", "in": "query", "schema": {"type": "string"}},
                    {"name": "school", "in": "query", "schema": {"type": "string"}},
                    {"name": "grade", "in": "query", "schema": {"type": "array", "items": {"type": "integer"}}},
                ],
                "responses": {"200": _json(_ref("Leads"))},
            },
            "post": {
                "operationId": "createLead",
                "requestBody": {"$ref": "#/components/requestBodies/Lead"},
                "responses": {"201": _json(_ref("Lead"))},
            },
        },
        "/leads/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {
                "operationId": "getLead",
                "parameters": [{"name": "x-trace", "in": "header", "schema": {"type": "string"}}],
                "responses": {
                    "200": _json(_ref("Lead")),
                    "404": {"description": "no such lead"},
                },
            },
            "put": {
                "operationId": "putLead",
                "requestBody": {"$ref": "#/components/requestBodies/Lead"},
                "responses": {"200": _json(_ref("Lead"))},
            },
        },
    },
    "components": {
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        "requestBodies": {
            "Lead": {"required": True, **_json(_ref("Lead"))}
        },
        "schemas": {
            "Named": {
"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "maxLength": 80}},
},
            "Lead": {
                "allOf": [
                    _ref("Named"),
                    {
                        "type": "object",
                        "properties": {
                            "id": {"type": "string", "readOnly": True},
                            "ref": {"type": "string"},
                            "born": {"type": ["string", "null"], "format": "date"},
                            "siblings": {"type": "array", "items": _ref("Lead")},
                        },
                    },
                ]
            },
            "Leads": {
                "type": "object",
                "required": ["items"],
                "properties": {"items": {"type": "array", "items": _ref("Lead")}},
            },
        },
    },
}  # fmt: skip


class Rest:
    """`how` breaks it: slow, error, moved, renamed, dirty, garbage, html, huge; `after` a write: it happens, and the
    answer is lost."""

    def __init__(self) -> None:
        self.leads: list[dict[str, Any]] = []
        self.seen: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.how = ""
        self.signed_in = lambda headers, query: headers.get("authorization") == "Bearer right-token"
        self.lock = threading.Lock()
        self.begin()

    def begin(self, port: int = 0) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.handle(self)

            do_POST = do_PUT = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        headers = {k.lower(): v for k, v in request.headers.items()}
        parts = urlsplit(request.path)
        with self.lock:
            self.requests.append((request.command, request.path, headers, body))
            if self.how == "slow":
                time.sleep(1.5)
            status, answer, more = self.answer(request.command, parts.path, parse_qs(parts.query), headers, body)
        if self.how == "after" and request.command != "GET":
            self.how = ""
            request.connection.close()
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        try:
            request.send_response(status)
            for name, value in {"content-type": "application/json", "content-length": str(len(data)), **more}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(data)
        except OSError:
            pass  # the caller has left

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], headers: dict[str, str], body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        if not self.signed_in(headers, query):
            return 401, {"error": "who are you?"}, {}
        match self.how:
            case "error":
                return 503, {"error": "maintenance"}, {"retry-after": "7"}
            case "moved":
                return 302, b"", {"location": f"http://127.0.0.1:{self.port}/elsewhere"}
            case "garbage":
                return 200, b'{"items": [', {}
            case "html":
                return 200, b"<h1>Sign in</h1>", {"content-type": "text/html"}
            case "huge":
                return 200, b'"' + b"x" * (5 << 20) + b'"', {}
        if not path.startswith("/v1/leads"):
            return 404, {"error": "no such path"}, {}
        lead_id = unquote(path.removeprefix("/v1/leads").strip("/"))
        if method == "GET" and not lead_id:
            items = [x for x in self.leads if not query.get("ref") or x.get("ref") == query["ref"][0]]
            return 200, {"elements" if self.how == "renamed" else "items": [self.shown(x) for x in items]}, {}
        if method == "GET":
            found = next((x for x in self.leads if x["id"] == lead_id), None)
            return (200, self.shown(found), {}) if found else (404, {"error": "no such lead"}, {})
        key = headers.get("idempotency-key") or (lead_id if method == "PUT" else "")
        if key and key in self.seen:
            return 201, self.shown(self.seen[key]), {}
        made = {**json.loads(body), "id": lead_id or f"l{len(self.leads)}"}
        if made["name"] == "Nobody":
            return 422, {"error": "no such person"}, {}
        self.leads.append(made)
        if key:
            self.seen[key] = made
        return 201, self.shown(made), {}

    def shown(self, lead: dict[str, Any]) -> dict[str, Any]:
        if self.how == "renamed":
            return {"full_name" if k == "name" else k: v for k, v in lead.items()}
        return {**lead, "born": "2019-02-31"} if self.how == "dirty" else lead
