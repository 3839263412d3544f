"""The control plane over HTTP: `/api/...`, JSON in and out. Thin: what may be done and by whom is in `control/`."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waterline.access.audit import SealedEntry
from waterline.access.roles import Principal
from waterline.api.behaviour import behaviour_routes
from waterline.api.canaries import canary_routes
from waterline.api.cases import case_routes
from waterline.api.conversations import conversation_routes
from waterline.api.gates import gate_routes
from waterline.api.judges import judge_routes
from waterline.api.sink import error_body
from waterline.control.experiments import ExperimentBody, ItemsBody
from waterline.control.plane import LoadLineBody, Plane
from waterline.core.app_spec import Spending
from waterline.core.errors import InvalidRequest, Refused, RequestError
from waterline.store.experiments import ItemFilter
from waterline.store.traces import TraceFilter

MAX_BODY_BYTES = 16 << 20
Answer = Callable[[Principal, Request], Awaitable[Any]]
_encode = msgspec.json.Encoder().encode


class ReleaseBody(msgspec.Struct, forbid_unknown_fields=True):
    manifest: str
    spec: str
    message: str = ""


class RecordBody(msgspec.Struct, forbid_unknown_fields=True):
    spec: str
    reason: str = ""


class MoveBody(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    env: str = "production"
    release: str = ""
    weight: str = "100%"
    reason: str = ""
    session: str = ""
    evidence: str = ""
    override: str = ""


class KeyBody(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    name: str
    app: str = ""
    env: str = "production"
    role: str = ""
    hours: int = 0
    assert_identity: bool = False
    branch: str = ""
    nano_usd_per_day: int | None = None
    nano_usd_per_month: int | None = None
    priority: str = ""
    person: str = ""


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True):
    release: str = ""


class InvoiceBody(msgspec.Struct, forbid_unknown_fields=True):
    """`invoice`: the CSV as text. Days as YYYY-MM-DD; without them, those of the invoice."""

    invoice: str
    app: str = ""
    provider: str = ""
    month: str = ""
    since: str = ""
    until: str = ""


def control_routes(plane: Plane, authenticate: Callable[[Any, str], Principal]) -> list[Route]:
    """Every route of the control plane. A principal is found first; the plane checks its right."""

    def route(path: str, answer: Answer, *methods: str, status: int = 200) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                address = request.client.host if request.client else ""
                who = authenticate(request.scope["headers"], address)
                return _respond(await answer(who, request), status)
            except RequestError as error:
                later = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else None
                return Response(error_body(error), error.status, later, media_type="application/json")
            except Refused as error:
                refused = InvalidRequest(str(error), status=error.status)
                return Response(error_body(refused), error.status, media_type="application/json")

        return Route(f"/api{path}", endpoint, methods=list(methods or ("GET",)))

    async def traces(who: Principal, r: Request) -> Any:
        q = r.query_params
        where = TraceFilter(
            app=q.get("app") or None,
            env=q.get("env") or None,
            release=q.get("release") or None,
            outcome=q.get("outcome") or None,
            route=q.get("route") or None,
            model=q.get("model") or None,
            purpose=q.get("purpose") or None,
            session=q.get("session") or None,
            code=q.get("code") or None,
            since_us=_whole(q.get("since"), "since"),
            until_us=_whole(q.get("until"), "until"),
            text=q.get("q") or None,
        )
        limit = _whole(q.get("limit"), "limit") or 50
        return await plane.traces(who, where, q.get("before", ""), limit, count=q.get("count") == "1")

    async def trace(who: Principal, r: Request) -> Any:
        return await plane.trace(who, r.path_params["trace"])

    async def replay(who: Principal, r: Request) -> Any:
        body = await _body(r, ReplayBody)
        return await plane.replay(who, r.path_params["trace"], body.release)

    async def overview(who: Principal, r: Request) -> Any:
        q = r.query_params
        until = _whole(q.get("until"), "until")
        since = _whole(q.get("since"), "since")
        if until is None or since is None:
            raise Refused("Give since and until, in Unix microseconds.", 400)
        step = _whole(q.get("step"), "step") or max(1, (until - since) // 60)
        return await plane.overview(who, q.get("app") or None, since, until, step)

    async def cost(who: Principal, r: Request) -> Any:
        q = r.query_params
        return await plane.money.by_route(who, q.get("app") or None, _whole(q.get("since"), "since"))

    async def cost_report(who: Principal, r: Request) -> Any:
        q = r.query_params
        days = (q.get("month", ""), q.get("from", ""), q.get("to", ""))
        return await plane.money.report(who, q.get("app") or None, q.get("by") or "model", *days)

    async def cost_reconciliation(who: Principal, r: Request) -> Any:
        b = await _body(r, InvoiceBody)
        return await plane.money.reconciliation(who, b.app or None, b.invoice, b.provider, b.month, b.since, b.until)

    async def cost_forecast(who: Principal, r: Request) -> Any:
        return await plane.money.forecast(who, r.query_params.get("app", ""))

    async def add_release(who: Principal, r: Request) -> Any:
        body = await _body(r, ReleaseBody)
        return await plane.add_release(who, body.manifest.encode(), body.spec.encode(), body.message)

    async def release(who: Principal, r: Request) -> Any:
        view, parsed, _ = await plane.release(who, r.path_params["release"])
        return {"release": view, "manifest": parsed}

    async def stored(who: Principal, r: Request) -> Any:
        manifest, spec = await plane.stored(who, r.path_params["release"])
        return {"manifest": manifest.decode(), "spec": spec.decode()}

    async def diff(who: Principal, r: Request) -> Any:
        return await plane.diff(who, r.path_params["a"], r.path_params["b"])

    async def rollout(who: Principal, r: Request) -> Any:
        return await plane.rollout(who, r.path_params["app"], r.query_params.get("env", "production"))

    async def move(who: Principal, r: Request) -> Any:
        app, body = r.path_params["app"], await _body(r, MoveBody)
        match body.kind:
            case "promote":
                return await plane.promote(
                    who, app, body.release, body.env, body.weight, body.reason, body.evidence, body.override
                )
            case "rollback":
                return await plane.rollback(who, app, body.release, body.env, body.reason)
            case "pin" | "unpin":
                wanted = body.release if body.kind == "pin" else ""
                return await plane.pin(who, app, wanted, body.env, body.session, body.reason)
            case _:
                raise Refused(f'"{body.kind[:40]}" is no move. It is promote, rollback, pin or unpin.', 400)

    async def put_into_force(who: Principal, r: Request) -> Any:
        body = await _body(r, RecordBody)
        return await plane.put_into_force(who, body.spec.encode(), body.reason)

    async def add_key(who: Principal, r: Request) -> Any:
        b = await _body(r, KeyBody)
        budget = Spending(b.nano_usd_per_day, b.nano_usd_per_month)
        return await plane.create_key(
            who, b.kind, b.name, b.app, b.env, b.role, b.hours, b.assert_identity, b.branch, budget,
            b.priority, b.person,
        )  # fmt: skip

    async def revoke_key(who: Principal, r: Request) -> Any:
        return await plane.revoke_key(who, r.path_params["key"], r.query_params.get("reason", ""))

    async def audit(who: Principal, r: Request) -> Any:
        limit = min(_whole(r.query_params.get("limit"), "limit") or 100, 1000)
        before = _whole(r.query_params.get("before"), "before")
        return [_flat(e) for e in await plane.audit_entries(who, limit, before)]

    async def audit_export(who: Principal, r: Request) -> Any:
        return Response(await plane.audit_export(who), media_type="application/x-ndjson")

    async def checkpoint(who: Principal, r: Request) -> Any:
        return {"checkpoint": await plane.audit_checkpoint(who)}

    async def add_load_line(who: Principal, r: Request) -> Any:
        return await plane.add_load_line(who, await _body(r, LoadLineBody))

    async def load_line(who: Principal, r: Request) -> Any:
        line = await plane.load_line(who, r.path_params["line"])
        return Response(line.json, media_type="application/json")

    async def experiments(who: Principal, r: Request) -> Any:
        q = r.query_params
        limit = min(_whole(q.get("limit"), "limit") or 50, 200)
        return await plane.experiments.list_of(
            who, q.get("app") or None, q.get("release") or None, q.get("before") or "", limit
        )

    async def channel_fees(who: Principal, r: Request) -> Any:
        return await plane.money.channel_fees(who, r.query_params.get("app") or "", r.query_params.get("month") or "")

    async def add_experiment(who: Principal, r: Request) -> Any:
        return await plane.experiments.add(who, await _body(r, ExperimentBody))

    async def experiment_items(who: Principal, r: Request) -> Any:
        q = r.query_params
        passed = _whole(q.get("passed"), "passed")
        where = ItemFilter(change=q.get("change") or "", passed=passed, tag=q.get("tag") or "")
        after, limit = _whole(q.get("after"), "after") or 0, min(_whole(q.get("limit"), "limit") or 50, 200)
        return await plane.experiments.items(who, r.path_params["experiment"], where, after, limit)

    async def add_experiment_items(who: Principal, r: Request) -> Any:
        said = await _body(r, ItemsBody)
        return {"kept": await plane.experiments.add_items(who, r.path_params["experiment"], said.items)}

    return [
        route("/status", lambda who, r: plane.status(who)),
        route("/apps", lambda who, r: plane.apps(who)),
        route("/apps/{app}/spec", lambda who, r: plane.spec(who, r.path_params["app"])),
        route("/environment-records", put_into_force, "POST", status=201),
        route("/apps/{app}/rollout", rollout),
        route("/apps/{app}/moves", move, "POST", status=201),
        route("/overview", overview),
        route("/providers", lambda who, r: plane.providers(who, r.query_params.get("app") or None)),
        route("/channels", lambda who, r: plane.channels(who, r.query_params.get("app") or "")),
        route("/channel-fees", channel_fees),
        route("/cost", cost),
        route("/cost/report", cost_report),
        route("/cost/reconciliation", cost_reconciliation, "POST"),
        route("/cost/forecast", cost_forecast),
        route("/budgets", lambda who, r: plane.money.budgets(who, r.query_params.get("app") or None)),
        route("/traces", traces),
        route("/traces/{trace}", trace),
        route("/traces/{trace}/replay", replay, "POST"),
        route("/releases", lambda who, r: plane.releases(who, r.query_params.get("app") or None)),
        route("/releases", add_release, "POST", status=201),
        route("/releases/{release}", release),
        route("/releases/{release}/stored", stored),
        route("/releases/{a}/diff/{b}", diff),
        route("/keys", lambda who, r: plane.key_list(who)),
        route("/keys", add_key, "POST", status=201),
        route("/keys/{key}/revocation", revoke_key, "POST"),
        route("/audit", audit),
        route("/audit/export", audit_export),
        route("/audit/checkpoint", checkpoint),
        route("/load-lines", lambda who, r: plane.load_line_list(who, r.query_params.get("app") or None)),
        route("/load-lines", add_load_line, "POST", status=201),
        route("/load-lines/{line}", load_line),
        route("/experiments", experiments),
        route("/experiments", add_experiment, "POST", status=201),
        route("/experiments/{experiment}", lambda who, r: plane.experiments.view(who, r.path_params["experiment"])),
        route("/experiments/{experiment}/items", experiment_items),
        route("/experiments/{experiment}/items", add_experiment_items, "POST", status=201),
        *canary_routes(plane, route, _whole, _body),
        *behaviour_routes(plane, route, _whole),
        *judge_routes(plane, route, _whole, _body),
        *conversation_routes(plane, route, _whole, _body),
        *case_routes(plane, route, _whole, _body),
        *gate_routes(plane, route, _whole, _body),
    ]


def _respond(value: Any, status: int) -> Response:
    if isinstance(value, Response):
        return value
    return Response(_encode(value), status, media_type="application/json")


async def _body(request: Request, kind: Any) -> Any:
    """Decoded strictly, within a bound. Raises Refused."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Refused(f"The body is larger than {MAX_BODY_BYTES:,} bytes.", 413)
        parts.append(part)
    data = b"".join(parts) or b"{}"
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"The body does not fit: {error}.", 400) from None


def _whole(text: str | None, name: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Refused(f"{name} is a whole number, not {text[:40]!r}.", 400)
    return int(text)


def _flat(sealed: SealedEntry) -> dict[str, Any]:
    return {**msgspec.structs.asdict(sealed.entry), "hash": sealed.hash}
