"""Who writes, when, and whether each got exactly the answers that are due: the people of bench/volume.py.

The month's shape: by the hour of the day and the day of the week where the branch is (families write in the evening,
and on Mondays), and within an hour as calls came in a published trace of a production service
(Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv, 16 November 2023), if it is there; else evenly.
"""

import asyncio
import bisect
import collections
import csv
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

# Relative weights, made up: quiet at night, office hours, and an evening that is busier than both.
HOURS = (0.25, 0.12, 0.08, 0.05, 0.05, 0.1, 0.3, 0.6, 0.95, 1.3, 1.5, 1.5, 1.4, 1.3, 1.3, 1.3, 1.3, 1.4, 1.6, 1.8, 1.9,
         1.6, 1.1, 0.5)  # fmt: skip
WEEKDAYS = (1.25, 1.15, 1.1, 1.05, 0.95, 0.75, 0.75)
MONTH = datetime(2027, 1, 1, tzinfo=UTC)  # 31 days, before a school year's enrolment
DAYS = 30
SAID = 8  # messages of each lead
TOGETHER = 0.12  # of the messages come right behind the one before
TEXT = "and one more question about the afternoon, the bus and what lunch costs, please"


def within_an_hour(trace: Path) -> list[float]:
    """When calls came, 0..1 of the trace's time; empty: there is no trace."""
    if not trace.is_file():
        return []
    with trace.open() as opened:
        at = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in csv.DictReader(opened)]
    first, last = min(at), max(at)
    return sorted((a - first) / (last - first) for a in at)


def arrivals(leads: int, zones: list[str], trace: list[float], seed: int) -> list[tuple[float, int]]:
    """(second of the month, branch) of each lead, in order. A few branches have most of them."""
    chance = random.Random(seed)
    weights = [1 / (1 + n) ** 0.5 for n in range(len(zones))]
    chance.shuffle(weights)
    profiles: dict[str, list[float]] = {}
    for zone in set(zones):
        running, sums = 0.0, []
        for hour in range(DAYS * 24):
            local = (MONTH + timedelta(hours=hour)).astimezone(ZoneInfo(zone))
            running += HOURS[local.hour] * WEEKDAYS[local.weekday()]
            sums.append(running)
        profiles[zone] = sums
    found = []
    for branch in chance.choices(range(len(zones)), weights, k=leads):
        sums = profiles[zones[branch]]
        hour = bisect.bisect_left(sums, chance.random() * sums[-1])
        within = chance.choice(trace) if trace else chance.random()
        found.append((hour * 3600 + within * 3600, branch))
    return sorted(found)


@dataclass
class Lead:
    number: str
    wa_id: str
    n: int = 0
    said: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)  # WhatsApp's of each
    said_at: dict[str, float] = field(default_factory=dict)
    second: dict[str, int] = field(default_factory=dict)  # WhatsApp's time of it
    heard: list[str] = field(default_factory=list)  # lines of replies, in the order in which they came
    told: int = 0  # that the visit is booked
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def says(self, text: str, message_id: str, second: int) -> None:
        self.said.append(text)
        self.ids.append(message_id)
        self.second[text] = second


@dataclass
class People:
    """All leads, and what was wrong with them."""

    latency: collections.Counter[int] = field(default_factory=collections.Counter)  # in hundredths of a second
    leads: dict[str, Lead] = field(default_factory=dict)  # those that are not done
    finished: int = 0
    messages: int = 0
    replies: int = 0
    same_second: int = 0  # pairs that came the other way round, and that nobody could have told apart
    wrong: collections.Counter[str] = field(default_factory=collections.Counter)
    examples: list[str] = field(default_factory=list)

    def heard(self, wa_id: str, text: str) -> None:
        """A telephone shows a reply: the lines of what it answers, or that the visit is booked."""
        self.replies += 1
        lead = self.leads.get(wa_id)
        if lead is None:
            self.blame("a reply to somebody who was done", f"{wa_id}: {text}")
            return
        now = time.monotonic()
        if text == "visit done":
            lead.told += 1
        else:
            lines = text.split("\n")
            lead.heard += lines
            newest = lead.said_at.get(lines[-1])
            if newest is not None:
                self.latency[round(100 * (now - newest))] += 1
        lead.news.set()

    def blame(self, what: str, example: str) -> None:
        self.wrong[what] += 1
        if len(self.examples) < 20:
            self.examples.append(f"{what}: {example}")

    def judge(self, lead: Lead) -> None:
        """Every message is answered once, in the order in which it was written."""
        self.finished += 1
        counts = collections.Counter(lead.heard)
        for text in lead.said:
            if counts[text] != 1:
                self.blame("lost" if not counts[text] else "answered twice", f"{lead.wa_id}: {text}")
        for text in counts - collections.Counter(lead.said):
            if text not in lead.said:
                self.blame("what nobody said was answered", f"{lead.wa_id}: {text}")
        if lead.told != 1:
            self.blame("told of the visit not once", f"{lead.wa_id}: {lead.told} times")
        order = [t for t in lead.heard if t in lead.second]
        for before, after in pairwise(order):
            if lead.said.index(before) > lead.said.index(after):
                if lead.second[before] == lead.second[after]:
                    self.same_second += 1
                else:
                    self.blame("out of order", f"{lead.wa_id}: {before} before {after}")
