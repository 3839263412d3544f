"""The simulated provider as an ASGI application: who is asked, what is refused, who answers.

    POST /<target>/v1/chat/completions, /v1/embeddings, /v1/messages     GET /<target>/v1/models
    POST /<target>/v1/audio/transcriptions     (a recording's words are those of its comment: simulated_voice.py)
    POST /<target>/v1beta/models/<model>:generateContent, :streamGenerateContent, :batchEmbedContents, :embedContent,
        :countTokens
    GET /sim/stats, GET /sim/health, POST /sim/script (TOML or JSON)

The `/v1` or `/v1beta` may be left out. The prefix names the target; without one it is "default".
"""

import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from waterline.providers import simulated_answers as answers
from waterline.providers import simulated_gemini as gemini
from waterline.providers import simulated_messages, simulated_openai
from waterline.providers.simulated_answers import Ask, Bill, Message, Said
from waterline.providers.simulated_connection import Left
from waterline.providers.simulated_play import Call, Dialect, Play, Send, TargetStats
from waterline.providers.simulated_script import Script, ScriptError, parse_script
from waterline.providers.simulated_telling import answer, embed, fail, say_all, too_long, write_down
from waterline.providers.simulated_voice import read_form

MAX_BODY_BYTES = 64 << 20
MAX_TARGETS = 256  # prefixes that are told apart; more count as "default"
GEMINI_ACTIONS = ("generateContent", "streamGenerateContent", "batchEmbedContents", "embedContent", "countTokens")
TRANSCRIPTIONS = "/audio/transcriptions"
COUNTS = ("/messages/count_tokens", "/chat/completions/input_tokens")  # Anthropic's; llama.cpp's
KEPT_BODIES = 1000
KEPT_SECONDS = 3600
_WE_CLOSE = ("refuse_connection", "reset_before_headers", "cut", "wrong_content_length")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Stats(Struct):
    uptime_s: float
    script_s: float  # since the script was set; what `from_s` and `until_s` count
    targets: dict[str, TargetStats]


