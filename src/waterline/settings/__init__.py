"""Environment + one TOML file -> frozen `Settings`, read once at the start.

A setting `x` is the variable `WATERLINE_X` or the key `x` of `waterline.toml` in the data folder; the variable wins,
then the file, then the default. `FIELDS` is the list of them; docs/reference/settings.md is checked against it.
Everything that is wrong is reported at once, each with its variable, or file and line, and what to write instead.
"""

import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from msgspec import Struct

from waterline.settings import read
from waterline.settings.master_key import decoded, ensure_master_key
from waterline.settings.problems import BadValueError, Problem, SettingsError, did_you_mean
from waterline.settings.read import CONNECTOR_PREFIX, Reader, Value, connector_variable

FILE_NAME = "waterline.toml"
PREFIX = "WATERLINE_"
HIDDEN = ("whatsapp_token", "whatsapp_app_secret", "whatsapp_verify_token", "email_password")  # secrets of channels
CLIENT_VARIABLES = ("WATERLINE_URL", "WATERLINE_KEY")  # read by the command line, not by the server


class Settings(Struct, frozen=True):
    """`master_key` and `secrets` never show in `repr`, so neither in a log nor in a traceback with locals."""

    data: Path
    master_key: bytes
    models_dir: Path
    host: str = "127.0.0.1"
    port: int = 8400  # 0: a free one
    public_url: str = ""  # as people type it when a proxy stands before us; empty: http://host:port
    database: str = "sqlite"
    max_body_bytes: int = 10 * 1024 * 1024
    min_free_mb: int = 64  # below this much free disk, traces count as unwritable
    purpose: Literal["live", "trial", "eval"] = "live"  # what its traces are for; only live ones count as the app's
    redirect_providers: str = ""  # URL template with {route}: stands in for every provider (used by trials)
    redirect_systems: str = ""  # URL of what plays every connected system (used by trials)
    provider_urls: dict[str, str] = {}  # provider kind -> base URL
    egress_hosts: tuple[str, ...] = ()  # see core/egress.py; none: every host that is configured
    session_hours: int = 12
    session_idle_hours: int = 2
    header_timeout_s: int = 15
    body_timeout_s: int = 60
    shed_lag_ms: int = 500  # of the event loop; 0: never shed by it
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    secrets: dict[str, str] = {}  # [secrets] of the file; the environment wins, see `secret`
    whatsapp_url: str = "https://graph.facebook.com"
    whatsapp_version: str = "v23.0"
    whatsapp_token: str = ""
    whatsapp_app_secret: str = ""  # several, with commas, while one replaces another
    whatsapp_verify_token: str = ""
    whatsapp_accounts: str = ""  # with commas
    whatsapp_moved: dict[str, str] = {}  # a number's id here -> its id at the provider that it moved to
    email_address: str = ""
    email_imap: str = ""
    email_smtp: str = ""
    email_user: str = ""  # empty: the address
    email_password: str = ""
    email_every_s: int = 20
    connectors: dict[str, str] = {}  # addresses and secrets of connectors: "CRM_URL" -> ..., see `connector`

    def secret(self, name: str, environ: Mapping[str, str]) -> str | None:
        """A provider's secret by the name of its variable (OPENAI_API_KEY): the environment, then [secrets]."""
        return environ.get(name) or self.secrets.get(name)

    def connector(self, name: str, wanted: tuple[str, ...]) -> dict[str, str]:
        """Those of a connector's settings that are set."""
        names = {one: connector_variable(name, one).removeprefix(CONNECTOR_PREFIX) for one in wanted}
        return {one: self.connectors[key] for one, key in names.items() if key in self.connectors}

    def shown(self) -> dict[str, str]:
        """What a page or a log may show: every setting as text, secrets as names only."""
        hidden = {"master_key": "(hidden)", "secrets": ", ".join(sorted(self.secrets)) or "(none)"}
        hidden |= {name: "(hidden)" if getattr(self, name) else "(none)" for name in HIDDEN}
        hidden["connectors"] = ", ".join(sorted(self.connectors)) or "(none)"
        return {name: hidden.get(name) or str(getattr(self, name)) for name in self.__struct_fields__}

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.shown().items())})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return list(self.shown().items())


