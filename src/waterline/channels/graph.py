"""Meta's Graph API as we use it: messages, media, templates, numbers. Paths and shapes: the OpenAPI description of the
WhatsApp Business Messaging API v23.0. Another provider that offers the same API is another `url`."""

import secrets
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from waterline.channels.base import SendFault
from waterline.channels.whatsapp_errors import fault
from waterline.core.conversation import Media
from waterline.providers.upstream import Origin, Pool, Response, UpstreamError

FIRST_BYTE_S, IDLE_S, TOTAL_S = 10.0, 10.0, 20.0
MEDIA_TOTAL_S = 120.0
ANSWER_BYTES = 4 << 20
# The largest file by kind. Source: developers.facebook.com/docs/whatsapp/cloud-api/reference/media
MEDIA_BYTES = {"image": 5 << 20, "audio": 16 << 20, "video": 16 << 20, "sticker": 500 << 10, "document": 100 << 20}
MEDIA_HOST = "lookaside.fbsbx.com"  # where Meta keeps files; nothing else is fetched from


class GraphAccess(Struct, frozen=True):
    """Where and as whom. `token` never shows."""

    url: str
    token: str
    version: str = "v23.0"
    media_hosts: tuple[str, ...] = (MEDIA_HOST,)
    proxy: str = ""

    def __repr__(self) -> str:
        return f"GraphAccess({self.url!r}, token hidden)"


class Unsure(Exception):
    """The request left and no answer came: whether the message went out is unknown."""