class SimulatedApp:
    """The ASGI application. One script at a time; a new one resets limits and fault counters, never the statistics."""

    def __init__(self, script: Script) -> None:
        self.started = time.monotonic()
        self.tallies: dict[str, TargetStats] = {}
        self.play(script)

    def play(self, script: Script) -> None:
        self.script = script
        self.set_at = time.monotonic()
        self.plays: dict[str, Play] = {}

    def stats(self) -> Stats:
        now = time.monotonic()
        return Stats(now - self.started, now - self.set_at, self.tallies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(Left):
            await self._route(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        body = await _body(receive)
        if path.startswith("/sim/"):
            await self._control(scope["method"], path, body, send)
            return
        found = _place(path)
        if found is None:
            message = f"Unknown path {path}. Known: [/target]/v1/chat/completions, messages, embeddings, models."
            await reply(send, 404, simulated_openai.error(404, message))
            return
        prefix, suffix = found
        name = prefix or "default"
        if name not in self.plays and len(self.plays) >= MAX_TARGETS:
            name = "default"
        play = self.plays.get(name)
        if play is None:
            target = self.script.targets.get(name, self.script.default)
            play = self.plays[name] = Play(target, self.script.seed, name, self.set_at)
        if suffix == "/models":
            listed = [{"id": m, "object": "model", "created": 0, "owned_by": "simulated"} for m in play.target.models]
            await reply(send, 200, answers.encode({"object": "list", "data": listed}))
            return
        tally = self.tallies.setdefault(name, TargetStats())
        await self._count(scope, send, play, tally, suffix, path, body)

    async def _count(
        self, scope: Scope, send: Send, play: Play, tally: TargetStats, suffix: str, path: str, body: bytes | None
    ) -> None:
        """Statistics around one request."""
        play.number += 1
        tally.requests += 1
        tally.in_flight += 1
        tally.max_in_flight = max(tally.max_in_flight, tally.in_flight)
        second = int(time.time())
        tally.attempts_by_second[second] = tally.attempts_by_second.get(second, 0) + 1
        if len(tally.attempts_by_second) > KEPT_SECONDS:
            del tally.attempts_by_second[next(iter(tally.attempts_by_second))]
        tally.bodies.append(hashlib.sha256(body or b"").hexdigest())
        if len(tally.bodies) > 2 * KEPT_BODIES:
            del tally.bodies[:-KEPT_BODIES]
        dialect: Dialect = "gemini" if ":" in suffix else "anthropic" if suffix.startswith("/messages") else "openai"
        tally.betas = dict(scope["headers"]).get(b"anthropic-beta", b"").decode("latin-1")
        call = Call(scope["state"]["connection"], send, play, tally, dialect, play.number, False, None)
        try:
            await self._ask(call, scope, suffix, path, body)
        except Left:
            if call.fault_kind not in _WE_CLOSE:
                tally.aborted += 1
        finally:
            tally.in_flight -= 1

    async def _ask(self, call: Call, scope: Scope, suffix: str, path: str, body: bytes | None) -> None:
        """Read the request, let a fault or a limit have it, else answer."""
        target = call.play.target
        if body is None:
            await call.error(413, f"The request is larger than {MAX_BODY_BYTES} bytes.")
            return
        try:
            if call.dialect == "gemini":
                model, _, action = suffix.removeprefix("/models/").rpartition(":")
                ask, messages = gemini.read_ask(unquote(model), action, body, thinks=call.thinks)
            elif suffix == TRANSCRIPTIONS:
                spoken = read_form(dict(scope["headers"]).get(b"content-type", b""), body)
                ask, messages = Ask(spoken.model, input=msgspec.Raw(answers.encode(spoken))), []
            else:
                ask = answers.decode_ask(body)
                messages = answers.decode_messages(ask.messages) if bytes(ask.messages) else []
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            await call.error(400, f"We could not parse the JSON body of your request: {error}")
            return
        except gemini.Wrong as error:
            await call.error(400, str(error))
            return
        call.streamed = bool(ask.stream)
        call.tally.streamed += call.streamed
        now = time.monotonic()
        call.fault = call.play.fault(path, call.streamed, now)
        if call.fault is not None:
            call.tally.faults[call.fault.kind] = call.tally.faults.get(call.fault.kind, 0) + 1
            if await fail(call, call.fault, ask):
                return
        if (problem := invalid(scope, call, ask, messages, suffix)) is not None:
            await call.error(*problem)
            return
        prompt = answers.prompt_tokens(ask)
        if target.context_tokens and prompt > target.context_tokens:
            await too_long(call, prompt, target.context_tokens)
            return
        if suffix in COUNTS:
            await reply(call.send, 200, answers.encode({"input_tokens": prompt}))
            return
        if suffix.endswith(":countTokens"):
            await reply(call.send, 200, answers.encode({"totalTokens": prompt}))
            return
        said = [] if embeds(suffix) or suffix == TRANSCRIPTIONS else say_all(call, ask, messages)
        bill = answers.bill(prompt, target, said)
        wait_s = call.play.refusal_s(bill.prompt + bill.output, now)
        if wait_s is not None:
            call.tally.limited += 1
            told = target.limits.retry_after_s if target.limits.retry_after_s is not None else max(1, -(-wait_s // 1))
            await call.error(429, retry_after_s=told if target.limits.retry_after else None)
            return
        await self._in_turn(call, suffix, ask, said, bill)

    async def _in_turn(self, call: Call, suffix: str, ask: Ask, said: list[Said], bill: Bill) -> None:
        slots = call.play.slots
        if slots is not None and slots.full:
            await call.error(529 if call.dialect == "anthropic" else 503)
            return
        call.play.running += 1
        try:
            if slots is not None:
                await slots.acquire(call.connection)
            call.tally.input_tokens += bill.prompt
            try:
                if said:
                    await answer(call, ask, said, bill)
                elif suffix == TRANSCRIPTIONS:
                    await write_down(call, ask)
                else:
                    await embed(call, ask, bill, suffix.rpartition(":")[2])
            finally:
                if slots is not None:
                    slots.release()
        finally:
            call.play.running -= 1
        call.tally.answered += 1

    async def _control(self, method: str, path: str, body: bytes | None, send: Send) -> None:
        match method, path:
            case "GET", "/sim/stats":
                stats = self.stats()
                for tally in stats.targets.values():
                    del tally.bodies[:-KEPT_BODIES]
                await reply(send, 200, answers.encode(stats))
            case "GET", "/sim/health":
                await reply(send, 200, b'{"status":"ok"}')
            case "POST", "/sim/script":
                try:
                    script = parse_script(body or b"")
                except ScriptError as error:
                    await reply(send, 400, answers.encode({"error": {"message": str(error)}}))
                else:
                    self.play(script)
                    await reply(send, 200, b'{"status":"ok"}')
            case _:
                message = "Known: GET /sim/stats, GET /sim/health, POST /sim/script."
                await reply(send, 404, answers.encode({"error": {"message": message}}))


def _place(path: str) -> tuple[str, str] | None:
    """The target's prefix, and what is asked of it: a path's end, or "/models/<model>:<action>"."""
    for suffix in ("/chat/completions", *COUNTS, "/messages", "/embeddings", TRANSCRIPTIONS, "/models"):
        if path.endswith(suffix):
            return path.removesuffix(suffix).removesuffix("/v1").strip("/"), suffix
    head, models, rest = path.rpartition("/models/")
    if models and rest.rpartition(":")[2] in GEMINI_ACTIONS:
        return head.removesuffix("/v1beta").removesuffix("/v1").strip("/"), models + rest
    return None


def embeds(suffix: str) -> bool:
    return suffix.endswith(("/embeddings", ":batchEmbedContents", ":embedContent"))


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None if it is too large (it is read to the end all the same)."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        return body
    parts, size = [body], len(body)
    while message["type"] == "http.request" and message.get("more_body"):
        message = await receive()
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY_BYTES:
            parts.append(part)
    if message["type"] != "http.request":
        raise Left
    return b"".join(parts) if size <= MAX_BODY_BYTES else None


async def reply(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def invalid(
    scope: Scope, call: Call, ask: Ask, messages: list[Message], suffix: str
) -> tuple[int, str] | tuple[int, str, str] | None:
    """What a provider would refuse: status, message, code."""
    target = call.play.target
    headers = dict(scope["headers"])
    if target.api_key:
        bearer = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if target.api_key.encode() not in (bearer, headers.get(b"x-api-key"), headers.get(b"x-goog-api-key")):
            return (400, gemini.BAD_KEY) if call.dialect == "gemini" else (401, "")
    if not ask.model:
        return 400, "you must provide a model parameter", "missing_required_parameter"
    if target.only_models and ask.model not in target.models:
        return 404, f"The model `{ask.model}` does not exist or you do not have access to it."
    if suffix == TRANSCRIPTIONS:
        return None if b'"seconds":null' not in bytes(ask.input) else (400, "The audio file could not be decoded.")
    if embeds(suffix):
        return None if bytes(ask.input) else (400, "Missing required parameter: 'input'.")
    if not messages:
        return 400, "messages: at least one message is required", "missing_required_parameter"
    if target.prefill == "refuse" and messages[-1].role == "assistant":
        return 400, "This model does not support assistant message prefill: the conversation must end with a user turn."
    if call.dialect == "anthropic":
        if b"anthropic-version" not in headers:
            return 400, "anthropic-version: header is required"
        if suffix not in COUNTS and (ask.max_tokens is None or ask.max_tokens < 1):
            return 400, "max_tokens: Field required, at least 1"
        for i, message in enumerate(messages):
            if message.role not in ("user", "assistant"):
                return 400, f"messages.{i}.role: Input should be 'user' or 'assistant'"
            if message.content in ("", None, []):
                return 400, f"messages.{i}: all messages must have non-empty content"
        if (wrong := simulated_messages.wrong_blocks(messages, target, thinks=answers.thinks(ask))) is not None:
            return 400, wrong
    return None