class Field(Struct, frozen=True):
    """One setting. `read` gets text from the environment, or whatever TOML holds; it raises BadValueError."""

    name: str
    read: Reader
    default: str  # as the reference shows it
    about: str
    in_file: bool = True
    in_environment: bool = True

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


FIELDS: tuple[Field, ...] = (
    Field("data", read.path, "`$XDG_DATA_HOME/waterline`, else `~/.local/share/waterline`",
          "The data folder: database, spool, `waterline.toml`, `master.key`.", in_file=False),
    Field("master_key", read.master_key, "`master.key` in the data folder",
          "32 bytes in hex or base64. Made at the first start if there is none (mode 0600). Keep it outside backups.",
          in_file=False),
    Field("host", read.host, "`127.0.0.1`", "The address to listen on; `0.0.0.0` for every network."),
    Field("port", read.whole(0, 65535, "the port"), "`8400`", "The port to listen on; 0 takes a free one."),
    Field("public_url", read.optional_url, "`http://host:port`",
          "The console's address as people type it, behind a proxy. With `https://`, cookies are Secure."),
    Field("database", read.database, "`sqlite`", "Where everything is kept. PostgreSQL is not available yet."),
    Field("models", read.path, "`$XDG_CACHE_HOME/waterline/models`, else `~/.cache/waterline/models`",
          "Where `waterline model pull` puts weights; may be shared by several data folders."),
    Field("max_body_bytes", read.whole(1024, 1024**3, "bytes"), "`10485760`",
          "The largest request body; a larger one is answered 413."),
    Field("min_free_mb", read.whole(0, 1_000_000, "megabytes"), "`64`",
          "With less free disk, traces count as unwritable and `on_trace_failure` of the app decides."),
    Field("purpose", read.one_of("live", "trial", "eval"), "`live`",
          "What this server's traces are for; only live ones count in drift and in an app's budget."),
    Field("redirect_providers", read.redirect, "(off)",
          "A URL with `{route}` that stands in for every provider; trials set it to a simulated server."),
    Field("redirect_systems", read.optional_url, "(off)",
          "A URL that plays every connected system: each call is a POST there, no real system is asked. For trials."),
    Field("provider_urls", read.provider_urls, "each provider's own",
          "Base URLs by provider. A table in the file; `openai=URL,anthropic=URL` in the variable."),
    Field("egress_hosts", read.hosts, "every host that is configured",
          "The only hosts to connect to: of providers, judges, connected systems, channels. Names, `*.name` for all "
          "below a name, IP addresses; a list in the file, with commas in the variable."),
    Field("session_hours", read.whole(1, 720, "hours"), "`12`", "A console session ends this long after login."),
    Field("session_idle_hours", read.whole(1, 720, "hours"), "`2`", "A console session ends after this long unused."),
    Field("header_timeout_s", read.whole(1, 600, "seconds"), "`15`", "A request's head must be in within this time."),
    Field("body_timeout_s", read.whole(1, 3600, "seconds"), "`60`", "A request's body must be in within this time."),
    Field("shed_lag_ms", read.whole(0, 60_000, "milliseconds"), "`500`",
          "When the server is later than this, requests of priority `low` are refused; `normal` at twice, "
          "`high` at four times. 0: never."),
    Field("log_level", read.one_of("debug", "info", "warning", "error"), "`info`", "The least important line to log."),
    Field("secrets", read.secrets, "(none)",
          "Providers' secrets by variable name, where the environment has none. The file must be mode 0600.",
          in_environment=False),
    Field("whatsapp_url", read.url, "`https://graph.facebook.com`",
          "Where WhatsApp's Cloud API is: Meta's, another provider's of the same API, or a simulated one."),
    Field("whatsapp_version", read.text, "`v23.0`", "The version of the API."),
    Field("whatsapp_token", read.text, "(none)", "The access token; without it nothing is sent on WhatsApp."),
    Field("whatsapp_app_secret", read.text, "(none)",
          "What web hooks are signed with; several, with commas, while one replaces another."),
    Field("whatsapp_verify_token", read.text, "(none)", "What WhatsApp must know to register the web hook."),
    Field("whatsapp_accounts", read.text, "(none)",
          "The WhatsApp Business Accounts whose numbers and templates are asked for, with commas."),
    Field("whatsapp_moved", read.pairs, "(none)",
          "A number's id as branches declare it = its id at the provider that it moved to. `a=b,c=d` in the variable."),
    Field("email_address", read.text, "(none)", "The mailbox that conversations come to and answers leave from."),
    Field("email_imap", read.mail_url("imaps", "imap"), "(none)",
          "The mailbox: `imaps://mail.example`. `imap://` only on this machine."),
    Field("email_smtp", read.mail_url("smtps", "smtp"), "(none)",
          "How mail leaves: `smtps://mail.example`, or `smtp://mail.example:587`, which turns TLS on."),
    Field("email_user", read.text, "`email_address`", "The name to log in with."),
    Field("email_password", read.text, "(none)", "The password to log in with."),
    Field("email_every_s", read.whole(1, 3600, "seconds"), "`20`", "How often the mailbox is looked at."),
    Field("connectors", read.connectors, "(none)",
          "Addresses and secrets of connectors: `[connectors.crm]` and below it `url`, `user` ...; or the variables "
          "`WATERLINE_CONNECTOR_<NAME>_<SETTING>`, which win. The file must be mode 0600.",
          in_environment=False),
)  # fmt: skip


