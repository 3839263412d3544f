"""The simulated Cloud API on a socket: `waterline simulate whatsapp`.

/vNN.N/<number>/messages, /media, /vNN.N/<account>/message_templates, /phone_numbers ...   as Meta's OpenAPI says
/  and /phone/<wa_id>?number=<id>    telephones, to chat by hand
/sim/...                             for tests: write as a user, read a telephone, move the clock, change ratings
"""

import asyncio
import contextlib
import email
import email.policy
import hashlib
import hmac
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from waterline.channels.simulated import phone
from waterline.channels.simulated.bubbles import GraphError
from waterline.channels.simulated.cloud import Cloud, Hook
from waterline.channels.simulated.script import Script, TemplateScript, parse_script, read_script
from waterline.core.errors import WaterlineError
from waterline.providers.simulated_voice import voice_note
from waterline.providers.upstream import Origin, Pool, UpstreamError

IDLE_S = 0.02


class Clock:
    """Simulated Unix time in seconds: it may be quicker, and it may jump."""

    def __init__(self, script: Script, real: Callable[[], float] = time.time) -> None:
        self.real = real
        self.speed = script.speed
        self._at = datetime.fromisoformat(script.start).timestamp() if script.start else real()
        self._since = real()

    def __call__(self) -> float:
        return self._at + (self.real() - self._since) * self.speed

    def jump(self, seconds: float) -> None:
        self._at += seconds


