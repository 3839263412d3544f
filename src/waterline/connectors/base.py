"""What the platform asks of a connector: to say what it can do, and to do it once.

A connector is one file: a `Manifest`, and a class of the shape of `Connector`. It translates; validation, time-outs,
retries, the breaker and the books are `connectors/run.py`'s. Addresses and secrets come from settings, never from an
app's folder.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct

EffectClass = Literal["read", "write", "irreversible"]

FaultKind = Literal[
    "slow",  # no answer in time; whether it happened is unknown
    "down",  # no connection, 5xx: tried again
    "credentials",  # our secret is wrong or lacks a right: people must act, not tried again
    "schema",  # the system is not what the manifest says (a field or table is gone): people must act
    "data",  # what it answered cannot be understood (an impossible date): this record only
    "refused",  # the system understood and says no (slot taken, validation failed): tell the user
    "invalid",  # our arguments are wrong: a mistake of the flow
]
PERMANENT = ("credentials", "schema", "data", "refused", "invalid")


class ConnectorFault(Exception):
    """The message is for people in the office, names the system and the next step, and holds no secret."""

    def __init__(self, kind: FaultKind, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.kind: FaultKind = kind
        self.message = message
        self.retry_after_s = retry_after_s


class Operation(Struct, frozen=True, omit_defaults=True):
    """One thing a connector can do. `once` says how a repeat with the same key does nothing: by the key as the record's
    own id (uid), by a lookup of the key before the write (lookup), by a condition in the write itself (condition), or
    by the system's own idempotency key (native)."""

    name: str
    effect: EffectClass
    description: str
    parameters: dict[str, Any]  # JSON Schema of an object
    once: Literal["", "uid", "lookup", "condition", "native"] = ""  # "" only for reads
    confirm: bool = False  # a person, the user or the office, must have said yes
    personal: tuple[str, ...] = ()  # parameters and results that are personal data; never in logs
    timeout_s: float = 8.0
    retries: int = 2  # of what may be repeated, within one call


class Breaking(Struct, frozen=True):
    """When the system is left alone, for each branch apart. Wrong credentials, wrong for all, do it at once."""

    failures: int = 3  # in a row: no answer, no connection
    pauses_s: tuple[float, ...] = (2.0, 5.0, 15.0, 30.0)  # before the first, second ... call that tries again


class Manifest(Struct, frozen=True):
    kind: str  # "caldav"
    title: str
    settings: tuple[str, ...]  # what must be set for it: url, user, password ...
    secrets: tuple[str, ...]  # those of them that are secret
    operations: tuple[Operation, ...]
    branch_scope: str = ""  # what `Scope.place` means here: "path of the calendar"; "": one for all branches
    breaker: Breaking = Breaking()

    def operation(self, name: str) -> Operation:
        for operation in self.operations:
            if operation.name == name:
                return operation
        known = ", ".join(o.name for o in self.operations)
        raise ConnectorFault("invalid", f'{self.kind} has no operation "{name}". It has: {known}')


class Scope(Struct, frozen=True):
    """For whom. `place` is the branch's own part of the system; a connector never looks beyond it."""

    branch: str
    place: str = ""
    timezone: str = "UTC"


class Connector(Protocol):
    """Made from its settings; opens nothing until it is first called. One instance may be called concurrently."""

    manifest: Manifest

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        """Does it and returns JSON-able data. `key` (writes): the same key means the same act, also after a crash
        in the middle; the second time returns what the first did. Raises ConnectorFault."""
        ...

    async def close(self) -> None: ...


class Config(Struct, frozen=True):
    """What one connector is made from. Never shown: it holds secrets."""

    name: str  # as the app calls it: [connectors.<name>]
    settings: Mapping[str, str] = {}  # addresses and secrets, by the names in `Manifest.settings`
    parameters: Mapping[str, Any] = {}  # from app.toml, checked against the kind's PARAMETERS
    files: Mapping[str, str] = {}  # texts of the app folder that parameters name (a WSDL, an OpenAPI description)

    def __repr__(self) -> str:
        return f"Config({self.name!r})"


class BadParameter(ValueError):
    """A parameter of app.toml that a kind refuses: which, what is wrong, what to write instead."""

    def __init__(self, key: str, problem: str, remedy: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key, self.problem, self.remedy = key, problem, remedy


class Kind(Protocol):
    """The class of a connector, as `connectors/registry.py` names it. Importing it imports no client library."""

    # JSON Schema of what app.toml may say; a property with "format": "file" names a text file of the app folder,
    # handed over in `Config.files` under that name
    PARAMETERS: dict[str, Any]

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        """What it can do when declared so; the same for all if nothing depends on it. Raises BadParameter."""
        ...

    def __call__(self, config: Config) -> Connector: ...