# --- loading -----------------------------------------------------------------------------------------------------


def data_folder(environ: Mapping[str, str], data: Path | None = None) -> Path:
    """Where the data folder is; touches nothing. For commands that only talk to a running server."""
    if data is not None:
        return data.expanduser().absolute()
    if environ.get("WATERLINE_DATA", "").strip():
        return Path(read.path(environ["WATERLINE_DATA"]))
    return _xdg(environ, "XDG_DATA_HOME", ".local/share") / "waterline"


def load(environ: Mapping[str, str], data: Path | None = None) -> Settings:
    """Complete settings for a server. Raises SettingsError with everything that is wrong.

    `data` (the --data option) beats WATERLINE_DATA. After all values are checked, the folder and its master key
    are made if there are none, so that a typing mistake leaves nothing behind."""
    problems: list[Problem] = []
    try:
        folder = data_folder(environ, data)
    except BadValueError as error:
        raise SettingsError([Problem("WATERLINE_DATA", error.problem, error.remedy)]) from None

    values: dict[str, Value] = {}
    try:
        values.update(_from_file(folder / FILE_NAME, problems))
    except OSError as error:
        problems.append(_unusable(folder, data, error))
    values.update(_from_environment(environ, problems))
    if variables := _connector_variables(environ):
        values["connectors"] = {**cast(dict[str, str], values.get("connectors", {})), **variables}
    if problems:
        raise SettingsError(problems)

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError([_unusable(folder, data, error)]) from error
    given = decoded(cast(str, values.pop("master_key", "")))
    values.pop("data", None)
    models = values.pop("models", None)
    rest: dict[str, Any] = values
    return Settings(
        data=folder,
        master_key=given or ensure_master_key(folder),
        models_dir=Path(str(models)) if models else _xdg(environ, "XDG_CACHE_HOME", ".cache") / "waterline" / "models",
        **rest,
    )


def outward(environ: Mapping[str, str], data: Path | None = None) -> tuple[tuple[str, ...], dict[str, str]]:
    """`egress_hosts` and `provider_urls` for who runs no server: nothing is made, and of what is wrong only what is
    wrong with them is told, by SettingsError."""
    wanted = ("egress_hosts", "provider_urls")
    fields = [field for field in FIELDS if field.name in wanted]
    said = {field.variable: environ.get(field.variable, "") for field in fields}
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    try:
        values.update(_from_file(data_folder(environ, data) / FILE_NAME, problems))
    except (OSError, BadValueError):
        pass  # a server there would say so; here nobody asked for one
    told = [p for p in problems if p.problem.startswith(tuple(f"{name}:" for name in wanted))]
    values.update(_from_environment(said, told))
    if told:
        raise SettingsError(told)
    return values.get("egress_hosts", ()), values.get("provider_urls", {})


