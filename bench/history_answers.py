"""Asks the cases of history_cases.py of a real model: with the whole conversation, with a note made without a model,
and with a summary by the model itself. Keeps what was sent and answered in history_answers.json.

    nice python bench/history_answers.py [ARM...]     continues where it stopped; an hour where others use the machine

The gateway's own code shortens, and asks for the summary in its own words. Scores are not kept: they are computed from
the answers whenever they are read, with the project's own scorers.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from cost_answers import ask
from history_cases import Talk, talks

from waterline.core.savings import History
from waterline.gateway.history import shorten, transcript
from waterline.gateway.summary import task
from waterline.providers import models

ANSWERS = Path(__file__).resolve().parent / "history_answers.json"
MODEL = "qwen2.5-coder-1.5b"
HISTORY = History(max_tokens=300, keep_last=2, summary_route="main")
ARMS = ("whole", "note", "summary")
LONGEST = 40


def sent(turns: Any, arm: str, summary: str) -> list[dict[str, str]]:
    """What reaches the model."""
    whole = msgspec.json.encode(turns)
    shorter = whole if arm == "whole" else shorten(whole, HISTORY, "" if arm == "note" else summary)
    assert (shorter == whole) == (arm == "whole"), "the conversation is too short to be shortened"
    made: list[dict[str, str]] = msgspec.json.decode(shorter)
    return made


def asked(address: str, talk: Talk, arm: str, kept: dict[str, Any]) -> None:
    """One conversation in one way, unless it is kept already."""
    summary = ""
    cases = (*talk.early, *talk.recent)
    if not arm.startswith(("whole", "note")):
        wanted = task(transcript(msgspec.json.encode(cases[0].turns()), HISTORY), HISTORY)
        made = kept["summaries"].get(talk.id)
        if made is None or made["task"] != wanted:
            told = ask(address, [{"role": "user", "content": wanted}], HISTORY.summary_tokens)
            kept["summaries"][talk.id] = made = {"task": wanted, **told}
        summary = made["text"].strip()
    answers = kept["answers"].setdefault(arm, {})
    for case in cases:
        messages = sent(case.turns(), arm, summary)
        if case.id not in answers or answers[case.id]["sent"] != messages[:-1]:
            answers[case.id] = {"sent": messages[:-1], **ask(address, messages, LONGEST)}


def main() -> None:
    arms = sys.argv[1:] or list(ARMS)
    kept = json.loads(ANSWERS.read_text()) if ANSWERS.exists() else {"answers": {}, "summaries": {}}
    kept |= {"model": MODEL, "digest": models.known()[MODEL].sha256, "asked_on": time.strftime("%Y-%m-%d")}
    weights = str(models.resolve(MODEL, Path.home() / ".cache" / "waterline" / "models"))
    command = [sys.executable, "-m", "waterline.providers.local_server", "--model", weights,
               "--port", "0", "--slots", "1", "--context", "2048", "--threads", "1"]  # fmt: skip
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["address"]
        for talk in sorted(talks(), key=lambda t: t.id[-1]):  # what there is when it is stopped is of every language
            for arm in arms:
                asked(address, talk, arm, kept)
                ANSWERS.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
                print(f"{talk.id} {arm}", flush=True)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
