"""Which kinds of connector there are: one line each. A kind's module is imported when an app declares it."""

import importlib
from typing import cast

from waterline.connectors.base import Config, Connector, Kind

KINDS: dict[str, str] = {  # kind -> module:class
    "caldav": "waterline.connectors.caldav:CalDav",
    "ldap": "waterline.connectors.directory:Directory",
    "mail": "waterline.connectors.mail:Mail",
    "mariadb": "waterline.connectors.mariadb:MariaDb",
    "mcp": "waterline.connectors.mcp:Mcp",
    "openapi": "waterline.connectors.openapi:OpenApi",
    "postgresql": "waterline.connectors.postgresql:PostgreSql",
    "python": "waterline.connectors.sandbox:PythonTool",
    "sheet": "waterline.connectors.sheet:Sheet",
    "soap": "waterline.connectors.soap:Soap",
    "tryton": "waterline.connectors.tryton:Tryton",
    "webhook": "waterline.connectors.webhook:Webhook",
}


def kind(name: str) -> Kind:
    """The class of a kind. Raises KeyError."""
    module, _, attribute = KINDS[name].partition(":")
    return cast(Kind, getattr(importlib.import_module(module), attribute))


def make(name: str, config: Config) -> Connector:
    """A connector that has opened nothing yet."""
    return kind(name)(config)
