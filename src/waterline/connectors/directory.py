"""People and groups of an LDAP directory (RFC 4511), looked up; nothing is written.

What a user typed is a value in a filter and never a part of it. Referrals to other servers are not followed. A bind
with a name and no password is not tried: servers answer it with "success", as nobody.
"""

import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from waterline.connectors.base import BadParameter, Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.dial import addresses_of
from waterline.connectors.threads import Threads

_MOST = 50
_ATTRIBUTES = {"id": "uid", "name": "cn", "email": "mail", "phone": "telephoneNumber"}


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    base: str  # everything is below it
    attributes: dict[str, str] = msgspec.field(default_factory=_ATTRIBUTES.copy)  # our names -> the directory's
    by: tuple[str, ...] = ("id", "email", "name")  # what people are looked up by: names of attributes
    required: tuple[str, ...] = ("id", "name")  # an entry without them cannot be used
    people: str = "(objectClass=inetOrgPerson)"
    groups: str = "(objectClass=groupOfNames)"
    member: str = "member"  # of a group: holds the DNs of its people
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: str = ""  # who signed the server's certificate; "": the system's authorities
    timeout_s: int = 5


class Directory:
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "base": {"type": "string", "minLength": 1},
            "attributes": {
                "type": "object",
                "additionalProperties": {"type": "string", "pattern": r"^[A-Za-z][\w;-]*$"},
            },
            "by": {"type": "array", "items": {"type": "string"}},
            "required": {"type": "array", "items": {"type": "string"}},
            "people": {"type": "string", "pattern": r"^\(.*\)$"},
            "groups": {"type": "string", "pattern": r"^\(.*\)$"},
            "member": {"type": "string", "pattern": r"^[A-Za-z][\w;-]*$"},
            "tls": {"type": "string", "enum": ["starttls", "tls", "none"]},
            "ca_file": {"type": "string"},
            "timeout_s": {"type": "integer", "minimum": 1, "maximum": 60},
        },
        "required": ["base"],
    }

    def __init__(self, config: Config) -> None:
        self.options = _options(config.parameters)
        self.manifest = _manifest(self.options)
        self.settings = config.settings
        self._threads = Threads(config.name, 4)

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        return _manifest(_options(parameters))

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        name = self.manifest.operation(operation).name
        if any(not str(value).strip() for value in arguments.values()) or not arguments:
            raise ConnectorFault("invalid", f"{name} needs one of: {', '.join(self.options.by)}.")
        return await self._threads.run(self._look, name, dict(arguments), self._base(scope))

    async def close(self) -> None:
        self._threads.close()

    def _base(self, scope: Scope) -> str:
        """The branch's own part of the tree, which is below the declared one."""
        from ldap3.core.exceptions import LDAPException

        if not scope.place:
            return self.options.base
        try:
            below = _below(scope.place, self.options.base)
        except LDAPException:
            raise ConnectorFault("invalid", f'The place of the branch "{scope.branch}" is no DN.') from None
        if not below:
            raise ConnectorFault(
                "invalid", f'The place of the branch "{scope.branch}" is not below {self.options.base}.'
            )
        return scope.place

    # --- in a thread -----------------------------------------------------------------------------------------------

    def _look(self, operation: str, given: dict[str, Any], base: str) -> dict[str, Any]:
        from ldap3.core.exceptions import LDAPException

        try:
            with self._bound() as connection:
                if operation == "members":
                    return self._members(connection, base, str(given["group"]))
                people = self._people(connection, base, given)
                if operation == "person":
                    return {"people": [self._shown(connection, entry) for entry in people], "found": len(people)}
                if len(people) != 1:
                    raise ConnectorFault("refused", f"{len(people)} people are so called; one is needed.")
                groups = self._search(
                    connection, base, _and(self.options.groups, _is(self.options.member, people[0]["dn"])), ["cn"]
                )
                return {"groups": sorted(text for entry in groups for text in _texts(entry, "cn"))}
        except (LDAPException, OSError) as error:
            raise self._fault(error) from None

    def _people(self, connection: Any, base: str, given: dict[str, Any]) -> list[dict[str, Any]]:
        o = self.options
        wanted = [_is(o.attributes[name], str(value)) for name, value in given.items()]
        people = self._search(connection, base, _and(o.people, *wanted), list(o.attributes.values()))
        if not people:  # nobody, or a directory that no longer knows what it is asked by
            self._check_schema(connection, [o.attributes[name] for name in given])
        return people

    def _members(self, connection: Any, base: str, group: str) -> dict[str, Any]:
        o = self.options
        found = self._search(connection, base, _and(o.groups, _is("cn", group)), [o.member])
        if not found:
            self._check_schema(connection, [o.member])
            raise ConnectorFault("refused", "There is no such group.")
        names = [dn for entry in found for dn in _texts(entry, o.member) if _below(dn, base)]
        people, end = [], time.monotonic() + 2 * o.timeout_s
        for dn in names[:_MOST]:
            if time.monotonic() > end:
                raise ConnectorFault("slow", f"The directory gave no answer within {2 * o.timeout_s} s.")
            people += self._search(connection, dn, o.people, list(o.attributes.values()), one=True)
        return {"people": [self._shown(connection, entry) for entry in people], "found": len(names)}

    def _search(
        self, connection: Any, base: str, wanted: str, attributes: list[str], one: bool = False
    ) -> list[dict[str, Any]]:
        from ldap3 import BASE, SUBTREE
        from ldap3.core.exceptions import LDAPNoSuchObjectResult

        try:
            connection.search(
                base, wanted, BASE if one else SUBTREE, attributes=attributes, size_limit=0 if one else _MOST,
                time_limit=self.options.timeout_s,
            )  # fmt: skip
        except LDAPNoSuchObjectResult:
            if one:
                return []  # a group may name people who have left
            raise
        return [entry for entry in connection.response if entry["type"] == "searchResEntry"]

    def _shown(self, connection: Any, entry: dict[str, Any]) -> dict[str, Any]:
        o = self.options
        made: dict[str, Any] = {}
        for name, attribute in o.attributes.items():
            texts = _texts(entry, attribute)
            made[name] = texts[0] if len(texts) == 1 else texts or None
        missing = [name for name in o.required if not made.get(name)]
        if missing:
            self._check_schema(connection, [o.attributes[name] for name in missing])
            raise ConnectorFault("data", f"{entry['dn']} has no {o.attributes[missing[0]]}. Correct it there.")
        return made

    def _check_schema(self, connection: Any, attributes: list[str]) -> None:
        connection.server.get_info_from_server(connection)
        schema = connection.server.schema
        for attribute in attributes:
            if schema is not None and attribute.partition(";")[0] not in schema.attribute_types:
                raise ConnectorFault(
                    "schema", f'The directory does not know the attribute "{attribute}". Change attributes.'
                )

    def _bound(self) -> Any:
        import ldap3

        o, url = self.options, self.settings.get("url", "")
        parts = urlsplit(url)
        if parts.scheme not in ("ldap", "ldaps") or not parts.hostname:
            raise ConnectorFault("invalid", "The setting url is not an address. Write it as ldap://host:389.")
        tls = o.tls == "tls" or parts.scheme == "ldaps"
        user, password = self.settings.get("user", ""), self.settings.get("password", "")
        if user and not password:
            raise ConnectorFault("credentials", "The directory's password is not set; without one nobody signs in.")
        port = parts.port or (636 if tls else 389)
        digits = socket.getaddrinfo(addresses_of(parts.hostname)[0], port, type=socket.SOCK_STREAM)

        class Server(ldap3.Server):
            @property
            def address_info(self) -> list[Any]:
                """What the library would look up itself; the last two are for its own notes."""
                return [[*info, None, None] for info in digits]

        server = Server(
            parts.hostname, port, use_ssl=tls, get_info=ldap3.SCHEMA, connect_timeout=o.timeout_s,
            tls=ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=o.ca_file or None),
        )  # fmt: skip
        connection = ldap3.Connection(
            server, user or None, password or None, read_only=True, auto_referrals=False, raise_exceptions=True,
            receive_timeout=o.timeout_s, check_names=False, return_empty_attributes=False,
        )  # fmt: skip
        connection.open(read_server_info=False)
        if o.tls == "starttls" and not tls:
            connection.start_tls(read_server_info=False)
        connection.bind(read_server_info=False)
        return _Bound(connection)

    def _fault(self, error: Exception) -> ConnectorFault:
        from ldap3.core import exceptions as ldap

        where = "The directory"
        match error:
            case ldap.LDAPInvalidCredentialsResult() | ldap.LDAPInsufficientAccessRightsResult():
                return ConnectorFault("credentials", f"{where} refuses our user or password. Set new ones.")
            case ldap.LDAPInappropriateAuthenticationResult() | ldap.LDAPStrongerAuthRequiredResult():
                return ConnectorFault("credentials", f"{where} does not let us in this way ({type(error).__name__}).")
            case ldap.LDAPNoSuchObjectResult() | ldap.LDAPUndefinedAttributeTypeResult():
                return ConnectorFault(
                    "schema", f"{where} has no such part any more. Check base and the branch's place."
                )
            case ldap.LDAPSizeLimitExceededResult():
                return ConnectorFault("refused", f"More than {_MOST} entries are so called. Ask for fewer.")
            case ldap.LDAPTimeLimitExceededResult() | ldap.LDAPResponseTimeoutError():
                return ConnectorFault("slow", f"{where} gave no answer within {self.options.timeout_s} s.")
            case ldap.LDAPStartTLSError() | ldap.LDAPProtocolErrorResult():
                return ConnectorFault("credentials", f"{where} and we do not agree on TLS. Check tls and ca_file.")
            case ldap.LDAPInvalidFilterError() | ldap.LDAPInvalidDnError() | ldap.LDAPInvalidDNSyntaxResult():
                return ConnectorFault("invalid", f"{where}: base, people or groups is not written as LDAP has it.")
        if "timed out" in str(error):
            return ConnectorFault("slow", f"{where} gave no answer within {self.options.timeout_s} s.")
        if "certificate" in str(error).lower():
            return ConnectorFault(
                "credentials", f"The certificate of {where.lower()} cannot be trusted. Check ca_file."
            )
        return ConnectorFault("down", f"{where} cannot be reached or is broken ({type(error).__name__}).")