class Simulator:
    def __init__(self, script: Script) -> None:
        self.clock = Clock(script)
        self.cloud = Cloud(script, self.clock)
        self.delivered = 0
        self.refused = 0
        self.requests: list[dict[str, Any]] = []  # the last sends, as they came
        self._pools: dict[Origin, Pool] = {}

    # --- web hooks -----------------------------------------------------------------------------------------------

    async def deliver_for_ever(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        while True:
            for batch in self._batches(self.cloud.due()):
                task = asyncio.create_task(self._deliver(batch))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                while len(under_way) > 32:
                    await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(IDLE_S)

    def _batches(self, hooks: list[Hook]) -> list[list[Hook]]:
        most = max(1, self.cloud.script.deliveries.batch)
        return [hooks[i : i + most] for i in range(0, len(hooks), most)]

    async def _deliver(self, batch: list[Hook]) -> None:
        status = await self.post(hook_body(batch))
        if status == 200:
            self.delivered += len(batch)
            return
        self.refused += len(batch)
        for hook in batch:
            self.cloud.again(hook)

    async def post(self, body: bytes, secret: str | None = None) -> int:
        """One POST to the web hook; its status, 0 if there was none."""
        script = self.cloud.script
        if not script.webhook:
            return 0
        origin = Origin.from_url(script.webhook)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, max_conns=64)
        signature = hmac.new((secret or script.app_secret).encode(), body, hashlib.sha256).hexdigest()
        headers = [
            (b"content-type", b"application/json"),
            (b"x-hub-signature-256", b"sha256=" + signature.encode()),
        ]
        try:
            head = pool.head("POST", origin.base_path or "/", headers)
            response = await pool.send(head, body, first_byte=20, idle=20, total=30)
            await response.read(1 << 20)
        except UpstreamError:
            return 0
        return response.status

    # --- the Graph API -------------------------------------------------------------------------------------------

    async def messages(self, request: Request) -> Response:
        number = request.path_params["node"]
        told = await _json(request)
        self.requests.append({"number": number, "body": told})
        del self.requests[:-5000]
        lost = self.cloud.lost(number)
        if lost == "request":
            return _broken()
        answer = self.cloud.send(number, told)
        return _broken() if lost else JSONResponse(answer)

    async def media(self, request: Request) -> Response:
        body, kind = await request.body(), request.headers.get("content-type", "")
        form = email.message_from_bytes(
            b"content-type: " + kind.encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP
        )
        for part in form.walk():
            if part.get_param("name", header="content-disposition") == "file":
                data = part.get_payload(decode=True)
                return JSONResponse({"id": self.cloud.keep(bytes(data), part.get_content_type())})
        raise GraphError(100, "no file")

    async def node(self, request: Request) -> Response:
        """A number, a file, a template, by its id."""
        node, cloud = request.path_params["node"], self.cloud
        if node in cloud.numbers:
            return JSONResponse(_number(cloud, node))
        if node in cloud.files:
            if request.method == "DELETE":
                del cloud.files[node]
                return JSONResponse({"success": True})
            data, mime = cloud.files[node]
            url = str(request.base_url).rstrip("/") + f"/media-files/{node}"
            return JSONResponse({"id": node, "url": url, "mime_type": mime, "file_size": str(len(data)),
                                 "sha256": hashlib.sha256(data).hexdigest(),
                                 "messaging_product": "whatsapp"})  # fmt: skip
        for template in cloud.templates.values():
            if template.id == node:
                return JSONResponse(_template(template))
        raise GraphError(100, f"Object with ID '{node}' does not exist")

    async def phone_numbers(self, request: Request) -> Response:
        return JSONResponse({"data": [_number(self.cloud, n) for n in self.cloud.numbers]})

    async def templates(self, request: Request) -> Response:
        cloud = self.cloud
        if request.method == "POST":
            told = await _json(request)
            texts = [c.get("text", "") for c in told.get("components", []) if str(c.get("type")).upper() == "BODY"]
            made = TemplateScript(
                str(told.get("name", "")), texts[0] if texts else "", str(told.get("language", "en")),
                told.get("category", "UTILITY"), "PENDING", f"31{len(cloud.templates):012d}",
            )  # fmt: skip
            cloud.templates[made.name, made.language] = made
            return JSONResponse({"id": made.id, "status": made.status, "category": made.category})
        if request.method == "DELETE":
            name = request.query_params.get("name", "")
            for key in [k for k in cloud.templates if k[0] == name]:
                del cloud.templates[key]
            return JSONResponse({"success": True})
        return JSONResponse({"data": [_template(t) for t in cloud.templates.values()], "paging": {"cursors": {}}})

    async def media_file(self, request: Request) -> Response:
        self._authorized(request)
        data, mime = self.cloud.files.get(request.path_params["media"], (b"", ""))
        return Response(data, 200 if mime else 404, media_type=mime or "text/plain")

    # --- for tests -----------------------------------------------------------------------------------------------

    async def sim(self, request: Request) -> Response:
        what, cloud = request.path_params["what"], self.cloud
        if request.method == "GET" and what in ("health", "stats"):
            return JSONResponse({
                "now": self.clock(), "waiting": len(cloud.hooks), "delivered": self.delivered, "refused": self.refused,
                "counts": cloud.counts, "begun": len(cloud.begun), "requests": self.requests[-1000:],
            })  # fmt: skip
        if request.method == "GET" and what == "sent":
            after = int(request.query_params.get("after", 0))
            return JSONResponse([
                {"number": chat.number, "to": chat.wa_id, "text": bubble.text, "at_s": bubble.at_s}
                for chat, bubble in cloud.arrived[after:]
            ])  # fmt: skip
        told = await _json(request)
        match what:
            case "script":
                cloud.play(parse_script(await request.body()))
                self.clock.speed = cloud.script.speed
            case "settings":  # a few keys of the script, the rest as it is
                given = msgspec.to_builtins(cloud.script) | told
                for key, value in told.items():
                    setattr(cloud.script, key, getattr(msgspec.convert(given, Script), key) if value is not None else 0)
                cloud.fired = {}
            case "clock":
                self.clock.jump(float(told.get("add_s", 0)))
            case "number":
                cloud.set_number(told["id"], quality=told.get("quality", ""), status=told.get("status", ""))
            case "template":
                cloud.set_template(told["name"], told["language"], told["status"], told.get("reason", ""))
            case "tell":
                cloud.tell(told["field"], told["value"])
            case "post":  # a raw web hook, with any secret: for tests of signatures
                return JSONResponse({"status": await self.post(told["body"].encode(), told.get("secret"))})
            case _:
                raise GraphError(100, f"there is no /sim/{what}")
        return JSONResponse({"ok": True, "now": self.clock()})

    async def sim_phone(self, request: Request) -> Response:
        """GET: what the telephone shows. POST: {"do": "say" | "voice" | "choose" | "block" ...}."""
        cloud, wa_id = self.cloud, request.path_params["wa_id"]
        number = request.query_params.get("number") or next(iter(cloud.numbers))
        if request.method == "GET":
            chat = cloud.chat(number, wa_id)
            shown = {"bubbles": msgspec.to_builtins(chat.bubbles), "last_in_s": chat.last_in_s}
            return JSONResponse({"phone": msgspec.to_builtins(cloud.phone(wa_id)), "chat": shown})
        told = await _json(request)
        made = self.act(wa_id, told.get("number") or number, told)
        return JSONResponse({"id": made})

    def act(self, wa_id: str, number: str, told: dict[str, Any]) -> str:
        """Something a person does with their telephone; the message's id, if it makes one."""
        cloud = self.cloud
        match told.get("do", "say"):
            case "say":
                return cloud.say(wa_id, number, told.get("message") or _text(told.get("text", ""))).id
            case "voice":
                note = voice_note(told.get("text", ""), float(told.get("seconds", 0)))
                media = cloud.keep(note, "audio/ogg; codecs=opus")
                return cloud.say(wa_id, number, phone.media_message("audio", media, "audio/ogg; codecs=opus")).id
            case "choose":
                return cloud.say(wa_id, number, phone.choice(cloud.chat(number, wa_id), told["id"])).id
            case "block":
                cloud.blocked.add((number, wa_id))
            case "unblock":
                cloud.blocked.discard((number, wa_id))
            case "off" | "on":
                cloud.switch(wa_id, off=told["do"] == "off")
            case "stop" | "resume":
                cloud.stop_marketing(wa_id, told["do"] == "stop")
            case "change_number":
                cloud.change_number(wa_id, told["to"])
            case other:
                raise GraphError(100, f"a telephone cannot {other}")
        return ""

    # --- the telephones ------------------------------------------------------------------------------------------

    async def shelf(self, request: Request) -> Response:
        return phone.html(phone.shelf(self.cloud, self.clock()))

    async def handset(self, request: Request) -> Response:
        cloud, wa_id = self.cloud, request.path_params["wa_id"]
        number = request.query_params.get("number") or next(iter(cloud.numbers))
        if number not in cloud.numbers:
            raise GraphError(100, "there is no such number")
        if request.method == "POST":
            await self._pressed(request, wa_id, number)
            return Response(status_code=303, headers={"location": f"/phone/{wa_id}?number={number}#end"})
        chat, now = cloud.chat(number, wa_id), self.clock()
        if request.query_params.get("part") == "chat":
            return phone.html(phone.bubbles(chat, now))
        return phone.html(phone.page(cloud, cloud.phone(wa_id), number, now))

    async def _pressed(self, request: Request, wa_id: str, number: str) -> None:
        form = {k: v[-1] for k, v in parse_qs((await request.body()).decode(), keep_blank_values=True).items()}
        if form.get("jump"):
            self.clock.jump(float(form["jump"]))
        elif form.get("choose"):
            self.act(wa_id, number, {"do": "choose", "id": form["choose"]})
        elif form.get("do") == "picture":
            media = self.cloud.keep(phone.PICTURE, "image/png")
            self.act(wa_id, number, {"do": "say", "message": phone.media_message("image", media, "image/png")})
        elif form.get("do") == "voice":
            self.act(wa_id, number, {"do": "voice", "text": form.get("text", "").strip() or phone.SPOKEN})
        elif form.get("do"):
            self.act(wa_id, number, {"do": form["do"]})
        elif form.get("text", "").strip():
            self.act(wa_id, number, {"do": "say", "text": form["text"].strip()})

    async def picture(self, request: Request) -> Response:
        data, mime = self.cloud.files.get(request.path_params["media"], (b"", ""))
        good = mime.startswith(("image/", "audio/", "video/")) and "svg" not in mime
        return Response(data if good else b"", 200 if good else 404, media_type=mime if good else "text/plain")

    # --- wiring --------------------------------------------------------------------------------------------------

    def _authorized(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self.cloud.script.token}":
            raise GraphError(190, "the access token is not valid")

    def application(self) -> ASGIApp:
        def graph(handler: Any) -> Any:
            async def checked(request: Request) -> Response:
                self._authorized(request)
                answer: Response = await handler(request)
                return answer

            return checked

        @contextlib.asynccontextmanager
        async def life(app: Starlette) -> AsyncIterator[None]:
            task = asyncio.create_task(self.deliver_for_ever())
            yield
            task.cancel()
            for pool in self._pools.values():
                pool.close()

        every = ["GET", "POST", "DELETE"]
        return Starlette(
            lifespan=life,
            exception_handlers={GraphError: _failed, WaterlineError: _failed, KeyError: _failed},
            routes=[
                Route("/", self.shelf),
                Route("/phone/{wa_id}", self.handset, methods=["GET", "POST"]),
                Route("/picture/{media}", self.picture),
                Route("/media-files/{media}", self.media_file),
                Route("/sim/phones/{wa_id}", self.sim_phone, methods=["GET", "POST"]),
                Route("/sim/{what}", self.sim, methods=["GET", "POST"]),
                Route("/{version}/{node}/messages", graph(self.messages), methods=["POST"]),
                Route("/{version}/{node}/media", graph(self.media), methods=["POST"]),
                Route("/{version}/{node}/message_templates", graph(self.templates), methods=every),
                Route("/{version}/{node}/phone_numbers", graph(self.phone_numbers)),
                Route("/{version}/{node}", graph(self.node), methods=["GET", "DELETE"]),
            ],
        )


