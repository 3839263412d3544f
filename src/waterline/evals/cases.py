"""The cases of an app: read with their mistakes, named by content, sampled by seed."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from waterline.core.case import Case, Expect
from waterline.core.errors import AppFolderError, Mistake
from waterline.core.language import LANGUAGES
from waterline.evals.scorers import fold
from waterline.evals.scorers.python import NAME as FUNCTION

MAX_FILE_BYTES = 32 * 1024 * 1024
_WHOLE = 10**12  # integers, so that a sum does not depend on its order
_EXAMPLE = '{"id": "hours-1", "input": "When do you open?", "expect": {"contains": ["8:00"]}}'


def load_cases(path: Path) -> tuple[Case, ...]:
    """All cases of a folder (its *.jsonl, by name) or of one file. Raises AppFolderError with every mistake at once.

    An existing folder without cases gives an empty tuple: then a trial says INCONCLUSIVE, never PASS.
    """
    cases, mistakes = read_cases(path)
    if mistakes:
        raise AppFolderError(mistakes)
    return cases


def read_cases(path: Path) -> tuple[tuple[Case, ...], list[Mistake]]:
    """As `load_cases`, with the mistakes beside the cases that are good. Files are named as "folder/file"."""
    if path.is_dir():
        files = sorted(path.glob("*.jsonl"))
    elif path.is_file():
        files = [path]
    else:
        return (), [Mistake(path.name, 0, "there is no such file or folder", "Create it, with one case a line.")]
    cases: list[Case] = []
    mistakes: list[Mistake] = []
    first_seen: dict[str, str] = {}
    for file in files:
        name = f"{file.parent.name}/{file.name}"
        try:
            data = _read(file)
        except OSError as error:
            mistakes.append(Mistake(name, 0, f"it cannot be read: {error.strerror}", "Make it a readable file."))
            continue
        if data is None:
            limit = f"it is larger than {MAX_FILE_BYTES // 2**20} MiB"
            mistakes.append(Mistake(name, 0, limit, "Split it into several files."))
            continue
        found, wrong = parse_cases(data, name)
        mistakes += wrong
        for line, case in found:
            if case.id in first_seen:
                problem = f'the id "{case.id}" is taken by {first_seen[case.id]}'
                mistakes.append(Mistake(name, line, problem, "Give every case an id of its own."))
                continue
            first_seen[case.id] = f"{name}:{line}"
            cases.append(case)
    return tuple(cases), mistakes


def parse_cases(data: bytes, file: str) -> tuple[list[tuple[int, Case]], list[Mistake]]:
    """The cases of one JSON Lines text, with their lines (1-based); blank lines are skipped. Mistakes name `file`."""
    found: list[tuple[int, Case]] = []
    mistakes: list[Mistake] = []
    for line, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            raw.decode("utf-8")
            case = msgspec.json.decode(raw, type=Case)
        except UnicodeDecodeError as error:
            problem, remedy = f"byte {error.start + 1} of the line is not UTF-8", "Save the file as UTF-8."
        except msgspec.ValidationError as error:
            problem, remedy = f"not a case: {error}", f"Write it like {_EXAMPLE}."
        except msgspec.DecodeError as error:
            problem, remedy = f"not JSON: {error}", f"Write one JSON object a line, like {_EXAMPLE}."
        except RecursionError:
            problem, remedy = "nested too deeply", f"Write it like {_EXAMPLE}."
        else:
            wrong = wrong_with(case)
            mistakes += [Mistake(file, line, f'case "{case.id}": {what}', how) for what, how in wrong]
            if not wrong:
                found.append((line, case))
            continue
        mistakes.append(Mistake(file, line, problem, remedy))
    return found, mistakes


def sample(cases: Sequence[Case], n: int, seed: int) -> tuple[Case, ...]:
    """At most n cases, so that every route and tag is there while n allows, in order of id.

    Each case has a rank of its own, SHA-256 of seed and id. While a route or tag is missing, the next case is the one
    that brings the rarest missing ones (the largest sum of 1/size over them; ties: the lowest rank); the rest are the
    lowest ranks. So the order of the file does not matter, and a case more or less moves only a few members of the
    sample. Not a simple random sample: rare tags weigh more. See `uncovered` for what n was too small for.
    """
    ranked = sorted(cases, key=lambda case: (_rank(case, seed), case.id))
    size = Counter(stratum for case in ranked for stratum in _strata(case))
    missing = set(size)
    chosen: dict[str, Case] = {}
    while missing and len(chosen) < min(n, len(ranked)):
        case = max(ranked, key=lambda case: sum(_WHOLE // size[stratum] for stratum in _strata(case) & missing))
        chosen[case.id] = case
        missing -= _strata(case)
    for case in ranked:
        if len(chosen) >= n:
            break
        chosen.setdefault(case.id, case)
    return tuple(chosen[key] for key in sorted(chosen))


def uncovered(chosen: Iterable[Case], cases: Iterable[Case]) -> tuple[str, ...]:
    """Tags and routes ("route:main") of `cases` that `chosen` has no case of: what a short trial did not look at."""
    have = {stratum for case in chosen for stratum in _strata(case)}
    return tuple(sorted({stratum for case in cases for stratum in _strata(case)} - have))


def _strata(case: Case) -> set[str]:
    return {f"route:{case.route}", *case.tags}


def _rank(case: Case, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{case.id}".encode()).digest()


def _read(file: Path) -> bytes | None:
    with file.open("rb") as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    return data if len(data) <= MAX_FILE_BYTES else None


def wrong_with(case: Case) -> list[tuple[str, str]]:
    """What a type cannot say: (problem, remedy) pairs."""
    wrong: list[tuple[str, str]] = []
    if not case.id.strip():
        wrong.append(("the id is empty", "Give every case an id of its own."))
    if (case.input is None) == (case.messages is None):
        wrong.append(("exactly one of input and messages is needed", "Keep the one that you mean."))
    elif not case.turns() or not case.turns()[-1].content.strip():
        wrong.append(("there is nothing to send", "Write what the user says."))
    elif case.turns()[-1].role != "user":
        wrong.append(("the last message is not the user's", 'End with {"role": "user", "content": ...}.'))
    if not case.route.strip() or any(not tag.strip() for tag in case.tags):
        wrong.append(("the route or a tag is empty", "Name it or leave it out."))
    return wrong + _wrong_with_expect(case.expect)


def _wrong_with_expect(expect: Expect) -> list[tuple[str, str]]:
    wrong: list[tuple[str, str]] = []
    if expect == Expect():
        wrong.append(("it expects nothing, so it cannot fail", 'Say in "expect" what a good answer holds.'))
    if any(not fold(text) for text in (*expect.contains, *expect.contains_any, *expect.not_contains)):
        wrong.append(("a text to look for is empty", "Write the text or leave it out."))
    unwanted = {fold(text) for text in expect.not_contains}
    if any(bad and bad in fold(text) for text in expect.contains for bad in unwanted):
        wrong.append(("no answer can hold both contains and not_contains", "Take the text out of one of them."))
    if expect.regex is not None:
        try:
            re.compile(expect.regex)
        except (re.error, RecursionError, OverflowError) as error:
            wrong.append((f"the regex does not compile: {error}", "Write a Python regular expression."))
    if expect.language is not None and expect.language not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        wrong.append((f'the language "{expect.language}" cannot be told', f"Write one of {known}, or use contains."))
    if expect.max_words is not None and expect.max_words < 1:
        wrong.append((f"max_words is {expect.max_words}", "Write 1 or more."))
    if any(not fold(text) for text in expect.equals):
        wrong.append(("a text in equals is empty", "Write the text or leave it out."))
    if expect.number is not None and expect.number.tolerance < 0:
        wrong.append((f"the tolerance is {expect.number.tolerance:g}", "Write 0 or more."))
    if expect.similar is not None and (not expect.similar.to or not 0 < expect.similar.least <= 1):
        wrong.append(("similar has no texts, or a least outside of 0 to 1", 'Write {"to": ["..."], "least": 0.6}.'))
    grounded = expect.grounded
    if grounded is not None and not (grounded.text.strip() and grounded.by and 0 < grounded.least <= 1):
        wrong.append(("grounded has no text, no way, or a least outside of 0 to 1", 'Write {"text": "..."}.'))
    for name, most in (("max_ms", expect.max_ms), ("max_usd", expect.max_usd)):
        if most is not None and most <= 0:
            wrong.append((f"{name} is {most:g}", "Write more than 0."))
    wrong += [
        (f'"{name}" is no name of a scorer', 'Write "file:function" for scorers/file.py.')
        for name in expect.python
        if not FUNCTION.match(name)
    ]
    return wrong