class _Bound:
    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def __enter__(self) -> Any:
        return self.connection

    def __exit__(self, *_: object) -> None:
        from ldap3.core.exceptions import LDAPException

        try:
            self.connection.unbind()
        except (LDAPException, OSError):
            pass  # the answer is in


def _options(parameters: Mapping[str, Any]) -> Options:
    options = msgspec.convert(dict(parameters), Options)
    for key in ("by", "required"):
        for name in getattr(options, key):
            if name not in options.attributes:
                raise BadParameter(key, f'"{name}" is not in attributes', f"There are: {', '.join(options.attributes)}")
    if not options.by:
        raise BadParameter("by", "it is empty", 'Write by = ["email"]')
    return options


def _manifest(options: Options) -> Manifest:
    text = {"type": "string", "minLength": 1, "maxLength": 200}
    person = {"type": "object", "properties": dict.fromkeys(options.by, text), "additionalProperties": False}
    group = {"type": "object", "properties": {"group": text}, "required": ["group"], "additionalProperties": False}
    timeout_s = options.timeout_s * 2.0 + 1
    return Manifest(
        kind="ldap",
        title="Directory (LDAP)",
        settings=("url", "user", "password"),
        secrets=("password",),
        operations=(
            Operation("person", "read", f"People by {' and '.join(options.by)}, exactly.", person,
                      personal=options.by, timeout_s=timeout_s),
            Operation("groups", "read", "The groups of one person.", person, personal=options.by, timeout_s=timeout_s),
            Operation("members", "read", f"The people of a group, at most {_MOST}.", group, timeout_s=timeout_s),
        ),
        branch_scope="DN that the branch's people and groups are below",
    )  # fmt: skip


def _below(dn: str, base: str) -> bool:
    """Whether a name is in a part of the tree. Raises LDAPException for what is no name."""
    from ldap3.utils.dn import parse_dn

    inner, outer = ([(a.lower(), v.lower()) for a, v, _ in parse_dn(one)] for one in (dn, base))
    return inner[-len(outer) :] == outer


def _is(attribute: str, value: str) -> str:
    from ldap3.utils.conv import escape_filter_chars

    return f"({attribute}={escape_filter_chars(value)})"


def _and(*filters: str) -> str:
    return f"(&{''.join(filters)})"


def _texts(entry: dict[str, Any], attribute: str) -> list[str]:
    """Attributes are named in whichever way the server likes. Raises ConnectorFault for what is no text."""
    raw = {name.lower(): values for name, values in entry["raw_attributes"].items()}
    try:
        return [value.decode() for value in raw.get(attribute.lower(), ())]
    except UnicodeDecodeError:
        raise ConnectorFault("data", f"{attribute} of {entry['dn']} is no text. Correct it there.") from None