def hook_body(batch: list[Hook]) -> bytes:
    entries: dict[str, list[dict[str, Any]]] = {}
    for hook in batch:
        entries.setdefault(hook.account, []).append(hook.change)
    entry = [{"id": account, "changes": changes} for account, changes in entries.items()]
    return msgspec.json.encode({"object": "whatsapp_business_account", "entry": entry})


def _number(cloud: Cloud, node: str) -> dict[str, Any]:
    number = cloud.numbers[node]
    status = {"FLAGGED": "RESTRICTED", "CONNECTED": "LINKED"}.get(number.status, number.status)
    tier = {0: "TIER_UNLIMITED", 250: "TIER_250", 1000: "TIER_1K", 10_000: "TIER_10K", 100_000: "TIER_100K"}
    return {"id": number.id, "display_phone_number": number.display, "verified_name": number.name,
            "quality_rating": number.quality, "status": status,
            "messaging_limit_tier": tier.get(cloud.script.limit, f"TIER_{cloud.script.limit}")}  # fmt: skip


def _template(template: TemplateScript) -> dict[str, Any]:
    return {"id": template.id, "name": template.name, "language": template.language, "status": template.status,
            "category": template.category, "components": [{"type": "BODY", "text": template.body}]}  # fmt: skip


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": {"body": text}}


