"""Who may do what in a branch, as branches.* declare it: `role.desk` = "Ana Souza <ana@school.example>, rui@..."."""

import re
from collections.abc import Callable, Mapping

from waterline.access.roles import BRANCH_ROLES, PERSON_ROLES
from waterline.core.branch import Person
from waterline.rollout.reading import did_you_mean

MOST_OF_BRANCH = 50
LONGEST = 80  # of a name and of an address, as of a key's name
HOW = "Write Ana Souza <ana@school.example>, the next one after a semicolon"
_EMAIL = re.compile(r"[^\s@<>()\[\]\",;:\\]{1,64}@[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+\Z")
_PERSON = re.compile(r"\s*(?:(?P<name>[^<>@]*?)\s*<(?P<in>[^<>]*)>|(?P<bare>[^<>]*?))\s*\Z")

Bad = Callable[[str, str, str], None]  # column, problem, remedy


def split_people(text: str) -> tuple[str, ...]:
    """The people of a cell."""
    return tuple(part.strip() for part in re.split(r"[;,\n]", text) if part.strip())


def unknown_role(role: str) -> tuple[str, str]:
    """The problem and its remedy."""
    if role in PERSON_ROLES:
        return (
            f'"{role}" is a role in all branches, not in one',
            f"An owner gives it: waterline key create --role {role}",
        )
    return f'there is no role "{role}" in a branch; there are {", ".join(BRANCH_ROLES)}', did_you_mean(
        role, BRANCH_ROLES
    )


def read_people(said: Mapping[str, tuple[str, ...]], bad: Bad) -> tuple[Person, ...]:
    """`said`: role -> people. Mistakes name their column."""
    found: dict[str, Person] = {}
    for role, people in said.items():
        column = f"role.{role}"
        if role not in BRANCH_ROLES:
            bad(column, *unknown_role(role))
            continue
        for text in people:
            person = _person(text, role, column, bad)
            if person is None:
                continue
            if (there := found.get(person.email)) is not None:
                bad(column, f"{person.email} is there already, as {there.role}", "One role for a person in a branch")
            found[person.email] = person
    if len(found) > MOST_OF_BRANCH:
        bad("role", f"{len(found)} people, and a branch has at most {MOST_OF_BRANCH}", "Name those who answer")
    return tuple(found.values())


def _person(text: str, role: str, column: str, bad: Bad) -> Person | None:
    match = _PERSON.match(text)
    name = " ".join(((match and match["name"]) or "").strip(' "').split())
    email = ((match and (match["in"] or match["bare"])) or "").strip().lower()
    if not _EMAIL.match(email) or not email.isprintable() or len(email) > LONGEST:
        bad(column, f'"{text[:LONGEST]}" is no e-mail address of at most {LONGEST} characters', HOW)
        return None
    if len(name) > LONGEST or not name.isprintable():
        bad(column, f"the name of {email} is not one short line", f"Write at most {LONGEST} characters")
        return None
    return Person(email, role, name)
