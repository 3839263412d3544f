"""Asks the school's cases of two real models, once each, and keeps the answers in cost_answers.json.

    nice python bench/cost_answers.py           at most 60 calls a model; continues where it stopped

`small` and `large` stand in for a provider's small and large model. `free` is the large model with the prompt's rule
and examples of short answers taken out: what answers are like when nobody asks for short ones. Scores are not kept:
they are computed from the answers whenever they are read, with the project's own scorers.
"""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from waterline.core.case import Case
from waterline.core.release import Release, parse_release
from waterline.evals.cases import load_cases, sample
from waterline.gateway.render import fill
from waterline.providers import models
from waterline.rollout.build import build
from waterline.trials import DRILLS

HERE = Path(__file__).resolve().parent
SCHOOL = HERE.parent / "examples" / "school"
ANSWERS = HERE / "cost_answers.json"
LARGE, SMALL = "qwen2.5-coder-1.5b", "smollm2-135m"
CASES, FREE_CASES, SEED = 44, 16, 1
SHORT_RULE = ", one or two short sentences, no lists"
LONGEST = {"small": 64, "large": 64, "free": 300}


def school() -> tuple[Release, tuple[Case, ...]]:
    built = build(SCHOOL, model_digests={s.name: s.sha256 for s in models.known().values()}, known_drills=DRILLS)
    cases = tuple(c for c in load_cases(SCHOOL / "cases") if c.route == "main")
    return parse_release(built.manifest), sample(cases, CASES, SEED)


def prompt_of(release: Release, kind: str) -> str:
    prompt = release.prompts["agent"]
    text = fill(prompt, dict(prompt.defaults))
    if kind == "free":
        assert SHORT_RULE in text, "the school's prompt no longer has its rule of short answers"
        text = text.replace(SHORT_RULE, "").partition("EXAMPLES")[0].rstrip() + "\n"
    return text


def asked(prompt: str, case: Case) -> list[dict[str, Any]]:
    return [{"role": "system", "content": prompt}, *({"role": m.role, "content": m.content} for m in case.turns())]


def ask(address: str, messages: list[dict[str, Any]], max_tokens: int) -> dict[str, Any]:
    """One plain answer of a local server, the likeliest words."""
    body = {"model": "m", "messages": messages, "temperature": 0, "seed": 1, "max_tokens": max_tokens}
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=1800) as response:
        answer = json.load(response)
    choice = answer["choices"][0]
    return {
        "text": choice["message"]["content"], "finish_reason": choice["finish_reason"],
        "tokens_in": answer["usage"]["prompt_tokens"], "tokens_out": answer["usage"]["completion_tokens"],
    }  # fmt: skip


def main() -> None:
    release, cases = school()
    kept = json.loads(ANSWERS.read_text()) if ANSWERS.exists() else {"answers": {}}
    kept["models"] = {"small": SMALL, "large": LARGE, "free": LARGE}
    kept["digests"] = {name: models.known()[name].sha256 for name in (SMALL, LARGE)}
    kept["asked_on"] = time.strftime("%Y-%m-%d", time.gmtime())
    folder = Path.home() / ".cache" / "waterline" / "models"
    for model, kinds in ((SMALL, ("small",)), (LARGE, ("large", "free"))):
        weights = str(models.resolve(model, folder))
        command = [sys.executable, "-m", "waterline.providers.local_server", "--model", weights,
                   "--port", "0", "--slots", "1", "--context", "2048", "--threads", "1"]  # fmt: skip
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert server.stdout is not None
            address = json.loads(server.stdout.readline())["address"]
            for kind in kinds:
                answers = kept["answers"].setdefault(kind, {})
                for case in cases[: FREE_CASES if kind == "free" else CASES]:
                    if case.id in answers:
                        continue
                    answers[case.id] = ask(address, asked(prompt_of(release, kind), case), LONGEST[kind])
                    ANSWERS.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
                    print(f"{kind}: {len(answers)}", flush=True)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
