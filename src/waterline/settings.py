"""Environment + one TOML file -> frozen `Settings`, read once at the start.

A setting `x` is the variable `WATERLINE_X` or the key `x` of `waterline.toml` in the data folder; the variable wins,
then the file, then the default. `FIELDS` is the list of them; docs/reference/settings.md is checked against it.
Everything that is wrong is reported at once, each with its variable, or file and line, and what to write instead.
"""

import base64
import binascii
import difflib
import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_bytes
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from msgspec import Struct

FILE_NAME = "waterline.toml"
MASTER_KEY_FILE = "master.key"
MASTER_KEY_BYTES = 32
PREFIX = "WATERLINE_"
PROVIDER_KINDS = ("openai", "anthropic", "gemini", "local", "simulated")
HIDDEN = ("whatsapp_token", "whatsapp_app_secret", "whatsapp_verify_token", "email_password")  # secrets of channels
CONNECTOR_PREFIX = "WATERLINE_CONNECTOR_"
CLIENT_VARIABLES = ("WATERLINE_URL", "WATERLINE_KEY")  # read by the command line, not by the server

LOOPBACK = ("127.0.0.1", "::1", "localhost")

Value: TypeAlias = str | int | dict[str, str]
TraceFailure = Literal["", "refuse", "answer"]


class Settings(Struct, frozen=True):
    """`master_key` and `secrets` never show in `repr`, so neither in a log nor in a traceback with locals."""

    data: Path
    master_key: bytes
    models_dir: Path
    host: str = "127.0.0.1"
    port: int = 8400  # 0: a free one
    public_url: str = ""  # as people type it when a proxy stands before us; empty: http://host:port
    database: str = "sqlite"
    objects: str = ""  # a folder; empty: <data>/objects
    max_body_bytes: int = 10 * 1024 * 1024
    min_free_mb: int = 64  # below this much free disk, traces count as unwritable
    trace_failure: TraceFailure = ""  # empty: what each app declares
    purpose: Literal["live", "trial", "eval"] = "live"  # what its traces are for; only live ones count as the app's
    redirect_providers: str = ""  # URL template with {route}: stands in for every provider (used by trials)
    redirect_systems: str = ""  # URL of what plays every connected system (used by trials)
    provider_urls: dict[str, str] = {}  # provider kind -> base URL
    session_hours: int = 12
    session_idle_hours: int = 2
    header_timeout_s: int = 15
    body_timeout_s: int = 60
    shed_lag_ms: int = 500  # of the event loop; 0: never shed by it
    log: Literal["text", "json"] = "text"
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


class Problem(Struct, frozen=True):
    """One thing that is wrong: where, what, and what to write instead. The value of a secret is never in it."""

    where: str  # a variable, or file:line
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. {self.remedy}"


class SettingsError(Exception):
    """The settings cannot be used; nothing was started. Holds every problem found.

    (Not under core's WaterlineError: settings and core are the same, lowest layer and do not know each other.)"""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems


