"""The whole matrix: every API route and the data plane, for every role, against what is declared."""

import json
import sys

import pytest
from whole_app import App, Route, Server, send

from waterline.__main__ import main
from waterline.access.roles import MATRIX, Action, Role
from waterline.providers.simulated_script import Target

A = Action
# method, path, body, the right it needs. A route that is not here fails the test below.
ROUTES = [
    ("GET", "/api/status", None, A.OVERVIEW_READ),
    ("GET", "/api/apps", None, A.APP_LIST),
    ("GET", "/api/apps/{app}/spec", None, A.SPEC_READ),
    ("GET", "/api/apps/{app}/rollout", None, A.ROLLOUT_READ),
    ("POST", "/api/apps/{app}/moves", {"kind": "promote", "release": "{release}"}, A.ROLLOUT_PROMOTE),
    ("POST", "/api/apps/{app}/moves", {"kind": "rollback"}, A.ROLLOUT_ROLLBACK),
    ("POST", "/api/apps/{app}/moves", {"kind": "pin", "session": "s", "release": "{release}"}, A.ROLLOUT_PIN),
    ("POST", "/api/environment-records", {"spec": "{}"}, A.LIMITS_WRITE),
    ("GET", "/api/overview?since=0&until=60&step=60", None, A.OVERVIEW_READ),
    ("GET", "/api/providers", None, A.OVERVIEW_READ),
    ("GET", "/api/channels?app={app}", None, A.OVERVIEW_READ),
    ("GET", "/api/channel-fees?app={app}", None, A.OVERVIEW_READ),
    ("GET", "/api/cost", None, A.OVERVIEW_READ),
    ("GET", "/api/cost/report?app={app}", None, A.OVERVIEW_READ),
    ("POST", "/api/cost/reconciliation", {"invoice": "day,model,usd\n2026-11-01,m,1\n"}, A.OVERVIEW_READ),
    ("GET", "/api/cost/forecast?app={app}", None, A.OVERVIEW_READ),
    ("GET", "/api/budgets", None, A.OVERVIEW_READ),
    ("GET", "/api/traces", None, A.TRACES_READ),
    ("GET", "/api/traces?q=word", None, A.BODIES_READ),
    ("GET", "/api/traces/{trace}", None, A.TRACES_READ),
    ("POST", "/api/traces/{trace}/replay", {}, A.TRACE_REPLAY),
    ("GET", "/api/releases", None, A.ROLLOUT_READ),
    ("POST", "/api/releases", {"manifest": "{}", "spec": "{}"}, A.RELEASE_BUILD),
    ("GET", "/api/releases/{release}", None, A.RELEASE_READ),
    ("GET", "/api/releases/{release}/stored", None, A.RELEASE_READ),
    ("GET", "/api/releases/{release}/diff/{release}", None, A.RELEASE_READ),
    ("GET", "/api/keys", None, A.KEY_READ),
    ("POST", "/api/keys", {"kind": "app", "app": "{app}", "name": "x"}, A.KEY_CREATE_APP),
    ("POST", "/api/keys", {"kind": "app", "app": "{app}", "name": "x", "assert_identity": True}, A.KEY_ASSERT_IDENTITY),
    ("POST", "/api/keys", {"kind": "person", "role": "viewer", "name": "x"}, A.KEY_CREATE_PERSON),
    ("POST", "/api/keys/wl-00000000/revocation", None, A.KEY_REVOKE),
    ("GET", "/api/apps/{app}/people", None, A.KEY_READ),
    ("POST", "/api/apps/{app}/people", {"plan": "x"}, A.KEY_CREATE_PERSON),
    ("GET", "/api/audit", None, A.AUDIT_READ),
    ("GET", "/api/audit/export", None, A.AUDIT_READ),
    ("GET", "/api/audit/checkpoint", None, A.AUDIT_READ),
    ("GET", "/api/load-lines", None, A.LOAD_LINE_READ),
    ("POST", "/api/load-lines", {"app": "{app}", "release": "{release}", "exit_status": 2, "json": "{}", "html": ""},
     A.LOAD_LINE_WRITE),
    ("GET", "/api/load-lines/nothing", None, A.LOAD_LINE_READ),
    ("GET", "/api/experiments", None, A.EXPERIMENT_READ),
    ("POST", "/api/experiments", {"id": "nothing", "result": "{}"}, A.EXPERIMENT_WRITE),
    ("GET", "/api/experiments/nothing", None, A.EXPERIMENT_READ),
    ("GET", "/api/experiments/nothing/items", None, A.BODIES_READ),
    ("POST", "/api/experiments/nothing/items", {"items": []}, A.EXPERIMENT_WRITE),
    ("GET", "/api/apps/{app}/case-sets", None, A.CASE_LIST),
    ("GET", "/api/apps/{app}/case-sets/nothing", None, A.CASE_LIST),
    ("GET", "/api/apps/{app}/case-sets/nothing/cases", None, A.CASE_READ),
    ("GET", "/api/apps/{app}/case-sets/nothing/cases/nothing", None, A.CASE_READ),
    ("GET", "/api/apps/{app}/case-sets/nothing/diff/nothing/nothing", None, A.CASE_LIST),
    ("POST", "/api/apps/{app}/case-sets/nothing/versions", {}, A.CASE_REVIEW),
    ("GET", "/api/apps/{app}/case-sets/nothing/coverage", None, A.CASE_READ),
    ("POST", "/api/apps/{app}/case-sets/nothing/coverage", {}, A.CASE_READ),
    ("POST", "/api/subjects/erasure", {"subject": "nobody"}, A.SUBJECT_ERASE),
    ("POST", "/api/subjects/export", {"subject": "nobody"}, A.SUBJECT_EXPORT),
    ("POST", "/api/apps/{app}/harvest", {"by": []}, A.CASE_REVIEW),
    ("GET", "/api/candidates", None, A.CASE_READ),
    ("GET", "/api/candidates/nothing", None, A.CASE_READ),
    ("POST", "/api/candidates/nothing/claim", None, A.CASE_REVIEW),
    ("POST", "/api/candidates/nothing/decision", {"decision": "skip", "revision": 1}, A.CASE_REVIEW),
    ("GET", "/api/apps/{app}/judges", None, A.JUDGE_READ),
    ("GET", "/api/apps/{app}/judges/nothing", None, A.JUDGE_READ),
    ("GET", "/api/apps/{app}/judges/nothing/items", None, A.JUDGE_LABEL),
    ("GET", "/api/apps/{app}/judges/nothing/next", None, A.JUDGE_LABEL),
    ("POST", "/api/apps/{app}/judges/nothing/items", {"items": []}, A.JUDGE_LABEL),
    ("POST", "/api/apps/{app}/judges/nothing/samples", {}, A.JUDGE_LABEL),
    ("POST", "/api/apps/{app}/judges/nothing/labels", {"item": "x", "label": "pass"}, A.JUDGE_LABEL),
    ("POST", "/api/apps/{app}/judges/nothing/runs", {}, A.JUDGE_CALIBRATE),
    ("POST", "/api/apps/{app}/judges/nothing/calibrations", None, A.JUDGE_CALIBRATE),
    ("POST", "/api/apps/{app}/judges/nothing/comparisons", {"experiment": "x"}, A.JUDGE_CALIBRATE),
    ("GET", "/api/canaries", None, A.ROLLOUT_READ),
    ("POST", "/api/canaries", {"app": "{app}", "release": "{release}"}, A.ROLLOUT_PROMOTE),
    ("GET", "/api/canaries/nothing", None, A.ROLLOUT_READ),
    ("POST", "/api/canaries/nothing/end", {}, A.ROLLOUT_ROLLBACK),
    ("GET", "/api/apps/{app}/canary", None, A.ROLLOUT_READ),
    ("GET", "/api/shadows", None, A.ROLLOUT_READ),
    ("POST", "/api/shadows", {"app": "{app}", "release": "{release}"}, A.ROLLOUT_PROMOTE),
    ("GET", "/api/shadows/nothing", None, A.ROLLOUT_READ),
    ("POST", "/api/shadows/nothing/end", {}, A.ROLLOUT_ROLLBACK),
    ("GET", "/api/apps/{app}/shadow", None, A.ROLLOUT_READ),
    ("GET", "/api/apps/{app}/recorded-sessions", None, A.ROLLOUT_READ),
    ("GET", "/api/behaviour?app={app}", None, A.OVERVIEW_READ),
    ("GET", "/api/sessions/off-rails?app={app}", None, A.TRACES_READ),
    ("GET", "/api/conversations", None, A.CONVERSATION_LIST),
    ("GET", "/api/conversations/nothing", None, A.CONVERSATION_LIST),
    ("POST", "/api/conversations/nothing/takeover", None, A.CONVERSATION_TAKE),
    ("POST", "/api/conversations/nothing/replies", {"text": "hello", "key": "k"}, A.CONVERSATION_TAKE),
    ("POST", "/api/conversations/nothing/resumption", None, A.CONVERSATION_TAKE),
    ("GET", "/api/handoffs", None, A.CONVERSATION_LIST),
    ("GET", "/api/funnel", None, A.CONVERSATION_LIST),
    ("GET", "/api/acts", None, A.CONVERSATION_LIST),
    ("GET", "/api/apps/{app}/gates?release={release}&env=production", None, A.ROLLOUT_READ),
    ("POST", "/api/apps/{app}/moves", {"kind": "promote", "release": "{release}", "override": "x"}, A.GATE_OVERRIDE),
    ("POST", "/api/apps/{app}/approvals", {"release": "{release}", "shown": "x"}, A.ROLLOUT_APPROVE),
    ("POST", "/api/apps/{app}/approvals/withdrawal", {"release": "{release}"}, A.ROLLOUT_APPROVE),
    ("GET", "/api/releases/{release}/gates", None, A.ROLLOUT_READ),
    ("GET", "/api/incidents", None, A.INCIDENT_READ),
    ("POST", "/api/incidents", {"app": "{app}", "title": ""}, A.INCIDENT_OPEN),
    ("GET", "/api/incidents/nothing", None, A.INCIDENT_READ),
    ("POST", "/api/incidents/nothing/closure", {"resolution": "x"}, A.INCIDENT_CLOSE),
    ("GET", "/metrics", None, A.METRICS_READ),
    ("GET", "/v1/models", None, A.DATA_CALL),
    ("POST", "/v1/chat/completions", {"model": "main", "messages": [{"role": "user", "content": "x"}]}, A.DATA_CALL),
    ("POST", "/v1/responses", {"model": "main", "input": "x"}, A.DATA_CALL),
    ("GET", "/v1/responses/resp_{trace}", None, A.DATA_CALL),
    ("GET", "/v1/responses/resp_{trace}/input_items", None, A.DATA_CALL),
    ("DELETE", "/v1/responses/resp_{trace}", None, A.DATA_CALL),
    ("POST", "/v1/embeddings", {"model": "main", "input": "x"}, A.DATA_CALL),
    ("POST", "/v1/messages", {"model": "main", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
     A.DATA_CALL),
    ("POST", "/v1/messages/count_tokens", {}, A.DATA_CALL),
    ("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, A.TOOLS_CALL),
    ("POST", "/v1/feedback", {"trace": "{trace}", "kind": "accepted"}, A.DATA_FEEDBACK),
    ("POST", "/v1/feedback/tokens", {"traces": ["{trace}"]}, A.DATA_FEEDBACK),
]  # fmt: skip


@pytest.fixture(scope="module")
def world(sim, tmp_path_factory):
    sim.play(main=Target())
    server = Server(tmp_path_factory.mktemp("roles") / "d", f"{sim.address}/{{route}}")
    app = App(server, "matrix", {"main": Route(provider="simulated", model="small")})
    names = {"app": "matrix", "release": app.id, "trace": app.chat().trace}
    keys = {Role.APP: app.key, Role.OWNER: server.key}
    for role in (Role.DEVELOPER, Role.OPERATOR, Role.VIEWER, Role.DESK):
        made = server.ask("POST", "/api/keys", {"kind": "person", "role": role.value, "name": f"a {role}"})
        keys[role] = made["key"]
    yield server, names, keys
    server.stop()


def filled(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("method", "path", "body", "action"), ROUTES, ids=[f"{m} {p} {a}" for m, p, _, a in ROUTES])
def test_the_matrix_is_what_the_server_does(world, role, method, path, body, action):
    server, names, keys = world
    data = filled(json.dumps(body), names).encode() if body is not None else None
    reply = send(server.url, method, filled(path, names), data, {"authorization": f"Bearer {keys[role]}"})
    if role in MATRIX[action].roles:
        assert reply.status not in (401, 403), reply.body
    else:
        assert reply.status == 403, (role, reply.status, reply.body)
        assert reply.code == "permission_denied"
        assert "may not do" in reply.json["error"]["message"] or role is Role.APP


def test_nothing_is_reachable_without_a_key(world):
    server, names, _ = world
    for method, path, _, _ in ROUTES:
        assert send(server.url, method, filled(path, names), b"{}").status == 401, path


def test_no_route_of_the_api_is_missing_from_the_matrix():
    from waterline.api.control import control_routes

    def shape(path: str) -> str:
        return "/".join("*" if p.startswith("{") or p in ("wl-00000000", "nothing") else p for p in path.split("/"))

    listed = {(m, shape(p.partition("?")[0])) for m, p, _, _ in ROUTES}
    for route in control_routes(None, None):  # type: ignore[arg-type]
        for method in route.methods - {"HEAD"}:
            assert (method, shape(route.path)) in listed, f"{method} {route.path} is not in the matrix"


def test_bodies_are_hidden_from_who_may_not_read_them(world):
    server, names, keys = world
    seen = server.ask("GET", f"/api/traces/{names['trace']}", key=keys[Role.VIEWER])
    assert seen["bodies_hidden"]
    assert seen["request"] is None
    assert server.ask("GET", f"/api/traces/{names['trace']}", key=keys[Role.DEVELOPER])["request"]


@pytest.mark.parametrize(
    ("command", "action"),
    [
        (["promote", "matrix", "{release}", "--to", "production"], A.ROLLOUT_PROMOTE),
        (["rollback", "matrix"], A.ROLLOUT_ROLLBACK),
        (["canary", "start", "matrix", "{release}"], A.ROLLOUT_PROMOTE),
        (["release", "list", "matrix"], A.ROLLOUT_READ),
        (["release", "show", "{release}"], A.RELEASE_READ),
        (["traces", "list"], A.TRACES_READ),
        (["replay", "{trace}"], A.TRACE_REPLAY),
        (["key", "list"], A.KEY_READ),
        (["key", "create", "--role", "viewer", "--name", "x"], A.KEY_CREATE_PERSON),
        (["audit", "show"], A.AUDIT_READ),
        (["cost", "report"], A.OVERVIEW_READ),
        (["cost", "forecast", "matrix"], A.OVERVIEW_READ),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else str(v),
)
@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER, Role.OPERATOR, Role.DESK])
def test_every_command_is_held_to_the_matrix(world, command, action, role, monkeypatch, capsys):
    server, names, keys = world
    monkeypatch.setenv("WATERLINE_URL", server.url)
    monkeypatch.setenv("WATERLINE_KEY", keys[role])
    monkeypatch.setattr(sys, "argv", ["waterline", *(filled(w, names) for w in command)])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    denied = action.value in said and role.value in said
    assert denied == (role not in MATRIX[action].roles), said
