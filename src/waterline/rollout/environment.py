"""The tables of app.toml that are not behaviour, and prices.toml: together the environment record (AppSpec)."""

from collections.abc import Collection, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from waterline.core.app_spec import (
    UNLIMITED,
    Command,
    Expected,
    Funnel,
    Limits,
    Objectives,
    PriceOverride,
    Quality,
    Retention,
    Spending,
    Trial,
)
from waterline.core.conversing import Conversing
from waterline.core.gates import Gates
from waterline.core.prices import BUCKETS, first_us
from waterline.rollout import keys
from waterline.rollout.folder import Folder
from waterline.rollout.gates import read_gates
from waterline.rollout.reading import Place, did_you_mean, read_table
from waterline.rollout.routes import FILE, NAME, NAME_RULE, is_http_url
from waterline.rollout.toml_lines import TomlLines

PRICES_FILE = "prices.toml"
EACH = ("branch", "key", "subject")  # tables of [limits] that are about each one of a kind


class AppToml:
    """app.toml, parsed: its tables by name."""

    def __init__(self, folder: Folder, table: Mapping[str, Any], lines: TomlLines) -> None:
        self.folder = folder
        self.table = table
        self.lines = lines

    def place(self, *path: str) -> Place:
        name = f"[{'.'.join(path)}]" if path else ""
        return Place(
            self.folder,
            FILE,
            name,
            lambda key: self.lines.line_of(*path, key) if key else self.lines.line_of(*path),
        )

    def read(self, *path: str, also: Collection[str] = ()) -> dict[str, Any]:
        """The good values of one declared table; empty if it is absent."""
        table: Any = self.table
        for name in path:
            table = table.get(name, {})
            if not isinstance(table, dict):
                self.place(*path).wrong("", f'"{".".join(path)}" is not a table', f"Write a table: [{'.'.join(path)}]")
                return {}
        return read_table(self.place(*path), table, keys.TABLES[".".join(path)], also)

    def app(self) -> Command:
        values = self.read("app")
        url = values.get("url", "")
        if url and not is_http_url(url):
            self.place("app").wrong("url", f'"{url}" is not an address', 'Write url = "http://127.0.0.1:8000/chat"')
        return Command(**values)

    def environments(self) -> tuple[str, ...]:
        values = self.read("environments", also=self._gated())
        names: tuple[str, ...] = values.get("names", ("production",))
        place = self.place("environments")
        if not names:
            place.wrong("names", "there is no environment", 'Write names = ["production"]')
        for number, name in enumerate(names):
            line = self.lines.line_of("environments", "names", number)
            if not NAME.match(name):
                self.folder.wrong(FILE, line, f'"{name}" is not a good name for an environment', NAME_RULE)
            elif name in names[:number]:
                self.folder.wrong(FILE, line, f'the environment "{name}" is there twice', "Remove one of them")
        return names

    def _gated(self) -> tuple[str, ...]:
        """The environments that have a table of their own."""
        table = self.table.get("environments", {})
        return tuple(k for k, v in table.items() if isinstance(v, dict)) if isinstance(table, dict) else ()

    def gates(self, names: Collection[str], objectives: Objectives) -> dict[str, Gates]:
        """What each environment asks of a release."""
        found = {}
        for env in self._gated():
            place = self.place("environments", env)
            if env not in names:
                place.wrong("", f"[environments.{env}] is of no environment", did_you_mean(env, names))
                continue
            found[env] = read_gates(place, self.table["environments"][env], objectives.quality)
        return found

    def limits(self) -> Limits:
        values = self.read("limits", also=(*EACH, "branches"))
        timezone = values.get("timezone", "UTC")
        if not _is_timezone(timezone):
            self.place("limits").wrong(
                "timezone",
                f'there is no time zone "{timezone}"',
                'Write an IANA name, such as "Europe/Lisbon"',
            )
        self._day_within_month(values, "limits")
        if not isinstance(self.table.get("limits", {}), dict):
            return Limits()
        each: dict[str, Any] = {scope: self._spending("limits", scope) for scope in EACH}
        return Limits(**in_nano(values), **each, branches=self._branches())

    def _branches(self) -> dict[str, Spending]:
        """The budgets of single branches, by name."""
        table = self.table.get("limits", {}).get("branches", {})
        place = self.place("limits", "branches")
        if not isinstance(table, dict):
            place.wrong("", '"limits.branches" is not a table', "Write a table for each: [limits.branches.porto]")
            return {}
        found = {}
        for name in table:
            if NAME.match(name):
                found[name] = self._spending("limits", "branches", name)
            else:
                place.wrong(name, f'"{name}" is not a good name for a branch', NAME_RULE)
        return found

    def _spending(self, *path: str) -> Spending:
        table: Any = self.table
        for name in path:
            table = table.get(name, {})
        if not isinstance(table, dict):
            self.place(*path).wrong("", f'"{".".join(path)}" is not a table', f"Write a table: [{'.'.join(path)}]")
            return UNLIMITED
        values = read_table(self.place(*path), table, keys.SPENDING)
        self._day_within_month(values, *path)
        return Spending(**in_nano(values))

    def _day_within_month(self, values: Mapping[str, Any], *path: str) -> None:
        day, month = values.get("usd_per_day"), values.get("usd_per_month")
        if day is not None and month is not None and day > month:
            self.place(*path).wrong(
                "usd_per_day", "usd_per_day is more than usd_per_month", "Lower it, or raise usd_per_month"
            )

    def objectives(self) -> Objectives:
        values = self.read("objectives", also=("quality",))
        quality = self.read("objectives", "quality") if isinstance(self.table.get("objectives", {}), dict) else {}
        return Objectives(**in_nano(values), quality=Quality(**quality))

    def forecast(self) -> Expected:
        return Expected(**self.read("forecast"))

    def trial(self, known_drills: Collection[str]) -> Trial:
        values = self.read("trial")
        drills = values.get("drills", ())
        for number, name in enumerate(drills):
            line = self.lines.line_of("trial", "drills", number)
            if name not in known_drills:
                problem = f'[trial] drills: there is no drill "{name}"'
                self.folder.wrong(FILE, line, problem, did_you_mean(name, known_drills))
            elif name in drills[:number]:
                self.folder.wrong(FILE, line, f'[trial] drills: "{name}" is there twice', "Remove one of them")
        return Trial(**values)

    def retention(self) -> Retention:
        return Retention(**self.read("retention"))

    def funnel(self) -> Funnel:
        found = Funnel(**self.read("funnel"))
        for number, step in enumerate(found.steps):
            line = self.lines.line_of("funnel", "steps", number)
            if not NAME.match(step):
                self.folder.wrong(FILE, line, f'"{step}" is not a good name for a step', NAME_RULE)
            elif step in found.steps[:number]:
                self.folder.wrong(FILE, line, f'[funnel] steps: "{step}" is there twice', "Remove one of them")
        return found

    def conversations(self) -> Conversing:
        values = self.read("conversations")
        found = Conversing(**values)
        place = self.place("conversations")
        if found.longest_quiet_s < found.quiet_s:
            place.wrong("longest_quiet_s", '"longest_quiet_s" is shorter than "quiet_s"', "Make it the longer one")
        notify = found.notify
        if notify and notify.partition(".")[0] not in self.table.get("connectors", {}):
            text = f'"{notify}" is not an operation of a declared connector'
            place.wrong("notify", text, 'Write "<connector>.<operation>", such as "mail.send"')
        return found

    def not_yet(self) -> None:
        """A guard that is declared and not there would be believed, so it is a mistake."""
        for name in keys.NOT_YET:
            if self.table.get(name):
                self.place(name).wrong(
                    "", f"[{name}] is not available yet in this version", f"Remove it: nothing would act on [{name}]"
                )


