"""API keys: `wl-` + 8 hex digits (the part that is shown) + 43 URL-safe characters (256 random bits).

Only the SHA-256 of a key is kept. A slow hash (argon2, bcrypt) protects what people choose and an attacker can guess;
256 random bits cannot be guessed at any speed, so it would buy nothing and cost every request milliseconds.

Two kinds. An *app key* belongs to one app and environment and opens the data plane only. A *personal key* belongs to a
person with a role and opens the console and the control plane.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NoReturn, Protocol

from msgspec import Struct
from msgspec.structs import replace

from waterline.access.roles import PERSON_ROLES, Action, Principal, Role, require
from waterline.access.throttle import WrongKeys
from waterline.core.app_spec import UNLIMITED, Priority, Spending
from waterline.core.errors import InvalidApiKey, MissingApiKey, Refused
from waterline.core.money import usd

__all__ = [
    "SYSTEM",
    "Act",
    "Change",
    "KeyRing",
    "KeyStore",
    "MemoryKeys",
    "NewKey",
    "Principal",
    "StoredKey",
    "hide_keys",
]

Kind = Literal["app", "person"]
Headers = Sequence[tuple[bytes, bytes]]  # lower-case names, as ASGI gives them

ID_LENGTH = 11  # wl-1a2b3c4d
KEY_LENGTH = ID_LENGTH + 43
CACHE_SIZE = 4096
NEVER = 2**63
LARGEST_BUDGET = 10**18  # nano-USD: a thousand million USD

_KEY = re.compile(rb"wl-[0-9a-f]{8}[A-Za-z0-9_-]{43}")
_KEY_IN_TEXT = re.compile(r"(wl-[0-9a-f]{8})[A-Za-z0-9_-]{6,}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_NO_DIGEST = bytes(32)

SYSTEM = Principal(key_id="", kind="person", name="waterline", role=Role.OWNER)  # who acts at the first start


class StoredKey(Struct, frozen=True):
    """A key as the store keeps it. Times are Unix microseconds."""

    id: str  # "wl-1a2b3c4d"
    digest: str  # SHA-256 of the whole key, 64 hex digits
    kind: Kind
    name: str
    app: str
    env: str
    role: Role | None
    assert_identity: bool
    created_us: int
    created_by: str
    expires_us: int | None = None
    revoked_us: int | None = None
    branch: str = ""  # of the organisation; "": none
    nano_usd_per_day: int | None = None  # the key's own hard budget
    nano_usd_per_month: int | None = None
    priority: Priority | Literal[""] = ""  # a request may lower it; "": what the request or the app says
    person: str = ""  # who it belongs to; "": who it is named after
    grants: dict[str, Role] | None = None  # branch of `app` -> role, from its sheet; None: not by branch

    def principal(self) -> Principal:
        return Principal(
            self.id, self.kind, self.name, self.app, self.env, self.role, self.assert_identity, self.branch,
            self.priority or None, self.person, self.grants,
        )  # fmt: skip

    def usable(self, now_us: int) -> bool:
        return self.revoked_us is None and (self.expires_us is None or now_us < self.expires_us)


class NewKey(Struct, frozen=True):
    """A key at its birth: the only moment at which `text` exists. Show it once, never keep it."""

    text: str
    stored: StoredKey

    def __repr__(self) -> str:
        return f"NewKey({self.stored.id}...)"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("id", self.stored.id)]


class Act(Struct, frozen=True):
    """What the audit log says of a change; written in the change's own transaction."""

    by: Principal
    action: str
    target: str
    detail: dict[str, str]
    at_us: int


class Change(Struct, frozen=True):
    """One of those that are made together, with its audit entry."""

    what: Literal["new", "changed", "gone"]
    key: StoredKey  # as it is afterwards
    act: Act


class KeyStore(Protocol):
    """Where keys are kept. Each change is one transaction with its audit entry."""

    def load(self) -> list[StoredKey]: ...

    def add_now(self, key: StoredKey, act: Act) -> None:
        """The same as `add`, blocking: for the first start, before there is an event loop."""
        ...

    async def add(self, key: StoredKey, act: Act) -> None: ...

    async def revoke(self, key_id: str, at_us: int, act: Act) -> None: ...

    async def settle(self, changes: Sequence[Change]) -> None:
        """All of them or none."""
        ...


