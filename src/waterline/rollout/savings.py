"""What makes answers cheaper: [cache], [routing] and [history] of app.toml, router.json and semantic.json."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from waterline.core.case import Case, case_set_id
from waterline.core.difficulty import NAMES, VERSION, Difficulty
from waterline.core.language import LANGUAGES
from waterline.core.money import usd
from waterline.core.prices import PriceTable
from waterline.core.release import Release, Route, behaviour_digest
from waterline.core.savings import DOUBTS, Cache, Doubt, History, Routing, Rule, Semantic
from waterline.providers.embedder import NoEmbedder, weights_digest
from waterline.rollout import keys
from waterline.rollout.environment import AppToml
from waterline.rollout.folder import Folder
from waterline.rollout.reading import Place, did_you_mean, read_table
from waterline.rollout.routes import FILE

ROUTER_FILE = "router.json"
LONG_PROMPT_CHARS = 4096  # providers cache from about 1,024 tokens on
CHARS_PER_TOKEN = 4
LAST_DAY_US = 4_102_444_800_000_000  # 2100-01-01: a price of any date is a price
_VARIABLE = re.compile(r"\{\{\s*[A-Za-z_][A-Za-z0-9_]*\s*\}\}")
SEMANTIC_FILE = "semantic.json"
_CALIBRATE = "Run: waterline cache calibrate APP_DIR; or remove semantic = true"
_TRAIN = "Run: waterline router train APP_DIR; or remove router.json"


def read_cache(app: AppToml) -> Cache:
    values = app.read("cache")
    place = app.place("cache")
    if values and not values.get("exact"):
        key = next(iter(values))
        place.wrong(key, f"[cache] says {key}, but nothing is cached", "Write exact = true, or remove [cache]")
    values.pop("semantic", None)  # what was calibrated is read from its file
    return Cache(**values)


def read_history(app: AppToml, routes: Mapping[str, Route], declared: frozenset[str]) -> History:
    """A table that is there declares it: `max_tokens` is required."""
    if not app.table.get("history"):
        return History()
    history = History(**app.read("history"))
    place = app.place("history")
    for name, route in routes.items():
        if route.context and history.max_tokens >= route.context:
            problem = (
                f"[history] max_tokens is {history.max_tokens}, but [models.{name}] has a context of {route.context}"
            )
            place.wrong("max_tokens", problem, "Lower it: the prompt and the answer need room too")
            break
    if history.summary_route:
        _route(place, "summary_route", history.summary_route, routes, declared)
    return history


def read_routing(app: AppToml, routes: Mapping[str, Route], declared: frozenset[str]) -> Routing:
    """`declared`: every name of a route, those with mistakes too."""
    values = app.read("routing", also=("rules",))
    table = app.table.get("routing")
    if not isinstance(table, dict):
        return Routing()
    place = app.place("routing")
    name = values.get("route", Routing().route)
    _route(place, "route", name, routes, declared)
    small = values.get("small", "")
    if small:
        _route(place, "small", small, routes, declared)
        if small == name:
            place.wrong("small", f'[routing] small is the route itself, "{small}"', "Name a route of a cheaper model")
    for number, doubt in enumerate(values.get("escalate_on", ())):
        if doubt not in DOUBTS:
            line = app.lines.line_of("routing", "escalate_on", number)
            problem = f'[routing] escalate_on: "{doubt}" is none of {", ".join(DOUBTS)}'
            app.folder.wrong(FILE, line, problem, did_you_mean(doubt, DOUBTS))
    if values.get("refusals") and "refusal" not in values.get("escalate_on", DOUBTS):
        place.wrong("refusals", "[routing] refusals are declared, but not looked for", 'Add "refusal" to escalate_on')
    if any(not phrase.strip() for phrase in values.get("refusals", ())):
        place.wrong("refusals", "[routing] refusals: a phrase is empty", "Remove it: every answer contains it")
    rules = _rules(app, table.get("rules", []), name, routes, declared)
    if not rules and not small and not app.folder.mistakes:
        place.wrong("", "[routing] has neither rules nor a small route", 'Write small = "...", or [[routing.rules]]')
    escalate_on = cast("tuple[Doubt, ...]", values.get("escalate_on", DOUBTS))
    streams = values.get("escalate_streams", False)
    if streams and not escalate_on:
        place.wrong("escalate_streams", "[routing] escalate_streams, but escalate_on is empty", "Remove one of them")
    return Routing(name, small, rules, None, escalate_on, values.get("refusals", ()), streams)


def _route(place: Place, key: str, name: str, routes: Mapping[str, Route], declared: frozenset[str]) -> None:
    if name not in declared:
        place.wrong(key, f'{place.called(key)}: there is no route "{name}"', did_you_mean(name, declared))
    elif name in routes and routes[name].embeddings:
        place.wrong(key, f'{place.called(key)}: "{name}" answers embeddings', "Name a route that chats")


def _rules(
    app: AppToml, rows: Any, route: str, routes: Mapping[str, Route], declared: frozenset[str]
) -> tuple[Rule, ...]:
    if not isinstance(rows, list):
        app.place("routing").wrong("rules", '"rules" is not a list of tables', "Write [[routing.rules]]")
        return ()
    found = [_rule(app, row, number, routes, declared) for number, row in enumerate(rows)]
    return tuple(rule for rule in found if rule is not None)


def _rule(app: AppToml, row: Any, number: int, routes: Mapping[str, Route], declared: frozenset[str]) -> Rule | None:
    path = ("routing", "rules", number)
    place = Place(
        app.folder,
        FILE,
        "[[routing.rules]]",
        lambda key: app.lines.line_of(*path, key) if key else app.lines.line_of(*path),
    )
    if not isinstance(row, dict):
        place.wrong("", "a rule is not a table", "Write [[routing.rules]]")
        return None
    values = read_table(place, row, keys.RULE)
    for language in values.get("languages", ()):
        if language not in LANGUAGES:
            known = ", ".join(LANGUAGES)
            place.wrong("languages", f'the language "{language}" cannot be told', f"Write some of {known}")
    for key in ("languages", "keywords", "tags"):
        if key in values and not all(text.strip() for text in values[key] or ("",)):
            place.wrong(key, f"{place.called(key)} is empty or has an empty text", "Remove it, or write what it means")
    low, high = values.get("min_chars"), values.get("max_chars")
    if low is not None and high is not None and low > high:
        place.wrong("min_chars", f"min_chars ({low}) is more than max_chars ({high})", "No text fits: lower min_chars")
    if "to" not in values:
        return None
    _route(place, "to", values["to"], routes, declared)
    if len(values) == 1:
        place.wrong("", "a rule without a condition takes every request", "Add one: keywords, max_chars, tools ...")
    return Rule(**values)


def early_variables(release: Release, prices: PriceTable) -> Iterator[str]:
    """What a variable that stands early in a long prompt costs: providers cache only what stands before it."""
    for name, prompt in release.prompts.items():
        first = _VARIABLE.search(prompt.text)
        after = len(prompt.text) - first.start() if first is not None else 0
        if first is None or len(prompt.text) < LONG_PROMPT_CHARS or after < len(prompt.text) // 4:
            continue
        tokens = after // CHARS_PER_TOKEN
        costs = [
            f'{usd(tokens * 1000 * (price.input - price.cached_input) // 1_000_000)} USD on "{route.model}"'
            for route in release.routes.values()
            if route.prompt == name
            and (price := prices.find(route.provider, route.model, LAST_DAY_US))
            and price.input > price.cached_input
        ]
        cost = f", {' and '.join(dict.fromkeys(costs))} a thousand requests" if costs else ""
        yield (
            f"prompts/{name}.md: {first.group()} stands at character {first.start()} of {len(prompt.text)}, so a "
            f"provider cannot cache the {tokens} tokens after it{cost}. Put what changes at the end"
        )


def read_semantic(app: AppToml, release: Release, cases: Sequence[Case]) -> Release:
    """The release with what was calibrated for `semantic = true`. Without a calibration it is a mistake."""
    folder, table = app.folder, app.table.get("cache")
    if not isinstance(table, dict) or table.get("semantic") is not True:
        return release
    if not folder.has(SEMANTIC_FILE):
        problem = "[cache] semantic has no calibration: how similar two questions must be is not known for this app"
        app.place("cache").wrong("semantic", problem, _CALIBRATE)
        return release
    text = folder.text(SEMANTIC_FILE)
    if text is None:
        return release
    try:
        found = msgspec.json.decode(text.encode(), type=Semantic)
        weights = weights_digest()
    except msgspec.MsgspecError as error:
        folder.wrong(SEMANTIC_FILE, 1, f"is no calibration: {error}", _CALIBRATE)
        return release
    except NoEmbedder as error:
        folder.wrong(SEMANTIC_FILE, 1, "cannot be checked", str(error))
        return release
    if found.embedder != weights:
        folder.wrong(SEMANTIC_FILE, 1, "was calibrated with other embeddings than those installed here", _CALIBRATE)
    elif found.cases != case_set_id(cases):
        folder.wrong(SEMANTIC_FILE, 1, "was calibrated on other cases than those in cases/", _CALIBRATE)
    return msgspec.structs.replace(release, cache=msgspec.structs.replace(release.cache, semantic=found))


def read_learned(folder: Folder, release: Release) -> Release:
    """The release with the learned router of router.json, if there is one."""
    routing = release.routing
    if not folder.has(ROUTER_FILE):
        if routing.small:
            folder.warnings.append(
                f'[routing] small = "{routing.small}": nothing is learned yet, so only rules route. '
                "Run: waterline router train APP_DIR"
            )
        return release
    if not routing.small:
        problem = "is there, but app.toml names no small route"
        folder.wrong(ROUTER_FILE, 0, problem, 'Write [routing] small = "...", or remove router.json')
        return release
    text = folder.text(ROUTER_FILE)
    if text is None:
        return release
    try:
        learned = msgspec.json.decode(text.encode(), type=Difficulty)
    except msgspec.MsgspecError as error:
        folder.wrong(ROUTER_FILE, 1, f"is no learned router: {error}", _TRAIN)
        return release
    if learned.version != VERSION or len(learned.weights) != len(NAMES):
        folder.wrong(ROUTER_FILE, 1, f"was learned for features of version {learned.version}, not {VERSION}", _TRAIN)
    elif learned.routes != behaviour_digest(release, (routing.route, routing.small)):
        problem = f'was learned with another "{routing.route}" or "{routing.small}" (model, prompt or parameters)'
        folder.wrong(ROUTER_FILE, 1, problem, _TRAIN)
    return msgspec.structs.replace(release, routing=msgspec.structs.replace(routing, learned=learned))
