"""How long the console's pages of conversations take with many of them, each a full one: messages, turns, effects,
model calls, fees of the channel, stages, people who were asked for. CPU: what it costs of one core, whatever else the
machine does.

    python bench/conversation_pages.py [--conversations 100000] [--branches 300] [--keep FOLDER]

`--keep` leaves the data folder there, for `waterline up --data FOLDER` and a browser."""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from waterline.access.roles import Principal
from waterline.control.conversations import ConversationDesk
from waterline.core.conversation import Effect, Inbound, Outbound
from waterline.store import conversations
from waterline.store.conversations import Filter
from waterline.store.db import Store, Tx

DAY_US = 86_400_000_000
TIMES = 7
ADMIN = Principal("bench", "person", "bench", "", "", role="owner")
ROWS = Path(__file__).with_suffix(".sql")


def fill(tx: Tx, n: int, branches: int, now_us: int) -> None:
    text = Inbound("whatsapp", "100", "x", "351911", 1, text="Good morning! When can we visit the school?")
    said = Effect("reply", Outbound("You can visit us every weekday. How old is your child?"))
    book = Effect("book", connector="calendar", operation="book", arguments={"start": "2026-12-01T09:00"})
    given = {
        "n": n,
        "branches": branches,
        "now": now_us,
        "span": 30 * DAY_US,
        "text": msgspec.json.encode(text),
        "said": msgspec.json.encode(said),
        "book": msgspec.json.encode(book),
    }
    for statement in tx.dialect.statements(ROWS.read_text()):
        tx._connection.execute(statement, given)  # a bench may: nothing in the product writes like this


async def measure(store: Store, now_us: int) -> dict[str, tuple[float, float]]:
    """Seconds of wall time and of CPU, the median of each."""
    desk = ConversationDesk(store, lambda: now_us, lambda conversation: None)
    page = await desk.page(ADMIN, Filter())
    some = page.rows[25].id
    asked: dict[str, Callable[[], Awaitable[Any]]] = {
        "conversations": lambda: desk.page(ADMIN, Filter()),
        "conversations, the next page": lambda: desk.page(ADMIN, Filter(), page.next),
        "conversations of a branch": lambda: desk.page(ADMIN, Filter(branch="b007")),
        "conversations with a person": lambda: desk.page(ADMIN, Filter(mode="person")),
        "conversations at a rare stage": lambda: desk.page(ADMIN, Filter(stage="nobody came here")),
        "conversations of an app by channel": lambda: desk.page(ADMIN, Filter(app="school", channel="email")),
        "a conversation": lambda: desk.one(ADMIN, some),
        "for people": lambda: desk.queue(ADMIN, None, None),
        "funnel, 30 days": lambda: desk.funnel(ADMIN, "school", None, None, None),
        "funnel, 7 days": lambda: desk.funnel(ADMIN, "school", None, now_us - 7 * DAY_US, None),
        "funnel of a branch": lambda: desk.funnel(ADMIN, "school", "b007", None, None),
        "funnel, 1 day": lambda: desk.funnel(ADMIN, None, None, now_us - DAY_US, None),
        "bookings": lambda: desk.acts(ADMIN, None, None, None),
        "bookings that failed": lambda: desk.acts(ADMIN, None, None, "failed"),
        "bookings of a branch": lambda: desk.acts(ADMIN, None, "b007", None),
    }
    took: dict[str, tuple[float, float]] = {}
    for name, ask in asked.items():
        times, cpu = [], []
        for _ in range(TIMES):
            began, busy = time.perf_counter(), time.process_time()
            await ask()
            times.append(time.perf_counter() - began)
            cpu.append(time.process_time() - busy)
        took[name] = (statistics.median(times), statistics.median(cpu))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--branches", type=int, default=300)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        store = Store.open(folder / "waterline.db")
        now_us = time.time_ns() // 1000
        began = time.perf_counter()
        if not store.read_sync(lambda tx: conversations.page(tx, Filter(), limit=1)[0]):
            store.write_sync(lambda tx: fill(tx, given.conversations, given.branches, now_us))
        print(f"{given.conversations:,} conversations made in {time.perf_counter() - began:.0f} s")
        for name, (seconds, cpu) in asyncio.run(measure(store, now_us)).items():
            print(f"{name:40} {seconds * 1000:8.1f} ms  CPU {cpu * 1000:6.1f} ms")
        store.close()


if __name__ == "__main__":
    main()
