"""cases/*.jsonl: one Case a line. They are checked with the folder and read by trials; they are not in the release."""

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

import msgspec

from waterline.core.case import Case, Expect
from waterline.core.judge import Judge
from waterline.rollout.folder import MAX_CASES_BYTES, Folder
from waterline.rollout.keys import CASE, EXPECT
from waterline.rollout.reading import did_you_mean

_decode = msgspec.json.Decoder(Case).decode
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `\$(.*)`)?")
_FUNCTION = re.compile(r"[a-z_][a-z0-9_]*:[A-Za-z_]\w*\Z")
_LANGUAGE = re.compile(r"[a-z]{2}\Z")


def read_cases(
    folder: Folder, routes: Collection[str] | None, judges: Mapping[str, Judge] = MappingProxyType({})
) -> tuple[Case, ...]:
    """Every good case. `routes`: those of the app; None when app.toml itself could not be read."""
    found: list[Case] = []
    places: dict[str, str] = {}
    for file in folder.files("cases"):
        if not file.endswith(".jsonl"):
            folder.warnings.append(f"{file}: not read (cases are in files that end in .jsonl)")
            continue
        text = folder.text(file, MAX_CASES_BYTES, secrets=False)
        for number, line in enumerate((text or "").split("\n"), 1):
            if line.strip():
                case = _read(folder, file, number, line)
                if case is not None:
                    _check(folder, file, number, case, routes, places)
                    _check_judges(folder, file, number, case, judges)
                    found.append(case)
    return tuple(found)


def _read(folder: Folder, file: str, number: int, line: str) -> Case | None:
    try:
        return _decode(line)
    except msgspec.ValidationError as error:
        unknown = _UNKNOWN.search(str(error))
        if unknown:
            known = EXPECT if unknown.group(2) else CASE
            problem, remedy = f'unknown field "{unknown.group(1)}"', did_you_mean(unknown.group(1), known)
        else:
            problem, remedy = f"not a case: {error}", 'Write {"id": "...", "input": "...", "expect": {...}}'
    except (msgspec.DecodeError, RecursionError) as error:
        problem, remedy = f"JSON syntax: {error}", "Write one JSON object a line"
    folder.wrong(file, number, problem, remedy)
    return None


def _check(
    folder: Folder, file: str, number: int, case: Case, routes: Collection[str] | None, places: dict[str, str]
) -> None:
    def wrong(problem: str, remedy: str) -> None:
        folder.wrong(file, number, f'case "{case.id}": {problem}', remedy)

    if not case.id.strip():
        wrong("the id is empty", "Give every case an id of its own")
    elif case.id in places:
        wrong(f"there is one with this id at {places[case.id]}", "Give every case an id of its own")
    else:
        places[case.id] = f"{file}:{number}"
    if (case.input is None) == (case.messages is None):
        both = "both" if case.input is not None else "neither"
        wrong(f'has {both} of "input" and "messages"', "Write exactly one of them")
    elif case.messages is not None and (not case.messages or case.messages[-1].role != "user"):
        wrong("the last message is not the user's", 'End "messages" with {"role": "user", "content": "..."}')
    if routes is not None and case.route not in routes:
        wrong(f'there is no route "{case.route}"', did_you_mean(case.route, routes))
    if case.expect == Expect():
        wrong("expects nothing, so it cannot fail", f"Write one of {', '.join(EXPECT)} into expect")
    if case.expect.regex is not None:
        try:
            re.compile(case.expect.regex)
        except re.error as error:
            wrong(f"the regex is wrong: {error}", "See the syntax of Python's re module")
    if case.expect.language is not None and not _LANGUAGE.match(case.expect.language):
        wrong(f'"{case.expect.language}" is not a language', 'Write its ISO 639-1 code, such as "pt"')
    if case.expect.max_words is not None and case.expect.max_words < 1:
        wrong(f"max_words is {case.expect.max_words}", "Write a number above 0")
    if case.expect.policy is not None and not case.expect.policy.rules:
        wrong("policy has no rules", 'Write {"rules": ["no_personal_data"]}')
    if case.expect.similar is not None and (not case.expect.similar.to or not 0 < case.expect.similar.least <= 1):
        wrong("similar has no texts, or a least outside of 0 to 1", 'Write {"to": ["..."], "least": 0.6}')
    grounded = case.expect.grounded
    if grounded is not None and not (grounded.text.strip() and grounded.by and 0 < grounded.least <= 1):
        wrong("grounded has no text, no way, or a least outside of 0 to 1", 'Write {"text": "..."}')
    if case.expect.number is not None and case.expect.number.tolerance < 0:
        wrong(f"the tolerance is {case.expect.number.tolerance:g}", "Write 0 or more")
    for name, most in (("max_ms", case.expect.max_ms), ("max_usd", case.expect.max_usd)):
        if most is not None and most <= 0:
            wrong(f"{name} is {most:g}", "Write a number above 0")
    for name in case.expect.python:
        file = f"scorers/{name.partition(':')[0]}.py"
        if not _FUNCTION.match(name):
            wrong(f'"{name}" is no name of a scorer', 'Write "file:function" for scorers/file.py')
        elif not folder.has(file):
            wrong(f'"{name}" is named, but there is no {file}', "Write it, or correct the name")


def _check_judges(folder: Folder, file: str, number: int, case: Case, judges: Mapping[str, Judge]) -> None:
    for name, given in case.expect.judge.items():
        judge = judges.get(name)
        if judge is None and folder.has(f"judges/{name}.md"):
            continue  # its own mistake is told
        if judge is None:
            folder.wrong(file, number, f'case "{case.id}": there is no judge "{name}"', did_you_mean(name, judges))
            continue
        if judge.scale != "yes/no":
            remedy = "Name a yes/no judge; pairs are compared with: waterline judge compare"
            folder.wrong(file, number, f'case "{case.id}": the judge "{name}" compares pairs', remedy)
        for field in ("expected", "context"):
            if "{{" + field in judge.text.replace("{{ ", "{{") and not getattr(given, field):
                problem = f'case "{case.id}": the judge "{name}" needs "{field}"'
                folder.wrong(file, number, problem, f'Write {{"judge": {{"{name}": {{"{field}": "..."}}}}}}')
