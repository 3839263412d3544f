"""[models.<route>] of app.toml: what `model` in a request may name, and where a call goes."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from waterline.core.release import Prompt, Route
from waterline.rollout.folder import SECRET_REMEDY, SECRETS, Folder
from waterline.rollout.keys import ROUTE
from waterline.rollout.prompts import prompt_name
from waterline.rollout.reading import Place, did_you_mean, plain_json, read_table
from waterline.rollout.toml_lines import TomlLines
from waterline.rollout.tools import check_schema, is_strict, read_json

FILE = "app.toml"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
NAME_RULE = "Use lower-case letters, digits, - and _ (at most 63, a letter or digit first)"
BETA = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# What the request or another key of the route says; in params it would be ignored or contradict.
_NOT_PARAMS = {
    "model": "the route's own key model",
    "messages": "the request",
    "input": "the request",
    "stream": "the request",
    "stream_options": "the request",
    "max_tokens": "the route's own key max_tokens",
    "max_completion_tokens": "the route's own key max_tokens",
}


def read_routes(
    folder: Folder,
    models: Any,
    lines: TomlLines,
    prompts: Mapping[str, Prompt],
    model_digests: Mapping[str, str],
) -> tuple[dict[str, Route], frozenset[str]]:
    """The good routes, and every name that was declared (so that a mistake in one is not told again elsewhere)."""
    if not isinstance(models, dict) or not models:
        folder.wrong(
            FILE,
            lines.line_of("models"),
            "declares no model",
            'Write a table: [models.main] with provider = "openai" and model = "gpt-4o-mini"',
        )
        return {}, frozenset()
    reader = _Reader(folder, lines, prompts, model_digests)
    routes = {}
    for name, table in models.items():
        route = reader.route(name, table)
        if route is not None:
            routes[name] = route
    declared = frozenset(models)
    reader.fallbacks(routes, declared)
    reader.second_routes(routes)
    reader.names(routes, declared)
    return routes, declared


class _Reader:
    def __init__(
        self, folder: Folder, lines: TomlLines, prompts: Mapping[str, Prompt], model_digests: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.lines = lines
        self.prompts = prompts
        self.model_digests = model_digests

    def wrong(self, route: str, key: str, problem: str, remedy: str) -> None:
        line = self.lines.line_of("models", route, key) if key else self.lines.line_of("models", route)
        self.folder.wrong(FILE, line, f"[models.{route}] {problem}", remedy)

    def route(self, name: str, table: Any) -> Route | None:
        if not NAME.match(name):
            self.wrong(name, "", f'"{name}" is not a good name for a route', NAME_RULE)
        if not isinstance(table, dict):
            self.wrong(name, "", "is not a table", f"Write a table: [models.{name}]")
            return None
        place = Place(
            self.folder,
            FILE,
            f"[models.{name}]",
            lambda key: self.lines.line_of("models", name, key) if key else self.lines.line_of("models", name),
        )
        values = read_table(place, table, ROUTE)
        self._provider(name, values)
        self._address(name, values)
        self._prompt(name, values)
        self._times(name, values)
        params = self._params(name, values)
        if "provider" not in values or "model" not in values:
            return None
        values.pop("response_schema", None)  # it is in params now
        digest = self.model_digests.get(values["model"], "") if values["provider"] == "local" else ""
        return Route(**{**values, "params": params, "digest": digest})

    def _provider(self, name: str, values: dict[str, Any]) -> None:
        provider, model = values.get("provider"), values.get("model")
        if provider == "local" and model is not None and model not in self.model_digests:
            known = ", ".join(sorted(self.model_digests)) or "none"
            self.wrong(name, "model", f'there is no local model "{model}"', f"Known local models: {known}")
        if provider == "gemini" and model is not None and "/" in model:
            short = model.rsplit("/", 1)[-1]
            self.wrong(name, "model", f'"{model}" is a path, not the name of a model', f'Write model = "{short}"')
        if values.get("reproducible") and provider not in ("local", None):
            self.wrong(
                name,
                "reproducible",
                f'a route of provider "{provider}" cannot be reproducible',
                'Remove it: only a "local" model answers the same twice',
            )
        if values.get("prompt_cache") and (provider not in ("openai", "anthropic", None) or values.get("embeddings")):
            what = "embeddings have" if values.get("embeddings") else f'provider "{provider}" has'
            self.wrong(name, "prompt_cache", f"{what} no prompt cache that a request can steer", "Remove it")
        if values.get("betas") and provider not in ("anthropic", None):
            self.wrong(name, "betas", f'provider "{provider}" knows no betas', "Remove it: they are Anthropic's")
        for beta in values.get("betas", ()):
            if not BETA.fullmatch(beta):
                self.wrong(name, "betas", f'"{beta}" is no name of a beta', 'Write betas = ["context-1m-2025-08-07"]')
        if values.get("embeddings") and provider == "anthropic":
            self.wrong(name, "embeddings", 'provider "anthropic" offers no embeddings', "Choose another provider")

    def _address(self, name: str, values: dict[str, Any]) -> None:
        variable = values.get("api_key_env")
        if variable is not None and not _VARIABLE_NAME.match(variable):
            looks_secret = SECRETS.search(variable) is not None
            problem = "api_key_env holds a secret" if looks_secret else "api_key_env is not the name of a variable"
            self.wrong(name, "api_key_env", problem, f'{SECRET_REMEDY}, such as api_key_env = "OPENAI_API_KEY"')
        address = values.get("base_url")
        if not address:
            return
        if values.get("provider") == "local":
            self.wrong(name, "base_url", "a local model has no base_url", "Remove it")
        elif not is_http_url(address):
            self.wrong(
                name,
                "base_url",
                f'base_url "{_without_userinfo(address)}" is not an address',
                'Write base_url = "https://host/v1", without user, password, query or fragment',
            )

    def _prompt(self, name: str, values: dict[str, Any]) -> None:
        written = values.pop("prompt", None)  # put back by its name, if it is good
        if not written:
            return
        prompt = prompt_name(written)
        file = f"prompts/{prompt}.md"
        if not self.folder.inside(file):
            self.wrong(name, "prompt", f'prompt "{written}" leads out of the app folder', "Name a file of prompts/")
        elif not self.folder.has(file):
            self.wrong(name, "prompt", f"there is no {file}", did_you_mean(prompt, self.prompts))
        elif values.get("embeddings"):
            self.wrong(name, "prompt", "embeddings have no prompt", "Remove prompt")
        else:
            values["prompt"] = prompt

    def _times(self, name: str, values: dict[str, Any]) -> None:
        total = values.get("total_s", Route("openai", "").total_s)
        for key in ("first_token_s", "idle_s"):
            if values.get(key, 0.0) > total:
                self.wrong(name, key, f"{key} is longer than total_s ({total:g} s)", f"Raise total_s, or lower {key}")
        if 0 < values.get("keep_alive_s", 0.0) < 1:
            self.wrong(
                name, "keep_alive_s", "keep_alive_s is shorter than a second", "Write 1 or more; 15 suits most proxies"
            )

    def _params(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for key, value in values.get("params", {}).items():
            line = self.lines.line_of("models", name, "params", key)
            where = f"[models.{name}] params.{key}"
            if key in _NOT_PARAMS:
                self.folder.wrong(FILE, line, f"{where} is said by {_NOT_PARAMS[key]}", f"Remove {key} from params")
                continue
            try:
                params[key] = plain_json(value)
            except ValueError as error:
                self.folder.wrong(FILE, line, f"{where} cannot be sent as JSON: {error}", "Write text, or a number")
        schema = values.get("response_schema")
        if schema is not None:
            found = self._schema(name, schema)
            if "response_format" in params:
                self.wrong(
                    name, "response_schema", "response_schema and params.response_format say the same", "Remove one"
                )
            elif found is not None:
                params["response_format"] = found
        return params

    def _schema(self, name: str, file: str) -> dict[str, Any] | None:
        if not self.folder.inside(file):
            problem = f'response_schema "{file}" leads out of the app folder'
            self.wrong(name, "response_schema", problem, "Write the path from the app folder")
            return None
        if not self.folder.has(file):
            self.wrong(name, "response_schema", f"there is no {file}", "Write the path from the app folder")
            return None
        found = read_json(self.folder, file)
        if found is None:
            return None
        schema, text = found
        check_schema(self.folder, file, text, schema, top="object")
        stem = file.rsplit("/", 1)[-1].split(".")[0]
        return {
            "type": "json_schema",
            "json_schema": {
                "name": re.sub(r"[^A-Za-z0-9_-]", "_", stem)[:64] or "answer",
                "schema": schema,
                "strict": is_strict(schema),
            },
        }

    def fallbacks(self, routes: Mapping[str, Route], declared: frozenset[str]) -> None:
        for name, route in routes.items():
            for number, to in enumerate(route.fallbacks):
                line = self.lines.line_of("models", name, "fallbacks", number)
                where = f"[models.{name}] fallbacks"
                if to == name:
                    self.folder.wrong(FILE, line, f"{where}: a route cannot fall back to itself", f'Remove "{to}"')
                elif to not in declared:
                    problem = f'{where}: there is no route "{to}"'
                    self.folder.wrong(FILE, line, problem, did_you_mean(to, declared - {name}))
                elif to in routes and routes[to].embeddings != route.embeddings:
                    problem = f'{where}: "{to}" answers another kind of request'
                    self.folder.wrong(FILE, line, problem, "Chat falls back to chat, embeddings to embeddings")
        told: set[frozenset[str]] = set()
        for name in routes:
            circle = _circle(name, routes)
            if circle and frozenset(circle) not in told:
                told.add(frozenset(circle))
                way = " -> ".join((*circle, circle[0]))
                self.wrong(name, "fallbacks", f"fallbacks go in a circle: {way}", "Remove one of them")

    def second_routes(self, routes: Mapping[str, Route]) -> None:
        for name, route in routes.items():
            if route.hedge_ms and not route.fallbacks:
                self.wrong(name, "hedge_ms", "hedge_ms needs a fallback to ask", "Declare fallbacks, or remove it")
            policy = route.on_broken_stream
            if policy == "fail":
                continue
            key = "on_broken_stream"
            if not route.fallbacks:
                self.wrong(
                    name, key, f'on_broken_stream = "{policy}" needs a fallback', "Declare fallbacks, or remove it"
                )
            elif policy == "continue" and not any(routes[f].prefill for f in route.fallbacks if f in routes):
                self.wrong(
                    name,
                    key,
                    "no fallback can go on with a broken answer",
                    "Set prefill = true on a fallback whose model continues a last message of the assistant, or write "
                    'on_broken_stream = "restart"',
                )

    def names(self, routes: Mapping[str, Route], declared: frozenset[str]) -> None:
        taken: dict[str, str] = {}
        for name, route in routes.items():
            for number, alias in enumerate(route.answers_to):
                line = self.lines.line_of("models", name, "answers_to", number)
                where = f"[models.{name}] answers_to"
                if alias in declared:
                    self.folder.wrong(FILE, line, f'{where}: "{alias}" is the name of a route', f'Remove "{alias}"')
                elif alias in taken:
                    other = "it is there twice" if taken[alias] == name else f"[models.{taken[alias]}] has it too"
                    self.folder.wrong(FILE, line, f'{where}: "{alias}": {other}', "Keep one of them")
                elif not alias.strip():
                    self.folder.wrong(FILE, line, f"{where}: a name is empty", "Remove it")
                taken.setdefault(alias, name)


def _circle(start: str, routes: Mapping[str, Route]) -> tuple[str, ...]:
    """The shortest way from a route over fallbacks back to itself, more than one step long; empty if there is none."""
    waiting: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while waiting:
        way = waiting.pop(0)
        for to in routes[way[-1]].fallbacks:
            if to == start and len(way) > 1:
                return way
            if to in routes and to not in seen:
                seen.add(to)
                waiting.append((*way, to))
    return ()


def is_http_url(address: str) -> bool:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises for a bad port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    return not (parts.username or parts.password or parts.query or parts.fragment)


def _without_userinfo(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//...@", address)