def _connector_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Which connectors there are is not known here: an app declares them."""
    length = len(CONNECTOR_PREFIX)
    return {name[length:]: text for name, text in environ.items() if name.startswith(CONNECTOR_PREFIX) and text}


def _from_environment(environ: Mapping[str, str], problems: list[Problem]) -> dict[str, Value]:
    fields = {field.variable: field for field in FIELDS if field.in_environment}
    known = (*fields, *CLIENT_VARIABLES)
    values: dict[str, Value] = {}
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        if variable in CLIENT_VARIABLES or variable.startswith(CONNECTOR_PREFIX):
            continue
        field = fields.get(variable)
        if field is None:
            problems.append(
                Problem(
                    variable, f"is no setting{did_you_mean(variable, known)}", f"Unset it. Known: {', '.join(known)}."
                )
            )
        elif environ[variable].strip():  # an empty variable is an unset one, as with most tools
            _read_into(values, field, environ[variable], variable, problems)
    return values


def _from_file(path: Path, problems: list[Problem]) -> dict[str, Value]:
    try:
        text = path.read_bytes().decode("utf-8")
        table = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        problems.append(Problem(str(path), "is not UTF-8 text", "Save it as UTF-8."))
        return {}
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"\(at line (\d+)", str(error))
        where = f"{path}:{line[1] if line else len(text.splitlines())}"  # else it is "at end of document"
        what = re.sub(r" \(at .*\)$", "", str(error))
        problems.append(Problem(where, f"is not TOML: {what}", "See https://toml.io."))
        return {}

    fields = {field.name: field for field in FIELDS}
    in_file = [field.name for field in FIELDS if field.in_file]
    values: dict[str, Value] = {}
    for key, value in table.items():
        where = f"{path}:{line_of(text, key)}"
        field = fields.get(key)
        if field is None:
            hint = did_you_mean(key, in_file)
            problems.append(Problem(where, f"{key!r} is no setting{hint}", f"Known: {', '.join(in_file)}."))
        elif not field.in_file:
            problems.append(
                Problem(where, f"{key!r} cannot be set in this file", f"Use the variable {field.variable} instead.")
            )
        else:
            _read_into(values, field, value, where, problems)
    secret = next((name for name in ("secrets", "connectors", *HIDDEN) if name in values), "")
    if secret and path.stat().st_mode & 0o077:
        where = f"{path}:{line_of(text, secret)}"
        problems.append(Problem(where, "others may read the secrets in this file", f"Run: chmod 600 {path}"))
    return values


def _read_into(values: dict[str, Value], field: Field, value: object, where: str, problems: list[Problem]) -> None:
    try:
        values[field.name] = field.read(value)
    except BadValueError as error:
        name = "" if where.startswith(PREFIX) else f"{field.name}: "
        problems.append(Problem(where, name + error.problem, error.remedy))


def line_of(text: str, key: str) -> int:
    """The line of a top-level key or table, 1-based, for messages; 1 if written in a way this does not see."""
    quoted = rf"""["']?{re.escape(key)}["']?"""
    found = re.search(rf"^[ \t]*(\[+[ \t]*{quoted}[ \t]*[\].]|{quoted}[ \t]*[=.])", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> Path:
    """XDG base directory specification: a relative value is to be ignored."""
    given = environ.get(variable, "")
    if given and Path(given).is_absolute():
        return Path(given)
    home = environ.get("HOME", "")
    return (Path(home) if home else Path.home()) / default


def _unusable(folder: Path, data: Path | None, error: OSError) -> Problem:
    where = "--data" if data is not None else "WATERLINE_DATA"
    if isinstance(error, NotADirectoryError | FileExistsError):
        problem = f"data folder {folder} is not a folder, or lies below something that is not"
    else:
        problem = f"data folder {folder} cannot be used: {error.strerror or error}"
    return Problem(where, problem, "Choose a folder that this user may write to with --data or WATERLINE_DATA.")


# --- reference ---------------------------------------------------------------------------------------------------


def reference_table() -> str:
    """The table of docs/reference/settings.md."""
    lines = ["| variable | in `waterline.toml` | default | meaning |", "| --- | --- | --- | --- |"]
    for field in FIELDS:
        variable = f"`{field.variable}`" if field.in_environment else "-"
        key = f"`{field.name}`" if field.in_file else "-"
        lines.append(f"| {variable} | {key} | {field.default} | {field.about} |")
    return "\n".join(lines) + "\n"
