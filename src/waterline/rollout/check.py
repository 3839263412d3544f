"""Validates an app folder and reads it: everything that is wrong with it, at once, each with file, line and remedy.

`check` gives a Release (what can change an answer), an AppSpec (limits, prices, objectives: what cannot), the cases,
and warnings. It reads the folder and nothing else: which models and drills exist is passed in.
"""

import difflib
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from msgspec import Struct

from waterline.core.app_spec import AppSpec, PriceOverride
from waterline.core.case import Case
from waterline.core.egress import EVERYWHERE, Egress
from waterline.core.errors import AppFolderError, Mistake
from waterline.core.nearness import normal, quotes
from waterline.core.prices import PriceTable
from waterline.core.release import Release, Route
from waterline.core.savings import Cache, History, Routing
from waterline.rollout.branches import read_branches
from waterline.rollout.canary import read_canary, read_shadow
from waterline.rollout.cases import read_cases
from waterline.rollout.channels import read_channels
from waterline.rollout.connections import read_connectors, read_offered
from waterline.rollout.environment import AppToml, read_prices
from waterline.rollout.flows import read_flows, read_handbooks
from waterline.rollout.folder import Folder
from waterline.rollout.judges import read_judges
from waterline.rollout.keys import TOP, TOP_TABLES
from waterline.rollout.outside import refuse_addresses
from waterline.rollout.prompts import read_prompts
from waterline.rollout.reading import read_table
from waterline.rollout.routes import FILE, NAME, NAME_RULE, read_routes
from waterline.rollout.savings import (
    early_variables,
    read_cache,
    read_history,
    read_learned,
    read_routing,
    read_semantic,
)
from waterline.rollout.tools import read_tools

_FOLDERS = ("prompts", "tools", "flows", "cases", "knowledge", "scorers", "judges")
NOWHERE: Mapping[str, str] = {}
_FOREVER_US = 4_102_444_800_000_000  # 2100-01-01: a price of any date is a price


class Checked(Struct, frozen=True):
    release: Release
    spec: AppSpec
    cases: tuple[Case, ...]
    warnings: list[str]


def built_in_prices(overrides: tuple[PriceOverride, ...] = ()) -> PriceTable:
    """The table that ships with Waterline, with an app's own prices over it."""
    text = resources.files("waterline.core").joinpath("prices.toml").read_text(encoding="utf-8")
    return PriceTable.parse(text, overrides)


def check(
    folder: Path, *, model_digests: Mapping[str, str], known_drills: Collection[str], learned: bool = True,
    egress: Egress = EVERYWHERE, addresses: Mapping[str, str] = NOWHERE,
) -> Checked:  # fmt: skip
    """Read an app folder. Raises AppFolderError with every mistake in it, in the order of files and lines.

    `model_digests`: SHA-256 of the weights of each known local model, by name. `learned`: what was learned on the
    app's own cases (router.json, semantic.json) is read too; it is not while it is being learned. `egress`: the hosts
    that the operator allows; `addresses`: where each provider is, for routes that do not say."""
    found = Folder(folder)
    if not folder.is_dir():
        raise AppFolderError([Mistake(str(folder), 0, "is not a folder", "Name the folder that holds app.toml")])
    prompts = read_prompts(found)
    tools, others = read_tools(found)
    prices = read_prices(found)
    app = _app_toml(found)
    said = _Said()
    if app is not None:
        said = _read_app(found, app, prompts, prices, model_digests, known_drills, egress, addresses)
    connectors = _declared(app, "connectors") if app is not None else ()
    flows, more = read_flows(found, said.routes, said.contracts, connectors)
    handbooks = read_handbooks(found)
    files = {file: digest for file in (*others, *more) if (digest := found.digest(file)) is not None}
    cases = read_cases(found, said.declared or None, said.spec.judges)  # without routes, that is the mistake
    if found.mistakes:
        raise AppFolderError(sorted(found.mistakes, key=lambda m: (m.file != FILE, m.file, m.line)))
    release = Release(
        app=said.spec.name,
        purpose=said.spec.purpose,
        routes=said.routes,
        prompts=prompts,
        tools=tools,
        files=files,
        cache=said.cache,
        routing=said.routing,
        history=said.history,
        flows=flows,
        handbooks=handbooks,
        connectors=said.contracts,
    )
    if learned and app is not None:
        release = read_semantic(app, read_learned(found, release), cases)
    if found.mistakes:
        raise AppFolderError(found.mistakes)
    _warn(found, release, said.spec, cases)
    return Checked(release, said.spec, cases, found.warnings)


class _Said(Struct, frozen=True):
    """What app.toml says; nothing, if it cannot be read. `declared`: the names of all its routes, wrong ones too."""

    spec: AppSpec = AppSpec(name="")
    routes: dict[str, Route] = {}
    declared: frozenset[str] | None = None
    contracts: dict[str, Any] = {}
    cache: Cache = Cache()
    routing: Routing = Routing()
    history: History = History()