def read_prices(folder: Folder) -> tuple[PriceOverride, ...]:
    """prices.toml, if there is one: [[price]] tables in USD per million tokens."""
    if not folder.has(PRICES_FILE):
        return ()
    text = folder.text(PRICES_FILE)
    parsed = folder.toml(PRICES_FILE, text) if text is not None else None
    if parsed is None:
        return ()
    table, lines = parsed
    for name in table:
        if name != "price":
            problem = f'unknown key "{name}"'
            folder.wrong(PRICES_FILE, lines.line_of(name), problem, "Write one [[price]] table for each model")
    rows = table.get("price", [])
    if not isinstance(rows, list):
        folder.wrong(PRICES_FILE, lines.line_of("price"), '"price" is not a list of tables', "Write [[price]]")
        return ()
    found = [_price(folder, row, number, lines) for number, row in enumerate(rows)]
    return tuple(price for price in found if price is not None)


def _price(folder: Folder, row: Any, number: int, lines: TomlLines) -> PriceOverride | None:
    place = Place(
        folder,
        PRICES_FILE,
        "[[price]]",
        lambda key: lines.line_of("price", number, key) if key else lines.line_of("price", number),
    )
    if not isinstance(row, dict):
        place.wrong("", "a price is not a table", "Write [[price]]")
        return None
    values = read_table(place, row, keys.PRICE_BY_MINUTE if "audio_minute" in row else keys.PRICE)
    try:
        first_us(values.get("valid_from", ""))
    except ValueError:
        place.wrong("valid_from", f'"{values["valid_from"]}" is not a day or a time', 'Write valid_from = "2026-11-30"')
        return None
    by_token = sorted(set(values) & set(BUCKETS))
    if "audio_minute" in values:
        if by_token:
            remedy = "Remove one of them: a model is billed by the minute of a recording, or by the token"
            place.wrong(by_token[0], f"{by_token[0]} stands beside audio_minute", remedy)
            return None
        values |= {"input": 0, "output": 0}
    if not {"provider", "model", "input", "output"} <= set(values):
        return None
    return PriceOverride(**values)


def in_nano(values: dict[str, Any]) -> dict[str, Any]:
    """usd_per_day in app.toml is nano_usd_per_day in the record; the value is nano-USD already."""
    return {f"nano_{key}" if key.startswith("usd_") else key: value for key, value in values.items()}


def _is_timezone(name: str) -> bool:
    if name == "UTC":
        return True
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return False
    except KeyError:
        return False
    return True
