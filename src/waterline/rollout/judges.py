"""judges/*.md: a front matter between lines of `+++`, then the rubric. [judges.<name>] of app.toml: how many live
answers one looks at. Together the judges of the environment record."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from waterline.core.judge import VARIABLES, Judge
from waterline.core.release import Route
from waterline.rollout.environment import AppToml
from waterline.rollout.folder import Folder
from waterline.rollout.keys import JUDGE, JUDGE_SAMPLE
from waterline.rollout.prompts import FENCE
from waterline.rollout.reading import Place, did_you_mean, plain_json, read_table
from waterline.rollout.routes import NAME, NAME_RULE, is_http_url

MAX_TOKENS = 256
_BRACES = re.compile(r"\{\{\s*(\w*)\s*\}\}")
_DATED = re.compile(r"\d{4}-?\d{2}-?\d{2}|-\d{3,4}\Z|@\d+")
_HOSTED = ("openai", "anthropic", "gemini")


def read_judges(
    folder: Folder, app: AppToml, routes: Mapping[str, Route], model_digests: Mapping[str, str]
) -> dict[str, Judge]:
    """Every judge that has no mistake, with its share of live answers."""
    found: dict[str, Judge] = {}
    files = [file for file in folder.files("judges") if file.endswith(".md")]
    for file in files:
        name = file.removeprefix("judges/").removesuffix(".md")
        if not NAME.match(name):
            folder.wrong(file, 0, f'"{name}" is not a good name for a judge', NAME_RULE)
        elif (judge := _read(folder, file, routes, model_digests)) is not None:
            found[name] = judge
    return {**found, **_sampled(app, found, files)}


def _read(folder: Folder, file: str, routes: Mapping[str, Route], model_digests: Mapping[str, str]) -> Judge | None:
    whole = folder.text(file)
    if whole is None:
        return None
    lines = whole.splitlines(keepends=True)
    last = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE), None)
    if not lines or lines[0].rstrip() != FENCE or last is None:
        remedy = 'Begin with +++, then question = "..." and route = "...", then +++ and the rubric'
        folder.wrong(file, 1, "has no front matter between two lines of +++", remedy)
        return None
    parsed = folder.toml(file, "".join(lines[1:last]), first_line=2)
    if parsed is None:
        return None
    table, at = parsed
    place = Place(folder, file, "front matter", lambda key: 1 + at.line_of(key) if key else 1)
    values = read_table(place, table, JUDGE)
    text = "".join(lines[last + 1 :]).strip()
    scale = values.get("scale", "yes/no")
    _check_text(folder, file, text, last + 2, scale)
    route = _route(place, values, routes, model_digests)
    if route is None or "question" not in values:
        return None
    if "{" in values["question"]:
        place.wrong("question", "the question has a brace", "Write a plain question for people, without {{variables}}")
    return Judge(question=values["question"], text=text, route=route, scale=scale)


def _check_text(folder: Folder, file: str, text: str, first_line: int, scale: str) -> None:
    used = set()
    for found in _BRACES.finditer(text):
        used.add(found[1])
        if found[1] not in VARIABLES:
            line = first_line + text.count("\n", 0, found.start())
            folder.wrong(file, line, f"{found[0]} is nothing that a judge is given", did_you_mean(found[1], VARIABLES))
    needed = ("answer", "other") if scale == "pairwise" else ("answer",)
    for name in needed:
        if name not in used:
            folder.wrong(file, first_line, f"the rubric has no {{{{{name}}}}}", "Put it where the text belongs")
    if scale != "pairwise" and "other" in used:
        folder.wrong(file, first_line, "{{other}} is for pairs", 'Remove it, or write scale = "pairwise"')


def _route(
    place: Place, values: Mapping[str, Any], routes: Mapping[str, Route], model_digests: Mapping[str, str]
) -> Route | None:
    """By value: a judge that names a route keeps the model it had when the record was made."""
    named, provider, model = (values.get(key) for key in ("route", "provider", "model"))
    if (named is None) == (provider is None and model is None):
        place.wrong("", "names neither a route nor a model, or both", 'Write route = "...", or provider and model')
        return None
    if named is not None:
        if named not in routes:
            place.wrong("route", f'there is no route "{named}"', did_you_mean(named, routes))
            return None
        base = routes[named]
        if base.embeddings or base.prompt:
            what = "answers with embeddings" if base.embeddings else "has a prompt of its own"
            place.wrong("route", f'the route "{named}" {what}', "Give the judge a plain route, or provider and model")
            return None
        base = msgspec.structs.replace(base, fallbacks=(), answers_to=(), hedge_ms=0, on_broken_stream="fail")
    elif provider is None or model is None:
        missing = "provider" if provider is None else "model"
        place.wrong("", f'has no "{missing}"', f'Write {missing} = "..."')
        return None
    else:
        if provider == "local" and model not in model_digests:
            known = ", ".join(sorted(model_digests)) or "none"
            place.wrong("model", f'there is no local model "{model}"', f"Known local models: {known}")
            return None
        address = values.get("base_url", "")
        if address and (provider == "local" or not is_http_url(address)):
            place.wrong("base_url", "base_url is not an address that this provider has", "Remove it, or correct it")
        digest = model_digests[model] if provider == "local" else ""
        base = Route(
            provider=provider, model=model, base_url=address, api_key_env=values.get("api_key_env", ""), digest=digest
        )
    params = {**{"temperature": 0.0}, **base.params}
    for key, value in values.get("params", {}).items():
        try:
            params[key] = plain_json(value)
        except ValueError as error:
            place.wrong("params", f"params.{key} cannot be sent as JSON: {error}", "Write text, or a number")
    if params.get("temperature"):
        place.folder.warnings.append(f"{place.file}: temperature is not 0, so this judge is not the same twice")
    if base.provider in _HOSTED and not base.base_url and not _DATED.search(base.model):
        place.folder.warnings.append(
            f'{place.file}: "{base.model}" has no date. If the provider answers as another version, the judge counts '
            "as changed and no longer gates; write the dated name"
        )
    length = values.get("max_tokens", base.max_tokens or MAX_TOKENS)
    return msgspec.structs.replace(base, params=params, max_tokens=length)


def _sampled(app: AppToml, judges: Mapping[str, Judge], files: list[str]) -> dict[str, Judge]:
    table = app.table.get("judges", {})
    if not isinstance(table, dict):
        app.place("judges").wrong("", '"judges" is not a table', "Write a table for each: [judges.<name>]")
        return {}
    found = {}
    for name, values in table.items():
        place = app.place("judges", name)
        if f"judges/{name}.md" not in files:
            known = [file.removeprefix("judges/").removesuffix(".md") for file in files]
            place.wrong("", f"[judges.{name}] there is no judges/{name}.md", did_you_mean(name, known))
            continue
        if not isinstance(values, dict):
            place.wrong("", f"[judges.{name}] is not a table", f"Write a table: [judges.{name}]")
            continue
        read = read_table(place, values, JUDGE_SAMPLE)
        share = _share(place, read.get("sample", "0%"))
        if name not in judges:
            continue
        judge = judges[name]
        if share and judge.scale == "pairwise":
            place.wrong("sample", "a judge of pairs has no live answers to look at", "Remove sample")
        if share and any(used in ("expected", "context") for used in _BRACES.findall(judge.text)):
            place.wrong(
                "sample", "live answers come without {{expected}} and {{context}}, which the rubric asks for",
                "Remove sample, or write a judge that needs neither",
            )  # fmt: skip
        found[name] = msgspec.structs.replace(judge, sample=share, nano_usd_per_day=read.get("usd_per_day"))
    return found


def _share(place: Place, text: str) -> float:
    number = text.removesuffix("%").strip()
    try:
        share = float(number) / 100.0
    except ValueError:
        share = -1.0
    if not text.endswith("%") or not 0.0 <= share <= 1.0:
        place.wrong("sample", f'sample is "{text}"', 'Write a share of live answers, such as sample = "5%"')
        return 0.0
    return share
