"""What the levers that look at texts do, on texts: the trace has token counts only.

Conversations are the dialogues of the Schema-Guided Dialogue set and the school's own cases, first questions the
utterances of CLINC150 (150 intents, many ways to say each). The gateway's own code decides.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from waterline.access.roles import Principal
from waterline.core.case import Case
from waterline.core.release import Release, release_id
from waterline.core.request import decode_request
from waterline.gateway.cache import key_of
from waterline.gateway.render import prompt_variables, render
from waterline.providers.openai import OpenAI

CHARACTERS_PER_TOKEN = 4.0
CLOCK = {"today": "2026-11-21", "weekday": "Saturday", "now": "2026-11-21 12:00"}  # the prompts of the school use none
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


def turns_of(conversations: Iterable[Messages]) -> Iterable[Messages]:
    """What is sent at each turn: everything so far."""
    for messages in conversations:
        for index, message in enumerate(messages):
            if message["role"] == "user":
                yield messages[: index + 1]