def _read_app(
    found: Folder, app: AppToml, prompts: dict[str, Any], prices: tuple[PriceOverride, ...],
    model_digests: Mapping[str, str], known_drills: Collection[str], egress: Egress, addresses: Mapping[str, str],
) -> _Said:  # fmt: skip
    top = _top(app)
    routes, declared = read_routes(found, app.table.get("models"), app.lines, prompts, model_digests)
    connections, contracts = read_connectors(app)
    environments, objectives = app.environments(), app.objectives()
    judges = read_judges(found, app, routes, model_digests)
    refuse_addresses(found, app.lines, routes, judges, egress, addresses)
    spec = AppSpec(
        name=top.get("name", ""),
        purpose=top.get("purpose", ""),
        owner=top.get("owner", ""),
        environments=environments,
        limits=app.limits(),
        objectives=objectives,
        gates=app.gates(environments, objectives),
        forecast=app.forecast(),
        trial=app.trial(known_drills),
        retention=app.retention(),
        app=app.app(),
        prices=prices,
        conversations=app.conversations(),
        channels=read_channels(app),
        branches=read_branches(found, _declared(app, "connectors")),
        connectors=connections,
        offered=read_offered(app, contracts),
        canary=read_canary(app, judges),
        shadow=read_shadow(app),
        judges=judges,
        funnel=app.funnel(),
    )
    cache, routing, history = read_cache(app), read_routing(app, routes, declared), read_history(app, routes, declared)
    app.not_yet()
    return _Said(spec, routes, declared, contracts, cache, routing, history)


def _app_toml(folder: Folder) -> AppToml | None:
    if not folder.has(FILE):
        folder.wrong(FILE, 0, "is missing", 'Write app.toml with name = "..." and a table [models.main]')
        return None
    text = folder.text(FILE)
    parsed = folder.toml(FILE, text) if text is not None else None
    return AppToml(folder, *parsed) if parsed is not None else None


def _declared(app: AppToml, table: str) -> frozenset[str]:
    found = app.table.get(table, {})
    return frozenset(found) if isinstance(found, dict) else frozenset()


def _top(app: AppToml) -> dict[str, Any]:
    values = read_table(app.place(), app.table, TOP, also=TOP_TABLES)
    name = values.get("name")
    if name is not None and not NAME.match(name):
        app.place().wrong("name", f'"{name}" is not a good name for an app', NAME_RULE)
    return values


def _warn(folder: Folder, release: Release, spec: AppSpec, cases: tuple[Case, ...]) -> None:
    """What is not wrong, but probably not meant."""
    warn = folder.warnings.append
    used = {route.prompt for route in release.routes.values()}
    texts = {name: (folder.root / "prompts" / f"{name}.md").read_text("utf-8", "replace") for name in release.prompts}
    for name in sorted(release.prompts):
        if name not in used and not any("{{>" in text and name in text for text in texts.values()):
            warn(f"prompts/{name}.md: no route and no prompt uses it")
    table = built_in_prices(spec.prices)
    limited = spec.limits.money
    for name, route in release.routes.items():
        if table.find(route.provider, route.model, _FOREVER_US) is None:
            then = "under the usd limits every call would be refused" if limited else "its cost is shown as unpriced"
            warn(f'[models.{name}] no price is known for {route.provider} "{route.model}": {then}')
    for warning in early_variables(release, table):
        warn(warning)
    for prompt in release.prompts:
        whole = " ".join(normal(line) for line in release.prompts[prompt].text.splitlines())
        if told := [case.id for case in cases if case.turns() and quotes(whole, case.asked)]:
            more = f" and {len(told) - 3} more" if len(told) > 3 else ""
            warn(
                f"prompts/{prompt}.md: has the words of {', '.join(told[:3])}{more}: such cases say little of an answer"
            )
    if not cases:
        warn("cases/: there are none, so a trial cannot judge quality")
    if "branches" in spec.trial.drills and sum(bool(b.addresses) for b in spec.branches) < 2:
        warn('[trial] drills: "branches" could not run, because fewer than two branches have an address')
    for entry in sorted(folder.root.iterdir()):
        if entry.is_dir() and entry.name not in _FOLDERS:
            near = difflib.get_close_matches(entry.name, _FOLDERS, n=1, cutoff=0.75)
            if near:
                warn(f'{entry.name}/: not read. Did you mean "{near[0]}/"?')
        elif entry.name == ".env":
            warn(".env: not read. Secrets come from the environment of the server; keep this file out of the folder")
    for name, flow in release.flows.items():
        if not any(book.split(".")[0] == flow.handbook for book in release.handbooks):
            warn(f"flows/{name}.toml: there is no knowledge/{flow.handbook}.md, so no question will be answered")
    if release.handbooks and not release.flows:
        warn("knowledge/: no flow answers from it")
