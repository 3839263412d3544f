"""How brittle is a small real model? CLINC150's utterances by domain, tidy and under every perturbation of
`evals/perturbation.py`, and the prompt in every other form of `evals/prompt_perturbation.py`.

    nice -n 15 python bench/clinc150.py --ask --minutes 50      asks; goes on where it stopped
    python bench/clinc150.py --write                            judges what was answered, writes CLINC150.md

Data: Larson et al. (2019), "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction", EMNLP;
github.com/clinc/oos-eval, CC BY 3.0; not in this repository: `--data` names the folder that holds `clinc150`. Only
numbers of utterances and the model's answers are kept (clinc150_answers.json). One utterance an intent, of the test
split; the examples in the prompt are of the training split.
"""

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random

from host import machine
from msgspec import Struct

from waterline.core.verdict import Estimate
from waterline.evals.perturbation import OPERATORS, perturb
from waterline.evals.prompt_perturbation import PROMPT_OPERATORS, perturb_prompt
from waterline.evals.robustness import Kind, Pair, Robustness, robustness
from waterline.evals.scorers import fold
from waterline.evals.statistics import wilson
from waterline.providers import models

HERE = Path(__file__).resolve().parent
ANSWERS = HERE / "clinc150_answers.json"
MODEL = "qwen2.5-coder-1.5b"
SEED, BLOCK, A_DOMAIN, AGAIN = 1, 20, 8, 2  # every second utterance is asked twice as it is
ABOUT = {
    "banking": "accounts, transfers, bills, fraud", "credit_cards": "cards, limits, rewards, credit score",
    "kitchen_and_dining": "recipes, food, restaurants", "home": "music, lists, reminders, orders, smart home",
    "auto_and_commute": "cars, traffic, routes, rides", "travel": "flights, hotels, visas, languages, luggage",
    "utility": "time, alarms, calls, weather, sums", "work": "pay, holidays, meetings, insurance, taxes",
    "small_talk": "greetings, jokes, questions about the assistant",
    "meta": "settings of the assistant, yes, no, repeat",
}  # fmt: skip


class Utterance(Struct, frozen=True):
    number: int  # in the test split
    text: str
    intent: str
    domain: str


class Ask(Struct, frozen=True):
    kind: str  # "", "again", an operator, or "prompt:" and an operator
    number: int
    prompt: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.kind}|{self.number}"


def read(data: Path) -> tuple[list[Utterance], str]:
    """The utterances, domain after domain in turn so that every block has all of them; and the prompt."""
    folder = data / "clinc150"
    splits = json.loads((folder / "data_full.json").read_text())
    domain_of = {
        i: domain for domain, intents in json.loads((folder / "domains.json").read_text()).items() for i in intents
    }
    rng = Random(f"clinc150:{SEED}")
    by_intent: dict[str, list[tuple[int, str]]] = {}
    for number, (text, intent) in enumerate(splits["test"]):
        by_intent.setdefault(intent, []).append((number, text))
    by_domain: dict[str, list[Utterance]] = {domain: [] for domain in ABOUT}
    for intent in sorted(by_intent, key=lambda _: rng.random()):
        found = by_domain[domain_of[intent]]
        if len(found) < A_DOMAIN:
            number, text = by_intent[intent][int(rng.random() * len(by_intent[intent]))]
            found.append(Utterance(number, text, intent, domain_of[intent]))
    chosen = [found[turn] for turn in range(A_DOMAIN) for found in by_domain.values()]
    examples = [next((t, d) for t, i in splits["train"] if domain_of[i] == d) for d in ABOUT]
    return chosen, prompt_of(examples)


def prompt_of(examples: list[tuple[str, str]]) -> str:
    domains = "\n".join(f"- {name}: {about}" for name, about in ABOUT.items())
    shown = "\n".join(f'"{text}" is {domain}' for text, domain in examples)
    return (
        "You are a router for a voice assistant.\n\n"
        "# Task\nClassify the user's message. Answer with the name of one of the following domains and nothing else. "
        "Do not answer the message itself. If more than one domain fits, choose the best one.\n\n"
        f"# Domains\n{domains}\n\n# Examples\n{shown}\n"
    )