class Graph:
    """Opens nothing until it is first called; `close` it in the same event loop."""

    def __init__(self, access: GraphAccess) -> None:
        self.access = access
        self._origin = Origin.from_url(access.url, access.proxy or None)
        self._pools: dict[Origin, Pool] = {}
        self._authorization = (b"authorization", b"Bearer " + access.token.encode("latin-1", "replace"))

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    async def send(self, number: str, payload: dict[str, Any]) -> str:
        """The message's id. Raises SendFault; Unsure when nobody knows."""
        body = msgspec.json.encode(payload)
        try:
            response = await self._ask("POST", f"/{_part(number)}/messages", body, b"application/json")
            answer = await response.read(ANSWER_BYTES)
        except UpstreamError as error:
            if error.safe:
                raise SendFault("later", f"WhatsApp cannot be reached: {error}", retry_after_s=5) from error
            raise Unsure(str(error)) from error
        if response.status != 200:
            raise _refused(response, answer)
        try:
            return str(msgspec.json.decode(answer)["messages"][0]["id"])
        except (msgspec.DecodeError, KeyError, IndexError, TypeError) as error:
            raise Unsure("the answer names no message") from error

    async def templates(self, account: str) -> list[dict[str, Any]]:
        """Every template of the account. Raises SendFault."""
        found: list[dict[str, Any]] = []
        after = ""
        for _ in range(100):
            page = await self.json("GET", f"/{_part(account)}/message_templates?limit=100{after}")
            found += [t for t in page.get("data", []) if isinstance(t, dict)]
            cursor = page.get("paging", {}).get("cursors", {}).get("after", "") if page.get("paging") else ""
            if not cursor or not page["paging"].get("next"):
                return found
            after = f"&after={quote(str(cursor), safe='')}"
        return found

    async def numbers(self, account: str) -> list[dict[str, Any]]:
        """The account's numbers with quality, status and messaging limit. Raises SendFault."""
        fields = "id,display_phone_number,verified_name,status,quality_rating,messaging_limit_tier"
        page = await self.json("GET", f"/{_part(account)}/phone_numbers?fields={fields}&limit=500")
        return [n for n in page.get("data", []) if isinstance(n, dict)]

    async def upload(self, number: str, kind: str, mime: str, name: str, data: bytes) -> str:
        """The file's id, good for 30 days. Raises SendFault."""
        most = MEDIA_BYTES.get(kind, MEDIA_BYTES["document"])
        if len(data) > most:
            raise SendFault(
                "never", f"The {kind} {name!r} has {len(data):,} bytes; WhatsApp takes {most:,}. Shrink it."
            )
        edge = secrets.token_hex(16)
        safe = name.replace('"', "").replace("\r", "").replace("\n", "") or "file"
        body = b"".join(
            (
                f'--{edge}\r\ncontent-disposition: form-data; name="messaging_product"\r\n\r\nwhatsapp\r\n'.encode(),
                f'--{edge}\r\ncontent-disposition: form-data; name="type"\r\n\r\n{mime}\r\n'.encode(),
                f'--{edge}\r\ncontent-disposition: form-data; name="file"; filename="{safe}"\r\n'
                f"content-type: {mime}\r\n\r\n".encode(),
                data,
                f"\r\n--{edge}--\r\n".encode(),
            )
        )
        answer = await self.json(
            "POST", f"/{_part(number)}/media", body, f"multipart/form-data; boundary={edge}", total=MEDIA_TOTAL_S
        )
        return str(answer.get("id", ""))

    async def download(self, media: Media, most: int) -> tuple[bytes, str]:
        """A user's file and its type. Raises SendFault: too large, gone, or kept where we do not go."""
        about = await self.json("GET", f"/{_part(media.id)}")
        url, size = str(about.get("url", "")), str(about.get("file_size", "0"))
        if size.isdigit() and int(size) > most:
            raise SendFault("never", f"The file has {int(size):,} bytes; at most {most:,} are taken.")
        parts = urlsplit(url)
        try:
            where = Origin.from_url(f"{parts.scheme}://{parts.netloc}", self.access.proxy or None)
        except ValueError as error:
            raise SendFault("never", "WhatsApp gave no address for the file.") from error
        if where != self._origin and not (where.tls and where.host in self.access.media_hosts):
            raise SendFault("never", f"The file is kept at {where}, which is not declared. See WATERLINE_WHATSAPP_URL.")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            response = await self._ask("GET", path, b"", b"", where=where, base="", total=MEDIA_TOTAL_S)
            data = await response.read(most)
        except UpstreamError as error:
            raise SendFault("later", f"The file cannot be fetched: {error}", retry_after_s=10) from error
        if response.status != 200:
            raise SendFault("never", f"The file is not there any more (HTTP {response.status}).", code=131052)
        return data, str(about.get("mime_type", media.mime))

    async def json(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | bytes = b"",
        content_type: str = "application/json",
        total: float = TOTAL_S,
    ) -> dict[str, Any]:
        """One call whose repetition does no harm. Raises SendFault."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        try:
            response = await self._ask(method, path, data, content_type.encode(), total=total)
            answer = await response.read(ANSWER_BYTES)
        except UpstreamError as error:
            raise SendFault("later", f"WhatsApp did not answer: {error}", retry_after_s=5) from error
        if response.status != 200:
            raise _refused(response, answer)
        try:
            told = msgspec.json.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SendFault("later", "WhatsApp answered something that is not JSON.", retry_after_s=10) from error
        return told if isinstance(told, dict) else {}

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes,
        content_type: bytes,
        *,
        where: Origin | None = None,
        base: str | None = None,
        total: float = TOTAL_S,
    ) -> Response:
        origin = where or self._origin
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, max_conns=64)
        prefix = f"{self._origin.base_path}/{self.access.version}" if base is None else base
        headers = [self._authorization, (b"user-agent", b"waterline")]
        if content_type and body:
            headers.append((b"content-type", content_type))
        head = pool.head(method, prefix + path, headers)
        return await pool.send(head, body, first_byte=min(FIRST_BYTE_S, total), idle=IDLE_S, total=total)


def _part(identifier: str) -> str:
    """An id as one part of a path, whatever is in it."""
    return quote(identifier, safe="") or "-"


def _refused(response: Response, answer: bytes) -> SendFault:
    code, details = 0, ""
    try:
        error = msgspec.json.decode(answer)["error"]
        code = int(error.get("code", 0))
        details = str((error.get("error_data") or {}).get("details") or error.get("message") or "")
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError):
        pass
    wait = response.header(b"retry-after") or b""
    return fault(code, response.status, details, float(wait) if wait.isdigit() else None)