class MemoryKeys:
    """A KeyStore for tests and for a bench: keeps keys and acts in lists."""

    def __init__(self) -> None:
        self.keys: dict[str, StoredKey] = {}
        self.acts: list[Act] = []

    def load(self) -> list[StoredKey]:
        return list(self.keys.values())

    def add_now(self, key: StoredKey, act: Act) -> None:
        self.keys[key.id] = key
        self.acts.append(act)

    async def add(self, key: StoredKey, act: Act) -> None:
        self.add_now(key, act)

    async def revoke(self, key_id: str, at_us: int, act: Act) -> None:
        self.keys[key_id] = replace(self.keys[key_id], revoked_us=at_us)
        self.acts.append(act)

    async def settle(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.add_now(change.key, change.act)


class KeyRing:
    """All keys, in memory. Reading happens on the event loop's thread and awaits nothing.

    A change is in force when `create` or `revoke` returns: memory follows the committed transaction."""

    def __init__(self, store: KeyStore, clock_us: Callable[[], int]) -> None:
        self._store = store
        self._clock_us = clock_us
        self._wrong = WrongKeys(clock_us)
        self._changing = asyncio.Lock()
        self._keys: dict[str, StoredKey] = {}
        # Raw header value -> principal and expiry. Only good keys enter, so a stranger cannot fill it. Looking up a
        # secret in a dict compares keyed hashes (SipHash) first: its timing does not lead to the key.
        self._bearer_hits: dict[bytes, tuple[Principal, int]] = {}
        self._x_api_key_hits: dict[bytes, tuple[Principal, int]] = {}
        self.reload()

    def reload(self) -> None:
        self._keys = {key.id: key for key in self._store.load()}
        self._forget_hits()

    # --- who is calling

    def authenticate(self, headers: Headers, address: str = "") -> Principal:
        """Who sent these headers. Raises InvalidApiKey; its message says which way the key is bad and never holds it.
        From an `address` that sent too many wrong ones, RateLimited instead; a right one is not held up by that.

        Both `Authorization: Bearer` and `x-api-key` are read. An SDK may send another vendor's token in the one and
        ours in the other, so the one that looks like ours counts; two different ones of ours are refused."""
        named = dict(headers)
        bearer, x_api_key = named.get(b"authorization"), named.get(b"x-api-key")
        if len(named) < len(headers):
            for name, value in headers:
                if name in (b"authorization", b"x-api-key") and value != named[name]:
                    _refuse_two()
        if bearer is not None and x_api_key is None:
            hit = self._bearer_hits.get(bearer)
        elif x_api_key is not None and bearer is None:
            hit = self._x_api_key_hits.get(x_api_key)
        else:
            hit = None
        if hit is not None and (hit[1] == NEVER or self._clock_us() < hit[1]):
            return hit[0]
        try:
            return self._read(bearer, x_api_key)
        except MissingApiKey:
            raise
        except InvalidApiKey as error:
            raise self._wrong.answer(error, address) from None

    def _read(self, bearer: bytes | None, x_api_key: bytes | None) -> Principal:
        from_bearer = _bearer_token(bearer)
        from_x = (x_api_key or b"").strip()
        if from_bearer.startswith(b"wl-") and from_x.startswith(b"wl-") and from_bearer != from_x:
            _refuse_two()
        use_bearer = from_bearer.startswith(b"wl-") or not from_x
        token = from_bearer if use_bearer else from_x
        if not token:
            if bearer is not None and bearer.strip().lower() not in (b"", b"bearer"):
                raise InvalidApiKey("The Authorization header is not of the form `Bearer wl-...`.")
            raise MissingApiKey(
                "No API key was sent. Send it as `Authorization: Bearer wl-...` or `x-api-key: wl-...`; "
                "`waterline key create` makes one."
            )
        principal = self.check(token)
        hits = self._bearer_hits if use_bearer else self._x_api_key_hits
        if (bearer is None) != (x_api_key is None):
            if len(hits) >= CACHE_SIZE:
                hits.clear()
            hits[bearer if bearer is not None else x_api_key or b""] = (principal, self._expiry(principal.key_id))
        return principal

    def check(self, token: bytes) -> Principal:
        """Who has this key (a pasted one, say). Raises InvalidApiKey."""
        if not _KEY.fullmatch(token):
            raise InvalidApiKey(
                f"The API key is malformed: a key is `wl-` and {KEY_LENGTH - 3} more characters. "
                "Check that it was copied whole, without quotes or spaces."
            )
        key = self._keys.get(token[:ID_LENGTH].decode("ascii"))
        digest = hashlib.sha256(token).digest()
        # An unknown id is compared as well, so that an answer's time does not tell which ids exist.
        if not hmac.compare_digest(digest, bytes.fromhex(key.digest) if key else _NO_DIGEST) or key is None:
            raise InvalidApiKey(
                "The API key is not known to this server. Check that it belongs to this server, "
                "or make one with `waterline key create`."
            )
        return self._usable(key)

    def principal(self, key_id: str) -> Principal:
        """Who has the key with this id, now: a console session asks at every request. Raises InvalidApiKey."""
        key = self._keys.get(key_id)
        if key is None:
            raise InvalidApiKey("The key of this session does not exist any more. Sign in with another one.")
        return self._usable(key)

    def _usable(self, key: StoredKey) -> Principal:
        """Told only to whoever holds the key."""
        if key.revoked_us is not None:
            raise InvalidApiKey(
                f"API key {key.id} was revoked on {_when(key.revoked_us)}. `waterline key create` makes a new one."
            )
        if not key.usable(self._clock_us()):
            raise InvalidApiKey(
                f"API key {key.id} expired on {_when(key.expires_us or 0)}. `waterline key create` makes a new one."
            )
        return key.principal()

    def _expiry(self, key_id: str) -> int:
        expires_us = self._keys[key_id].expires_us
        return NEVER if expires_us is None else expires_us

    def _forget_hits(self) -> None:
        self._bearer_hits.clear()
        self._x_api_key_hits.clear()

    def budgets(self, app: str) -> dict[str, Spending]:
        """The hard budgets that keys of this app carry, by key id; also of revoked ones: what they spent was spent."""
        return {
            key.id: Spending(key.nano_usd_per_day, key.nano_usd_per_month)
            for key in self._keys.values()
            if key.app == app and (key.nano_usd_per_day is not None or key.nano_usd_per_month is not None)
        }

    # --- changes

    def list(self) -> tuple[StoredKey, ...]:
        """All keys, revoked and expired ones too, oldest first."""
        return tuple(sorted(self._keys.values(), key=lambda key: (key.created_us, key.id)))

    async def create_app_key(
        self,
        by: Principal,
        *,
        name: str,
        app: str,
        env: str,
        assert_identity: bool = False,
        expires_us: int | None = None,
        branch: str = "",
        budget: Spending = UNLIMITED,
        priority: Priority | Literal[""] = "",
    ) -> NewKey:
        """Raises PermissionDenied, or Refused for a bad name or an expiry in the past."""
        require(by, Action.KEY_CREATE_APP)
        if assert_identity:
            require(by, Action.KEY_ASSERT_IDENTITY)
        for what, value in (("an app", app), ("an environment", env), ("a branch", branch or "none")):
            if not _SLUG.fullmatch(value):
                raise Refused(f"{value!r} is not a name of {what}. Use lower-case letters, digits, - _ and .", 400)
        detail = {"kind": "app", "name": name, "app": app, "env": env}
        if assert_identity:
            detail["assert_identity"] = "yes"
        if branch:
            detail["branch"] = branch
        if priority:
            detail["priority"] = priority
        for period, nano in (("day", budget.nano_usd_per_day), ("month", budget.nano_usd_per_month)):
            if nano is not None:
                if not 0 < nano <= LARGEST_BUDGET:
                    raise Refused(f"A budget is more than 0 and at most {usd(LARGEST_BUDGET)} USD a {period}.", 400)
                detail[f"usd_per_{period}"] = usd(nano, 9)
        async with self._changing:
            new = self._make(
                by, "app", name, app=app, env=env, assert_identity=assert_identity, expires_us=expires_us,
                branch=branch, budget=budget, priority=priority,
            )  # fmt: skip
            await self._store.add(new.stored, self._act(by, Action.KEY_CREATE_APP, new.stored, detail))
            self._put(new.stored)
        return new

    async def create_personal_key(
        self, by: Principal, *, name: str, role: Role, expires_us: int | None = None, branch: str = "", person: str = ""
    ) -> NewKey:
        """`branch`: whoever is at the desk of one branch sees that branch's conversations and no other. `person`: who
        it belongs to, if its name does not say: all keys of a person are that person where two must differ.

        Raises PermissionDenied, or Refused for a bad name, role, branch or expiry."""
        require(by, Action.KEY_CREATE_PERSON)
        if branch and role is not Role.DESK:
            text = f"A person's key is bound to a branch only at the {Role.DESK}: {role} sees what is of all branches."
            raise Refused(text, 400)
        if branch and not _SLUG.fullmatch(branch):
            raise Refused(f"{branch!r} is not a name of a branch. Use lower-case letters, digits, - _ and .", 400)
        async with self._changing:
            new = self._make(by, "person", name, role=role, expires_us=expires_us, branch=branch, person=person)
            more = {"branch": branch, "person": person}
            detail = {"kind": "person", "name": name, "role": role} | {k: v for k, v in more.items() if v}
            await self._store.add(new.stored, self._act(by, Action.KEY_CREATE_PERSON, new.stored, detail))
            self._put(new.stored)
        return new

    def create_first_key(self, name: str = "operator", *, lost: bool = False) -> NewKey:
        """The owner's key of a new data folder, blocking. Raises Refused if there is a usable owner's key already.

        `lost`: make another one all the same: whoever starts the server may read and write its data anyway."""
        if self._owners() and not lost:
            raise Refused("There is an owner's key already. Sign in with it to create others.")
        new = self._make(SYSTEM, "person", name, role=Role.OWNER)
        detail = {
            "kind": "person",
            "name": name,
            "role": Role.OWNER.value,
            "why": "no key file at start" if lost else "no usable owner's key",
        }
        self._store.add_now(new.stored, self._act(SYSTEM, Action.KEY_CREATE_PERSON, new.stored, detail))
        self._put(new.stored)
        return new

    async def revoke(self, by: Principal, key_id: str, reason: str = "") -> StoredKey:
        """In force when this returns. Raises PermissionDenied; Refused if unknown, revoked or the last owner's."""
        async with self._changing:
            key = self._keys.get(key_id)
            # Who may revoke no key at all is not told which ids exist.
            require(by, Action.KEY_REVOKE if key is None or key.kind == "app" else Action.KEY_REVOKE_PERSON)
            if key is None:
                raise Refused(f"There is no key {hide_keys(key_id)[:40]!r}. `waterline key list` shows them.", 404)
            if key.revoked_us is not None:
                raise Refused(f"Key {key_id} was revoked already, on {_when(key.revoked_us)}.")
            if self._owners() == {key_id}:
                raise Refused(
                    f"Key {key_id} is the last usable key of an owner; without one nobody could create keys. "
                    "Create another owner's key first."
                )
            now_us = self._clock_us()
            action = Action.KEY_REVOKE if key.kind == "app" else Action.KEY_REVOKE_PERSON
            detail = {"kind": key.kind, "name": key.name, "reason": hide_keys(reason)}
            await self._store.revoke(key_id, now_us, self._act(by, action, key, detail))
            revoked = replace(key, revoked_us=now_us)
            self._put(revoked)
        return revoked

    def of_sheet(self, app: str) -> dict[str, StoredKey]:
        """The usable keys that the sheet of an app's branches gave, by person."""
        now_us = self._clock_us()
        return {k.name: k for k in self.list() if k.app == app and k.grants is not None and k.usable(now_us)}

    async def settle_sheet(
        self, by: Principal, app: str, declared: Callable[[], Mapping[str, Mapping[str, Role]]]
    ) -> tuple[NewKey, ...]:
        """`declared`: person -> branch -> role; asked when no other key can change any more, and it may raise.
        Afterwards each of them has one key of `app` that opens just that, and nobody else has one. The new keys.

        Raises PermissionDenied: whoever may not make, change and revoke the keys of people may not apply a sheet."""
        for action in (Action.KEY_CREATE_PERSON, Action.KEY_CHANGE_PERSON, Action.KEY_REVOKE_PERSON):
            require(by, action)
        async with self._changing:
            there = self.of_sheet(app)
            made: tuple[NewKey, ...] = ()
            changes: tuple[Change, ...] = ()
            wanted = declared()
            for person, said in wanted.items():
                grants = {branch: Role(role) for branch, role in said.items()}
                role = Role.DESK if Role.DESK in grants.values() else Role.VIEWER
                if (key := there.get(person)) is None:
                    new = self._make(by, "person", person, app=app, role=role, grants=grants)
                    made += (new,)
                    changes += (self._change(by, "new", new.stored),)
                elif key.grants != grants:
                    changes += (self._change(by, "changed", replace(key, role=role, grants=grants)),)
            for person in sorted(there.keys() - wanted.keys()):
                gone = replace(there[person], revoked_us=self._clock_us())
                changes += (self._change(by, "gone", gone),)
            await self._store.settle(changes)
            for change in changes:
                self._put(change.key)
        return made

    def _change(self, by: Principal, what: Literal["new", "changed", "gone"], key: StoredKey) -> Change:
        detail = {"kind": "person", "name": key.name, "app": key.app}
        match what:
            case "new" | "changed":
                action = Action.KEY_CREATE_PERSON if what == "new" else Action.KEY_CHANGE_PERSON
                detail["branches"] = ", ".join(
                    f"{branch}={role}" for branch, role in sorted((key.grants or {}).items())
                )
            case "gone":
                action = Action.KEY_REVOKE_PERSON
                detail["reason"] = "not in the sheet of the branches any more"
        return Change(what, key, self._act(by, action, key, detail))

    def _put(self, key: StoredKey) -> None:
        self._keys[key.id] = key
        self._forget_hits()

    def _owners(self) -> set[str]:
        now_us = self._clock_us()
        return {k.id for k in self._keys.values() if k.kind == "person" and k.role is Role.OWNER and k.usable(now_us)}

    def _act(self, by: Principal, action: Action, key: StoredKey, detail: dict[str, str]) -> Act:
        if key.expires_us is not None and key.revoked_us is None:
            detail = {**detail, "expires": _when(key.expires_us)}
        return Act(by, action.value, key.id, detail, self._clock_us())

    def _make(
        self,
        by: Principal,
        kind: Kind,
        name: str,
        *,
        app: str = "",
        env: str = "",
        role: Role | None = None,
        assert_identity: bool = False,
        expires_us: int | None = None,
        branch: str = "",
        budget: Spending = UNLIMITED,
        priority: Priority | Literal[""] = "",
        person: str = "",
        grants: dict[str, Role] | None = None,
    ) -> NewKey:
        now_us = self._clock_us()
        if person and (not person.strip() or len(person) > 80 or not person.isprintable() or set(person) & set("()")):
            raise Refused("A person is 1 to 80 printable characters, without parentheses.", 400)
        if not name.strip() or len(name) > 80 or not name.isprintable() or set(name) & set("()"):
            raise Refused("A key needs a name of 1 to 80 printable characters, without parentheses.", 400)
        if hide_keys(name) != name or hide_keys(person) != person:
            raise Refused("The name holds a key. Name the person or the program instead.", 400)
        if kind == "person" and role not in PERSON_ROLES:
            raise Refused(f"{role!s} is not a role of a person. One of: {', '.join(PERSON_ROLES)}.", 400)
        if expires_us is not None and not now_us < expires_us < 253_402_300_800_000_000:  # the year 10000
            raise Refused("The key would be expired already, or never in a calendar's reach. Give a later time.", 400)
        key_id = f"wl-{secrets.token_hex(4)}"
        while key_id in self._keys:
            key_id = f"wl-{secrets.token_hex(4)}"
        text = key_id + secrets.token_urlsafe(32)
        stored = StoredKey(
            id=key_id,
            digest=hashlib.sha256(text.encode()).hexdigest(),
            kind=kind,
            name=name,
            app=app,
            env=env,
            role=role,
            assert_identity=assert_identity,
            created_us=now_us,
            created_by=by.name,
            expires_us=expires_us,
            branch=branch,
            nano_usd_per_day=budget.nano_usd_per_day,
            nano_usd_per_month=budget.nano_usd_per_month,
            priority=priority,
            person=person,
            grants=grants,
        )
        return NewKey(text, stored)


def hide_keys(text: str) -> str:
    """`text` with the secret part of anything that looks like a key cut off; for logs and for what users typed."""
    return _KEY_IN_TEXT.sub(r"\1...", text)


def _bearer_token(value: bytes | None) -> bytes:
    if value is None or value[:7].lower() != b"bearer ":
        return b""
    return value[7:].strip()


def _refuse_two() -> NoReturn:
    raise InvalidApiKey("Two different API keys were sent. Send one, in `Authorization` or in `x-api-key`.")


def _when(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
