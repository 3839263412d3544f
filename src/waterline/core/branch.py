"""A unit of the organisation. It scopes keys, budgets, knowledge, calendars, roles, language and time zone; a small
app has one. Branches are part of the environment record: a rollback does not bring an old telephone number back."""

from msgspec import Struct


class Hours(Struct, frozen=True):
    """When somebody is there, or when visits take place. Local time of the branch."""

    weekday: int  # 0 Monday .. 6 Sunday
    start_min: int  # minutes after midnight
    end_min: int


class Person(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who may do what in a branch. Declared is not given: an owner applies it, see docs/howto/desk.md."""

    email: str  # lower case
    role: str  # "desk" or "viewer"
    name: str = ""


class Branch(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    id: str
    name: str
    timezone: str = "UTC"
    languages: tuple[str, ...] = ("en",)  # the first is the one to begin with
    addresses: dict[str, tuple[str, ...]] = {}  # channel -> our addresses there (phone number ids, mailboxes, sites)
    handbook: str = ""  # of the release; "": the app's only one
    office_hours: tuple[Hours, ...] = ()
    visit_hours: tuple[Hours, ...] = ()
    visit_minutes: int = 45
    visits_at_once: int = 1
    closed: tuple[str, ...] = ()  # days off, YYYY-MM-DD
    facts: dict[str, str] = {}  # what texts are filled in with: phone, street, fees
    scope: dict[str, str] = {}  # connector -> what is this branch's there (a calendar's path, a company's id)
    team: tuple[str, ...] = ()  # who takes over, in order: console users or mail addresses
    people: tuple[Person, ...] = ()
