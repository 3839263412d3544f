"""What the levers that look at texts do, on texts: the trace has token counts only.

Conversations are the dialogues of the Schema-Guided Dialogue set and the school's own cases, first questions the
utterances of CLINC150 (150 intents, many ways to say each). The gateway's own code decides.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import msgspec

from waterline.access.roles import Principal
from waterline.core.case import Case, Expect
from waterline.core.release import Release, release_id
from waterline.core.request import decode_request
from waterline.core.savings import History
from waterline.gateway.cache import key_of
from waterline.gateway.history import shorten
from waterline.gateway.render import prompt_variables, render
from waterline.providers.openai import OpenAI

CHARACTERS_PER_TOKEN = 4.0
MAX_FALSE = 0.05  # of the hits, as `waterline cache calibrate` has it
CLOCK = {"today": "2026-11-21", "weekday": "Saturday", "now": "2026-11-21 12:00"}  # the prompts of the school use none
NUMBER = re.compile(r"\d+(?:[:.,]\d+)*")
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Repeats:
    """Of `asked` requests, `hits` had a key that was there already."""

    what: str
    asked: int
    hits: int

    @property
    def share(self) -> float:
        return self.hits / self.asked if self.asked else 0.0


def dialogues(data: Path) -> list[Messages]:
    """Each as messages, the user's first."""
    found = []
    for one in json.loads((data / "sgd" / "dev_dialogues_005.json").read_text()):
        said = [
            {"role": "user" if t["speaker"] == "USER" else "assistant", "content": t["utterance"]} for t in one["turns"]
        ]
        found.append(said)
    return found


def utterances(data: Path) -> list[tuple[str, str]]:
    """(text, intent), in the file's order of splits."""
    read = json.loads((data / "clinc150" / "data_full.json").read_text())
    return [(text, intent) for split in ("train", "val", "test") for text, intent in read[split]]


def question_tokens(cases: Iterable[Case]) -> float:
    """Mean length of what a parent writes."""
    texts = [c.turns()[-1].content for c in cases]
    return sum(len(t) for t in texts) / len(texts) / CHARACTERS_PER_TOKEN


def exact_hits(release: Release, manifest: bytes, what: str, requests: Iterable[Messages]) -> Repeats:
    """The exact cache as a release with [cache] exact and shared (the most that it can find), and no expiry."""
    seen: set[str] = set()
    provider, asked, hits = OpenAI(), 0, 0
    route = release.routes["main"]
    variables = prompt_variables(release.prompts[route.prompt], {}, CLOCK)
    who = Principal("wl-00000000", "app", "bench", release.app, "production")
    for messages in requests:
        body = msgspec.json.encode({"model": "main", "messages": messages})
        request = decode_request("chat", "/v1/chat/completions", body, 0)
        rendered = render(request, release, route, provider, variables, route.max_tokens or None)
        key = key_of(request, who, release_id(manifest), "main", rendered, shared=True, secret=b"bench")
        asked += 1
        hits += key in seen
        seen.add(key)
    return Repeats(what, asked, hits)


@dataclass(frozen=True)
class Shortened:
    """Tokens over all requests of a sample: whole, as the gateway sends them, of them the notes, and what those stand
    for."""

    requests: int
    whole: float
    sent: float
    notes: float
    gone: float


def shortened(
    exchanges: Sequence[Sequence[float]], question: float, history: History, talks: list[Messages]
) -> Shortened:
    """Conversations of these sizes (tokens of each exchange), filled with what people and assistants said, turn by turn
    through the gateway's own code."""
    user, assistant = (
        _filler([m["content"] for t in talks for m in t if m["role"] == role]) for role in ("user", "assistant")
    )
    requests, whole, sent, notes, gone = 0, 0.0, 0.0, 0.0, 0.0
    for sizes in exchanges:
        messages: Messages = []
        for size in sizes:
            messages.append({"role": "user", "content": user(question)})
            before = sum(len(m["content"]) for m in messages)
            made = msgspec.json.decode(shorten(msgspec.json.encode(messages), history))
            after = sum(len(m["content"]) for m in made)
            requests, whole, sent = requests + 1, whole + before, sent + after
            if after < before:
                note = made[0]["content"].partition("\n\n")[0] if "\n\n" in made[0]["content"] else made[0]["content"]
                tail = sum(len(m["content"]) for m in messages[len(messages) - len(made) :])
                notes += len(note)
                gone += before - tail
            messages.append({"role": "assistant", "content": assistant(max(1.0, size - question))})
    return Shortened(requests, *(x / CHARACTERS_PER_TOKEN for x in (whole, sent, notes, gone)))


@dataclass(frozen=True)
class Similar:
    """What the project's own calibration says of a set of cases; `share`: of the questions, answered from the cache at
    a threshold that is shown to be good enough, 0 where none is."""

    what: str
    questions: int
    threshold: float
    hits: int
    false_hits: int
    false_upper: float
    outcome: str
    share: float


def similar(what: str, cases: Sequence[Case], embed: Callable[[str], object]) -> Similar:
    from waterline.evals.semantic import calibrate

    found = calibrate(cases, embed, MAX_FALSE, embedder="bench", case_set="bench")
    good = [x for x in found.levels if x.good]
    level = good[-1] if good else max(found.levels, key=lambda x: x.hits)
    return Similar(
        what, found.questions, level.threshold, level.hits, level.false_hits, level.false_upper, found.outcome.value,
        level.hits / found.questions if good else 0.0,
    )  # fmt: skip


def as_cases(said: Sequence[tuple[str, str]]) -> list[Case]:
    """Utterances that want the same answer where they have the same intent."""
    return [Case(id=str(n), input=text, expect=Expect(contains=(intent,))) for n, (text, intent) in enumerate(said)]


def _filler(texts: list[str]) -> Callable[[float], str]:
    """Says so many tokens, in whole sentences of the pool one after the other."""
    pool = cycle(texts)

    def say(tokens: float) -> str:
        said = ""
        while len(said) < tokens * CHARACTERS_PER_TOKEN:
            said += next(pool) + " "
        return said[: max(1, round(tokens * CHARACTERS_PER_TOKEN))]

    return say


def numbers_kept(talks: list[Messages], history: History) -> tuple[int, int]:
    """Of the numbers that users said in what a note stands for, at the last question of each dialogue: how many the
    model still gets to see, and how many there were."""
    kept = said = 0
    for talk in talks:
        messages = talk[: max(i for i, m in enumerate(talk) if m["role"] == "user") + 1]
        made = msgspec.json.decode(shorten(msgspec.json.encode(messages), history))
        if len(made) == len(messages):
            continue
        seen = {number for m in made for number in NUMBER.findall(m["content"])}
        for message in messages[: len(messages) - len(made)]:
            if message["role"] == "user":
                found = NUMBER.findall(message["content"])
                said += len(found)
                kept += sum(number in seen for number in found)
    return kept, said


def turns_of(conversations: Iterable[Messages]) -> Iterable[Messages]:
    """What is sent at each turn: everything so far."""
    for messages in conversations:
        for index, message in enumerate(messages):
            if message["role"] == "user":
                yield messages[: index + 1]