def asks(chosen: list[Utterance], prompt: str) -> Iterator[Ask]:
    """Whole blocks one after the other, so that what was answered when time is up is balanced over kinds."""
    yield from (Ask("", u.number, prompt, u.text) for u in chosen)
    yield from (Ask("again", u.number, prompt, u.text) for u in chosen[::AGAIN])
    prompts = {name: perturb_prompt(prompt, name, SEED) for name in PROMPT_OPERATORS}
    for at in range(0, len(chosen), BLOCK):
        block = chosen[at : at + BLOCK]
        for name in OPERATORS:
            for u in block:
                if (changed := perturb(u.text, (name,), SEED, "en")) is not None:
                    yield Ask(name, u.number, prompt, changed.text)
        for name, other in prompts.items():
            if other is not None:
                yield from (Ask(f"prompt:{name}", u.number, other, u.text) for u in block)


def ask_all(todo: list[Ask], kept: dict[str, str], until: float) -> None:
    weights = str(models.resolve(MODEL, Path.home() / ".cache" / "waterline" / "models"))
    command = [sys.executable, "-m", "waterline.providers.local_server", "--model", weights, "--port", "0",
               "--slots", "1", "--context", "2048", "--threads", "1"]  # fmt: skip
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["address"]
        since = time.monotonic()
        for done, one in enumerate(todo, start=1):
            if time.time() > until:
                print("time is up; run it again to go on")
                break
            kept[one.key] = answer(address, one)
            if done % 50 == 0:
                save(kept)
                pace = (time.monotonic() - since) / done
                print(f"{done} of {len(todo)}, {pace:.2f} s each, {one.key}", flush=True)
    finally:
        save(kept)
        server.terminate()
        server.wait()


def answer(address: str, one: Ask) -> str:
    messages = [{"role": "system", "content": one.prompt}, {"role": "user", "content": one.text}]
    body = {"model": "m", "messages": messages, "temperature": 0, "seed": 1, "max_tokens": 8}
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as response:
        return str(json.load(response)["choices"][0]["message"]["content"])


def save(kept: dict[str, str]) -> None:
    said = {"model": MODEL, "digest": models.known()[MODEL].sha256, "answers": kept}
    ANSWERS.write_text(json.dumps(said, indent=0, ensure_ascii=False) + "\n")


# ---------------------------------------------------------------------------------------------------------- judging


def named(text: str) -> str:
    """The domain that is named, and nothing else; "" for anything else."""
    said = fold(text).strip(" .\"'`*:").replace(" ", "_")
    return said if said in ABOUT else ""


def judged(chosen: list[Utterance], kept: dict[str, str], prefix: str, preserving: bool = True) -> Robustness:
    of = {u.number: u for u in chosen}
    before = {n: named(kept[f"|{n}"]) for n in of if f"|{n}" in kept}
    pairs: list[Pair] = []
    same: list[bool] = []
    for key, text in kept.items():
        kind, number = key.rsplit("|", 1)
        u, after = of[int(number)], named(text)
        if kind == "again":
            same.append(after != before[u.number])
        wanted = kind.startswith("prompt:") if prefix else kind in OPERATORS
        if not wanted or (kind in OPERATORS and OPERATORS[kind].label_preserving is not preserving):
            continue
        pairs.append(Pair(
            case=str(number), kind=kind.removeprefix("prompt:"), before=float(before[u.number] == u.domain),
            after=float(after == u.domain), changed=after != before[u.number], tags=(u.domain,),
        ))  # fmt: skip
    return robustness(pairs, (sum(same), len(same)), SEED)


