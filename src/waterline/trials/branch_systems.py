"""Plays the connected systems of every branch during a drill; the hostile branch's part of them hangs.

Each write happens once for its key, as the connectors' own servers have it, and is remembered with its branch.
"""

import asyncio
import contextlib
import datetime as dt
from collections import Counter
from typing import Any

import msgspec

from waterline.connectors.stand_in import Asked
from waterline.trials.small_server import SmallServer

HANGS_S = 30.0  # longer than any operation waits
TAKES_S = 0.02
OFFERED_DAYS, OFFERED_HOURS = 10, (9, 10, 11)
MOST_BODY = 1 << 20


class Systems(SmallServer):
    """`acts`: branch -> connector.operation -> its keys."""

    def __init__(self, hostile: str) -> None:
        super().__init__()
        self.hostile = hostile
        self.acts: dict[str, dict[str, set[str]]] = {}
        self.calls: Counter[str] = Counter()  # by branch
        self.hung = 0
        self.repeated = 0  # the same key again, from another branch than the hostile one

    def done(self, branch: str, operation: str) -> int:
        return len(self.acts.get(branch, {}).get(operation, ()))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            asked = msgspec.json.decode(await reader.readexactly(min(length, MOST_BODY)), type=Asked)
            status, result = await self.ask(asked)
            body = msgspec.json.encode(result)
            said = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            writer.write(said.encode() + body)
            await writer.drain()

    async def ask(self, asked: Asked) -> tuple[str, dict[str, Any]]:
        self.calls[asked.branch] += 1
        if asked.branch == self.hostile:
            self.hung += 1
            await asyncio.sleep(HANGS_S)
            return "503 Service Unavailable", {}
        await asyncio.sleep(TAKES_S)
        if not asked.key:
            return "200 OK", {"slots": free_slots(), "rows": []}
        name = f"{asked.connector}.{asked.operation}"
        keys = self.acts.setdefault(asked.branch, {}).setdefault(name, set())
        self.repeated += asked.key in keys
        keys.add(asked.key)
        again = {k: v for k, v in asked.arguments.items() if isinstance(v, str)}
        return "200 OK", {"uid": asked.key, "id": asked.key, **again}


def free_slots() -> list[dict[str, Any]]:
    """As a flow's lookup wants them; everybody may have the same one, since this is no calendar."""
    today = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
    starts = [today.replace(hour=h) + dt.timedelta(days=d) for d in range(1, OFFERED_DAYS) for h in OFFERED_HOURS]
    return [{"start": s.isoformat(), "end": (s + dt.timedelta(minutes=45)).isoformat(), "left": 1} for s in starts]