class BadValueError(ValueError):
    """A value that a reader refuses: what is wrong, and the remedy."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


Reader: TypeAlias = Callable[[Any], Value]  # takes the variable's text, or the TOML value


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


# --- readers -----------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadValueError("is not text", "Write it between quotes.")
    return value.strip()


def _host(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"[0-9A-Za-z_.:%-]+", text):
        raise BadValueError("is not an address", "Write an IP address or a host name, without http:// and port.")
    return text


def _whole(low: int, high: int, unit: str) -> Reader:
    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadValueError(f"{value!r} is not a whole number", f"Write a number of {unit} from {low} to {high}.")
        return value

    return read


def _one_of(*choices: str) -> Reader:
    def read(value: object) -> str:
        text = _text(value).lower()
        if text not in choices:
            raise BadValueError(
                f"{text!r} is not a choice{did_you_mean(text, choices)}", f"One of: {', '.join(choices)}."
            )
        return text

    return read


def _path(value: object) -> str:
    text = _text(value)
    if not text or "\0" in text:
        raise BadValueError("is not a folder", "Write the path of a folder.")
    return str(Path(text).expanduser().absolute())


def _url(value: object) -> str:
    text = _text(value).rstrip("/")
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        has_secret = bool(parts.username or parts.password)
    except ValueError:
        good, has_secret = False, False
    if not good:
        raise BadValueError("is not a URL", "Write http://... or https://..., with a host.")
    if has_secret:
        raise BadValueError("holds a user name or password", "Secrets belong in the provider's own variable.")
    return text


def _optional_url(value: object) -> str:
    return _url(value) if value != "" else ""


def _redirect(value: object) -> str:
    text = _text(value)
    if not text:
        return ""
    if text.count("{route}") != 1 or re.search(r"[{}]", text.replace("{route}", "")):
        raise BadValueError("has not exactly one {route}", "Write for example http://127.0.0.1:9100/{route}.")
    _url(text.replace("{route}", "main"))
    return text


def _provider_urls(value: object) -> dict[str, str]:
    """A TOML table, or `kind=url,kind=url` in the environment."""
    pairs: dict[str, object]
    if isinstance(value, str):
        pairs = {}
        for piece in filter(None, (p.strip() for p in value.split(","))):
            kind, equals, url = piece.partition("=")
            if not equals:
                raise BadValueError("is not a list of kind=url", "Write for example openai=https://api.openai.com/v1.")
            pairs[kind.strip()] = url
    elif isinstance(value, dict):
        pairs = value
    else:
        raise BadValueError("is not a table", 'Write [provider_urls] and below it openai = "https://...".')
    for kind in pairs:
        if kind not in PROVIDER_KINDS:
            raise BadValueError(
                f"{kind!r} is not a provider{did_you_mean(kind, PROVIDER_KINDS)}",
                f"One of: {', '.join(PROVIDER_KINDS)}.",
            )
    return {kind: _url(url) for kind, url in pairs.items()}


def _mail_url(*schemes: str) -> Reader:
    def read(value: object) -> str:
        text = _text(value).rstrip("/")
        try:
            parts = urlsplit(text)
            good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
            named = bool(parts.username or parts.password or parts.path)
        except ValueError:
            good = named = False
        if not good or named:
            raise BadValueError(
                "is not a mail server", f"Write {schemes[0]}://mail.example, with a port if it has its own."
            )
        if not parts.scheme.endswith("s") and schemes[0] == "imaps" and parts.hostname not in LOOPBACK:
            raise BadValueError(
                "would send the password in the clear", "Write imaps://, or use this machine's own server."
            )
        return text

    return read


def _pairs(value: object) -> dict[str, str]:
    """A TOML table, or `name=value,name=value` in the environment."""
    if isinstance(value, str):
        pieces = [p.partition("=") for p in value.split(",") if p.strip()]
        value = {a.strip(): b.strip() if equals else None for a, equals, b in pieces}
    if not isinstance(value, dict) or not all(isinstance(v, str) and k and v for k, v in value.items()):
        raise BadValueError("is not a table of texts", "Write for example 1001=2002,1003=2004.")
    return dict(value)


def _secrets(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) and v for v in value.values()):
        raise BadValueError("is not a table of texts", 'Write [secrets] and below it OPENAI_API_KEY = "...".')
    return dict(value)


def connector_variable(name: str, setting: str) -> str:
    """WATERLINE_CONNECTOR_<NAME>_<SETTING>."""
    return f"{CONNECTOR_PREFIX}{name}_{setting}".upper().replace("-", "_")


def _connectors(value: object) -> dict[str, str]:
    """[connectors.<name>] tables of texts; flat, as the variables are."""
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise BadValueError("is not tables", 'Write [connectors.crm] and below it url = "https://...".')
    found = {}
    for name, table in value.items():
        for setting, text in table.items():
            if not isinstance(text, str):
                raise BadValueError(f"{name}.{setting} is not text", "Write it between quotes.")
            found[connector_variable(name, setting).removeprefix(CONNECTOR_PREFIX)] = text
    return found


def _database(value: object) -> str:
    text = _text(value)
    if text == "sqlite":
        return text
    if text.startswith(("postgresql:", "postgres:")):  # the URL may hold a password: never repeat it
        raise BadValueError(
            "PostgreSQL is not available yet in this version", 'Use "sqlite", the default; it needs nothing installed.'
        )
    raise BadValueError("names a database that is not available in this version", 'Use "sqlite", the default.')


def _objects(value: object) -> str:
    text = _text(value)
    if text.startswith("s3:"):
        raise BadValueError("object storage is not available yet in this version", "Write the path of a folder.")
    return _path(text) if text else ""


def _master_key(value: object) -> str:
    """Only checked here; `_decode_master_key` reads it. The message never holds the value."""
    text = _text(value)
    if _decode_master_key(text) is None:
        raise BadValueError(
            "is not 32 bytes in hex or base64",
            f"Make one with `openssl rand -hex 32`, or unset it to use {MASTER_KEY_FILE} in the data folder.",
        )
    return text


def _decode_master_key(text: str) -> bytes | None:
    try:
        if re.fullmatch(r"[0-9a-fA-F]{64}", text):
            return bytes.fromhex(text)
        raw = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == MASTER_KEY_BYTES else None


FIELDS: tuple[Field, ...] = (
    Field("data", _path, "`$XDG_DATA_HOME/waterline`, else `~/.local/share/waterline`",
          "The data folder: database, spool, `waterline.toml`, `master.key`.", in_file=False),
    Field("master_key", _master_key, "`master.key` in the data folder",
          "32 bytes in hex or base64. Made at the first start if there is none (mode 0600). Keep it outside backups.",
          in_file=False),
    Field("host", _host, "`127.0.0.1`", "The address to listen on; `0.0.0.0` for every network."),
    Field("port", _whole(0, 65535, "the port"), "`8400`", "The port to listen on; 0 takes a free one."),
    Field("public_url", _optional_url, "`http://host:port`",
          "The console's address as people type it, behind a proxy. With `https://`, cookies are Secure."),
    Field("database", _database, "`sqlite`", "Where everything is kept. PostgreSQL is not available yet."),
    Field("objects", _objects, "`objects` in the data folder",
          "A folder for large artefacts. `s3://` is not available yet."),
    Field("models", _path, "`$XDG_CACHE_HOME/waterline/models`, else `~/.cache/waterline/models`",
          "Where `waterline model pull` puts weights; may be shared by several data folders."),
    Field("max_body_bytes", _whole(1024, 1024**3, "bytes"), "`10485760`",
          "The largest request body; a larger one is answered 413."),
    Field("min_free_mb", _whole(0, 1_000_000, "megabytes"), "`64`",
          "With less free disk, traces count as unwritable and `trace_failure` decides."),
    Field("trace_failure", _one_of("refuse", "answer"), "what each app declares in `[retention]`",
          "`refuse` or `answer` requests whose trace cannot be written, for every app."),
    Field("purpose", _one_of("live", "trial", "eval"), "`live`",
          "What this server's traces are for; only live ones count in drift and in an app's budget."),
    Field("redirect_providers", _redirect, "(off)",
          "A URL with `{route}` that stands in for every provider; trials set it to a simulated server."),
    Field("redirect_systems", _optional_url, "(off)",
          "A URL that plays every connected system: each call is a POST there, no real system is asked. For trials."),
    Field("provider_urls", _provider_urls, "each provider's own",
          "Base URLs by provider. A table in the file; `openai=URL,anthropic=URL` in the variable."),
    Field("session_hours", _whole(1, 720, "hours"), "`12`", "A console session ends this long after login."),
    Field("session_idle_hours", _whole(1, 720, "hours"), "`2`", "A console session ends after this long unused."),
    Field("header_timeout_s", _whole(1, 600, "seconds"), "`15`", "A request's head must be in within this time."),
    Field("body_timeout_s", _whole(1, 3600, "seconds"), "`60`", "A request's body must be in within this time."),
    Field("shed_lag_ms", _whole(0, 60_000, "milliseconds"), "`500`",
          "When the server is later than this, requests of priority `low` are refused; `normal` at twice, "
          "`high` at four times. 0: never."),
    Field("log", _one_of("text", "json"), "`text`", "The form of log lines."),
    Field("log_level", _one_of("debug", "info", "warning", "error"), "`info`", "The least important line to log."),
    Field("secrets", _secrets, "(none)",
          "Providers' secrets by variable name, where the environment has none. The file must be mode 0600.",
          in_environment=False),
    Field("whatsapp_url", _url, "`https://graph.facebook.com`",
          "Where WhatsApp's Cloud API is: Meta's, another provider's of the same API, or a simulated one."),
    Field("whatsapp_version", _text, "`v23.0`", "The version of the API."),
    Field("whatsapp_token", _text, "(none)", "The access token; without it nothing is sent on WhatsApp."),
    Field("whatsapp_app_secret", _text, "(none)",
          "What web hooks are signed with; several, with commas, while one replaces another."),
    Field("whatsapp_verify_token", _text, "(none)", "What WhatsApp must know to register the web hook."),
    Field("whatsapp_accounts", _text, "(none)",
          "The WhatsApp Business Accounts whose numbers and templates are asked for, with commas."),
    Field("whatsapp_moved", _pairs, "(none)",
          "A number's id as branches declare it = its id at the provider that it moved to. `a=b,c=d` in the variable."),
    Field("email_address", _text, "(none)", "The mailbox that conversations come to and answers leave from."),
    Field("email_imap", _mail_url("imaps", "imap"), "(none)",
          "The mailbox: `imaps://mail.example`. `imap://` only on this machine."),
    Field("email_smtp", _mail_url("smtps", "smtp"), "(none)",
          "How mail leaves: `smtps://mail.example`, or `smtp://mail.example:587`, which turns TLS on."),
    Field("email_user", _text, "`email_address`", "The name to log in with."),
    Field("email_password", _text, "(none)", "The password to log in with."),
    Field("email_every_s", _whole(1, 3600, "seconds"), "`20`", "How often the mailbox is looked at."),
    Field("connectors", _connectors, "(none)",
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
        return Path(_path(environ["WATERLINE_DATA"]))
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
    given = _decode_master_key(cast(str, values.pop("master_key", "")))
    values.pop("data", None)
    models = values.pop("models", None)
    rest: dict[str, Any] = values
    return Settings(
        data=folder,
        master_key=given or ensure_master_key(folder),
        models_dir=Path(str(models)) if models else _xdg(environ, "XDG_CACHE_HOME", ".cache") / "waterline" / "models",
        **rest,
    )


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


def did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


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


# --- master key --------------------------------------------------------------------------------------------------


def ensure_master_key(data: Path) -> bytes:
    """The 32 bytes of <data>/master.key, made (mode 0600) if there are none. Raises SettingsError.

    The file appears whole or not at all (written aside, synced, then linked), and two processes that start at the
    same instant agree on one key. A damaged file is never replaced: what it sealed would be lost."""
    path = data / MASTER_KEY_FILE
    try:
        if not path.exists():
            _make_master_key(path)
        mode = path.stat().st_mode
        key = path.read_bytes()
    except OSError as error:
        remedy = "Let this user read it (mode 0600), or set WATERLINE_MASTER_KEY."
        raise SettingsError([Problem(str(path), f"cannot be used: {error.strerror or error}", remedy)]) from error
    if len(key) != MASTER_KEY_BYTES:
        remedy = "Restore it from where you keep it; a new key cannot open what the old one sealed."
        raise SettingsError([Problem(str(path), f"has {len(key)} bytes instead of {MASTER_KEY_BYTES}", remedy)])
    if mode & 0o077:
        raise SettingsError([Problem(str(path), "others may read the master key", f"Run: chmod 600 {path}")])
    return key


def _make_master_key(path: Path) -> None:
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".master-")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(token_bytes(MASTER_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            return  # another process was first; its key counts
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        Path(aside).unlink()


# --- reference ---------------------------------------------------------------------------------------------------


def reference_table() -> str:
    """The table of docs/reference/settings.md."""
    lines = ["| variable | in `waterline.toml` | default | meaning |", "| --- | --- | --- | --- |"]
    for field in FIELDS:
        variable = f"`{field.variable}`" if field.in_environment else "-"
        key = f"`{field.name}`" if field.in_file else "-"
        lines.append(f"| {variable} | {key} | {field.default} | {field.about} |")
    return "\n".join(lines) + "\n"
