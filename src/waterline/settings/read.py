"""How the value of a setting is read: from the text of a variable, or from what TOML holds."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from waterline.settings.master_key import MASTER_KEY_FILE, decoded
from waterline.settings.problems import BadValueError, did_you_mean

PROVIDER_KINDS = ("openai", "anthropic", "gemini", "local", "simulated")
CONNECTOR_PREFIX = "WATERLINE_CONNECTOR_"
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Value: TypeAlias = str | int | tuple[str, ...] | dict[str, str]
Reader: TypeAlias = Callable[[Any], Value]  # takes the variable's text, or the TOML value


def text(value: object) -> str:
    if not isinstance(value, str):
        raise BadValueError("is not text", "Write it between quotes.")
    return value.strip()


def host(value: object) -> str:
    said = text(value)
    if not re.fullmatch(r"[0-9A-Za-z_.:%-]+", said):
        raise BadValueError("is not an address", "Write an IP address or a host name, without http:// and port.")
    return said


def whole(low: int, high: int, unit: str) -> Reader:
    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            what = "out of bounds" if isinstance(value, int) and not isinstance(value, bool) else "not a whole number"
            raise BadValueError(f"{value!r} is {what}", f"Write a number of {unit} from {low} to {high}.")
        return value

    return read


def one_of(*choices: str) -> Reader:
    def read(value: object) -> str:
        said = text(value).lower()
        if said not in choices:
            raise BadValueError(
                f"{said!r} is not a choice{did_you_mean(said, choices)}", f"One of: {', '.join(choices)}."
            )
        return said

    return read


def path(value: object) -> str:
    said = text(value)
    if not said or "\0" in said:
        raise BadValueError("is not a folder", "Write the path of a folder.")
    return str(Path(said).expanduser().absolute())


def url(value: object) -> str:
    said = text(value).rstrip("/")
    try:
        parts = urlsplit(said)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        has_secret = bool(parts.username or parts.password)
    except ValueError:
        good, has_secret = False, False
    if not good:
        raise BadValueError("is not a URL", "Write http://... or https://..., with a host.")
    if has_secret:
        raise BadValueError("holds a user name or password", "Secrets belong in the provider's own variable.")
    return said


def optional_url(value: object) -> str:
    return url(value) if value != "" else ""


def hosts(value: object) -> tuple[str, ...]:
    """A TOML list, or names with commas between them."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
        raise BadValueError("is not a list of hosts", 'Write for example ["api.openai.com", "*.example.org"].')
    found = tuple(one.strip().lower() for one in given)
    for one in found:
        name = one.removeprefix("*.")
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)*|[0-9a-f:.]*:[0-9a-f:.]*", name) or (name != one and ":" in name):
            raise BadValueError(
                f"{one!r} is not a host",
                "Write api.example.org, *.example.org for all below it, or an IP address; no scheme, port or path. "
                "To allow every host that is configured, unset it.",
            )
    return found


def redirect(value: object) -> str:
    said = text(value)
    if not said:
        return ""
    if said.count("{route}") != 1 or re.search(r"[{}]", said.replace("{route}", "")):
        raise BadValueError("has not exactly one {route}", "Write for example http://127.0.0.1:9100/{route}.")
    url(said.replace("{route}", "main"))
    return said


def provider_urls(value: object) -> dict[str, str]:
    """A TOML table, or `kind=url,kind=url` in the environment."""
    given: dict[str, object]
    if isinstance(value, str):
        given = {}
        for piece in filter(None, (p.strip() for p in value.split(","))):
            kind, equals, said = piece.partition("=")
            if not equals:
                raise BadValueError("is not a list of kind=url", "Write for example openai=https://api.openai.com/v1.")
            given[kind.strip()] = said
    elif isinstance(value, dict):
        given = value
    else:
        raise BadValueError("is not a table", 'Write [provider_urls] and below it openai = "https://...".')
    for kind in given:
        if kind not in PROVIDER_KINDS:
            raise BadValueError(
                f"{kind!r} is not a provider{did_you_mean(kind, PROVIDER_KINDS)}",
                f"One of: {', '.join(PROVIDER_KINDS)}.",
            )
    return {kind: url(said) for kind, said in given.items()}


def mail_url(*schemes: str) -> Reader:
    def read(value: object) -> str:
        said = text(value).rstrip("/")
        try:
            parts = urlsplit(said)
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
        return said

    return read


def pairs(value: object) -> dict[str, str]:
    """A TOML table, or `name=value,name=value` in the environment."""
    if isinstance(value, str):
        pieces = [p.partition("=") for p in value.split(",") if p.strip()]
        value = {a.strip(): b.strip() if equals else None for a, equals, b in pieces}
    if not isinstance(value, dict) or not all(isinstance(v, str) and k and v for k, v in value.items()):
        raise BadValueError("is not a table of texts", "Write for example 1001=2002,1003=2004.")
    return dict(value)


def secrets(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) and v for v in value.values()):
        raise BadValueError("is not a table of texts", 'Write [secrets] and below it OPENAI_API_KEY = "...".')
    return dict(value)


def connector_variable(name: str, setting: str) -> str:
    """WATERLINE_CONNECTOR_<NAME>_<SETTING>."""
    return f"{CONNECTOR_PREFIX}{name}_{setting}".upper().replace("-", "_")


def connectors(value: object) -> dict[str, str]:
    """[connectors.<name>] tables of texts; flat, as the variables are."""
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise BadValueError("is not tables", 'Write [connectors.crm] and below it url = "https://...".')
    found = {}
    for name, table in value.items():
        for setting, said in table.items():
            if not isinstance(said, str):
                raise BadValueError(f"{name}.{setting} is not text", "Write it between quotes.")
            found[connector_variable(name, setting).removeprefix(CONNECTOR_PREFIX)] = said
    return found


def database(value: object) -> str:
    said = text(value)
    if said == "sqlite":
        return said
    if said.startswith(("postgresql:", "postgres:")):  # the URL may hold a password: never repeat it
        raise BadValueError(
            "PostgreSQL is not available yet in this version", 'Use "sqlite", the default; it needs nothing installed.'
        )
    raise BadValueError("names a database that is not available in this version", 'Use "sqlite", the default.')


def master_key(value: object) -> str:
    """Only checked here; `decoded` reads it. The message never holds the value."""
    said = text(value)
    if decoded(said) is None:
        raise BadValueError(
            "is not 32 bytes in hex or base64",
            f"Make one with `openssl rand -hex 32`, or unset it to use {MASTER_KEY_FILE} in the data folder.",
        )
    return said
