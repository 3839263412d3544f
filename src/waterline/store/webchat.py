"""A visitor's own conversation, as the web chat shows it."""

import msgspec
from msgspec import Struct

from waterline.core.conversation import Effect, Inbound
from waterline.store.db import Tx


class Line(Struct, frozen=True, omit_defaults=True):
    """One message as the page shows it. `n`: of a reply; it grows, and a poll asks for what is after it."""

    n: int
    id: str
    ours: bool
    text: str
    at_us: int
    choices: tuple[tuple[str, str], ...] = ()  # id, title


def replies(tx: Tx, site: str, visitor: str, after: int) -> list[Line]:
    found = []
    for row in tx.all("channels.webchat_replies", site=site, visitor=visitor, after=after):
        message = msgspec.json.decode(row["body"], type=Effect).message
        if message is not None:
            choices = tuple((c.id, c.title) for c in message.choices)
            found.append(Line(row["n"], row["key"], True, message.text, row["at_us"], choices))
    return found


def whole(tx: Tx, site: str, visitor: str) -> list[Line]:
    """Both sides, by time."""
    said = [
        Line(0, row["message_id"], False, msgspec.json.decode(row["body"], type=Inbound).text, row["at_us"])
        for row in tx.all("channels.webchat_said", site=site, visitor=visitor)
    ]
    return sorted([*said, *replies(tx, site, visitor, 0)], key=lambda line: line.at_us)