def points(value: Estimate | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value.value:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def table(kinds: tuple[Kind, ...], about: dict[str, str]) -> str:
    head = ("", "what is done", "pairs", "before", "after", "change, points", "lost, won", "p", "flips beyond, points")
    lines = [f"| {' | '.join(head)} |", "| --- | --- | ---: | ---: | ---: | --- | --- | ---: | --- |"]
    lines += [
        f"| {k.name} | {about.get(k.name, '')} | {k.n} | {k.before:.0%} | {k.after:.0%} | {points(k.drop)} | "
        f"{k.lost}, {k.won} | {k.p:.3f} | {points(k.beyond)} |"
        for k in kinds
    ]
    return "\n".join(lines)


def page(chosen: list[Utterance], kept: dict[str, str]) -> str:
    users, prompts = judged(chosen, kept, ""), judged(chosen, kept, "prompt:")
    apart = judged(chosen, kept, "", preserving=False)
    right = sum(named(kept[f"|{u.number}"]) == u.domain for u in chosen)
    base = wilson(right, len(chosen))
    about = {name: operator.about for name, operator in OPERATORS.items()}
    about_prompts = {name: operator.about for name, operator in PROMPT_OPERATORS.items()}
    noise = users.baseline
    assert noise is not None
    assert users.all is not None
    assert prompts.all is not None
    most = max(kind.n for kind in prompts.kinds)  # a form that was not asked of all says little beside one that was
    after = [kind.after for kind in prompts.kinds if kind.n == most]
    of: dict[str, set[str]] = {}
    for key in kept:
        of.setdefault(key.rsplit("|", 1)[1], set()).add(key.rsplit("|", 1)[0])
    touched = sum(bool(kinds - {"", "again"}) for kinds in of.values())
    whole = sum(any(kind.startswith("prompt:") for kind in kinds) for kinds in of.values())
    shown = [k.name for k in (*users.kinds, *prompts.kinds, *users.slices) if k.p < 0.05]
    silent = sum(not named(text) for text in kept.values())
    return f"""# CLINC150 under perturbation

`bench/clinc150.py`, {machine()}. Model: `{MODEL}` (SHA-256 `{models.known()[MODEL].sha256[:12]}`), one thread,
temperature 0. {len(chosen)} utterances of the test split, {A_DOMAIN} of each of the ten domains, one an intent; the
task is to name the domain. {whole} of them were perturbed in every way that changes them, {touched - whole} more in the
first ways only: then the time was up, so rows with more pairs hold other utterances too. {len(kept):,} answers;
{silent:,} of these name no domain and count as wrong.

**What it shows.** Rows that are significant after Holm: {", ".join(shown) or "none"}. Many tidy answers are wrong
already, and what is wrong cannot be lost: a better model has further to fall. "Worst" is the largest change seen, not
one that is shown.

* Tidy: {right} of {len(chosen)} right, {base.value:.1%} [{base.low:.1%}, {base.high:.1%}].
* The same input again: {noise.value:.1%} [{noise.low:.1%}, {noise.high:.1%}] of {noise.n} answers changed.
* All perturbations that keep the label: {points(users.all.drop)} points over {users.all.n:,} pairs.
  Worst: {users.worst}.
* The same prompt in another form: {points(prompts.all.drop)} points over {prompts.all.n:,} pairs.
  Worst: {prompts.worst}. From the best form to the worst: {100 * (max(after) - min(after)):.0f} points.

Changes are in pairs, with 95 % intervals: bootstrap clustered by utterance. p: sign test over
utterances, Holm over a table's rows.
Flips are answers that changed, less those that change when the same input is asked twice (Newcombe 1998). Intervals of
single rows are wide: with this many pairs a single perturbation is shown to matter only where it costs a lot.
`--ask` goes on from here.

## The users' inputs, the worst first

{table(users.kinds, about)}

## By domain, all of these together

{table(users.slices, ABOUT)}

## Operators that may change what is asked (not in the figures above)

{table(apart.kinds, about)}

## The prompt in another form, the worst first

{table(prompts.kinds, about_prompts)}
"""


def main() -> None:
    said = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    said.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    said.add_argument("--ask", action="store_true")
    said.add_argument("--minutes", type=float, default=60.0)
    said.add_argument("--write", action="store_true")
    given = said.parse_args()
    chosen, prompt = read(given.data)
    kept: dict[str, str] = json.loads(ANSWERS.read_text())["answers"] if ANSWERS.exists() else {}
    if given.ask:
        todo = [one for one in asks(chosen, prompt) if one.key not in kept]
        print(f"{len(todo)} to ask, {len(kept)} were asked before", flush=True)
        ask_all(todo, kept, time.time() + 60 * given.minutes)
    made = page(chosen, kept)
    if given.write:
        (HERE / "CLINC150.md").write_text(made)
    else:
        print(made)


if __name__ == "__main__":
    main()