async def _json(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


async def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, GraphError):
        return JSONResponse(error.body(), error.http)
    return JSONResponse({"error": {"message": str(error), "code": 100}}, 400)


def _broken() -> Response:
    """The head of an answer, and then the connection ends."""

    async def cut() -> AsyncIterator[bytes]:
        yield b"{"
        raise ConnectionError("the script breaks this connection")

    return StreamingResponse(cut(), headers={"content-length": "100"})


def run_server(script: Path | Script | None, host: str, port: int, webhook: str = "") -> None:
    """Until SIGINT or SIGTERM; says {"ready": true, "address": ...} in its first line. Raises ScriptError, OSError."""
    loaded = script if isinstance(script, Script) else read_script(script)
    if webhook:
        loaded.webhook = webhook
    with contextlib.closing(socket.socket()) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)  # who connects from now on waits until we serve
        address = f"http://{host}:{sock.getsockname()[1]}"
        sys.stdout.write(json.dumps({"ready": True, "address": address}) + "\n")
        sys.stdout.flush()
        sys.stderr.write(f"WhatsApp, simulated: {address}/ shows the telephones.\n")
        simulator = Simulator(loaded)
        config = uvicorn.Config(simulator.application(), log_level="critical", lifespan="on")
        uvicorn.Server(config).run(sockets=[sock])
