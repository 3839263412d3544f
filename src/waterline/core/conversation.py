"""What a conversation is made of: messages in, turns, effects, messages out.

A channel hands in `Inbound`s; they are stored before the channel hears that they arrived. A conversation is drained by
one turn at a time: a turn reads all waiting messages and the conversation's state, and returns a `Turn`: the new state
and the effects that are to happen. Both are stored in one transaction; then the effects are performed, each known by a
key that is the same however often the turn is run. What an effect came to (`Outcome`) arrives as a message of its own,
so what happened to a booking is told by the next turn, and there is one way in.
"""

from typing import Any, Literal

from msgspec import Struct

ChannelKind = Literal["whatsapp", "webchat", "email", "outcome", "clock"]  # outcome, clock: our own messages
MessageKind = Literal[
    "text", "choice", "image", "audio", "video", "document", "location", "contact", "reaction",
    "outcome",  # an effect ended, or is late: `outcome` says how
    "tick",  # a time that the agent asked for (`Turn.wake_us`) has come
    "takeover",  # a person took the conversation, or gave it back: `text` is "person" or "bot"
    "unknown",
]  # fmt: skip


class Alias(Struct, frozen=True):
    """One name of a person. `kind`: phone (E.164), bsuid (WhatsApp's business-scoped user id), email, web, crm."""

    kind: str
    value: str


class Media(Struct, frozen=True, omit_defaults=True):
    id: str  # the channel's own, to fetch it
    mime: str = ""
    bytes: int = 0
    name: str = ""
    sha256: str = ""


class Outcome(Struct, frozen=True, omit_defaults=True):
    """How an effect ended. `late`: not yet, it is tried again, and a further outcome will follow."""

    name: str  # of the effect within its turn
    state: Literal["done", "refused", "late", "failed"]  # refused: the system said no (taken); failed: handed over
    result: dict[str, Any] = {}
    reason: str = ""  # for people; never shown to a user as it is


class Said(Struct, frozen=True):
    """A line between the user and the person who had the conversation."""

    by_user: bool
    text: str


class Inbound(Struct, frozen=True, omit_defaults=True):
    """One message as a channel received it. (channel, address, message_id) is unique: a repeat is dropped."""

    channel: ChannelKind
    address: str  # our side: a phone number id, a web site's id, a mailbox
    message_id: str
    sender: str  # their side, as the channel knows it; with channel and address it names the conversation
    at_us: int  # when it was sent, by the channel's clock
    kind: MessageKind = "text"
    text: str = ""
    choice: str = ""  # id of a button or of a list's row
    media: Media | None = None
    reply_to: str = ""
    name: str = ""  # as the sender calls themselves
    aliases: tuple[Alias, ...] = ()
    outcome: Outcome | None = None
    subject: str = ""  # e-mail only
    said: tuple[Said, ...] = ()  # takeover to "bot": what was said meanwhile


class Choice(Struct, frozen=True, omit_defaults=True):
    """A button (at most 3) or a row of a list (at most 10)."""

    id: str
    title: str  # at most 20 characters on a button, 24 in a list
    description: str = ""


class Template(Struct, frozen=True):
    """A message that the channel's owner approved beforehand; the only kind that may open a closed window."""

    name: str
    language: str
    parameters: tuple[str, ...] = ()


class Outbound(Struct, frozen=True, omit_defaults=True):
    """One message to a user: one bubble. `template` is sent instead where the channel's window is closed."""

    text: str = ""
    choices: tuple[Choice, ...] = ()
    template: Template | None = None
    subject: str = ""  # e-mail only
    purpose: Literal["service", "utility", "marketing"] = "service"
    reply_to: str = ""  # the channel's id of the message that it answers


class Effect(Struct, frozen=True, omit_defaults=True):
    """Something to be done in the world. Its key is `<conversation>/<turn>/<name>`, or `key` where the thing itself has
    a better one (one visit of one lead); performing it twice must do it once."""

    name: str
    message: Outbound | None = None  # a reply
    connector: str = ""  # or an operation of a connector
    operation: str = ""
    arguments: dict[str, Any] = {}
    key: str = ""
    quiet: bool = False  # nobody waits for its outcome: only `failed` is reported


class Handoff(Struct, frozen=True, omit_defaults=True):
    """A person is needed."""

    reason: Literal["asked", "anger", "uncertain", "rule", "failed_effect", "abuse", "minor", "trouble"]
    summary: str  # what the person should know, in the language of the office
    urgent: bool = False


class Turn(Struct, frozen=True, omit_defaults=True):
    """What one turn came to."""

    state: bytes  # the agent's own, opaque to everyone else; stored with the effects in one transaction
    effects: tuple[Effect, ...] = ()
    handoff: Handoff | None = None
    stage: str = ""  # of the funnel: first_message, answered, qualified, offered, booked ...
    wake_us: int = 0  # when to be woken if nothing comes before; 0: not at all
    slots: dict[str, str] = {}  # what is known, for people who look
    language: str = ""
    aliases: tuple[Alias, ...] = ()  # what was learned of who this is: phone, e-mail, CRM record
    model_calls: int = 0
    traces: tuple[str, ...] = ()
    heard: dict[str, str] = {}  # what voice notes say, by their `message_id`


class Status(Struct, frozen=True, omit_defaults=True):
    """What became of a message that we sent. Statuses only go forward: sent, delivered, read; or failed."""

    channel: ChannelKind
    address: str
    message_id: str  # the channel's, given when it was sent
    state: Literal["sent", "delivered", "read", "failed"]
    at_us: int
    key: str = ""  # the effect's, where the channel carries it (biz_opaque_callback_data)
    code: int = 0  # the channel's error code
    reason: str = ""
    billable: bool | None = None  # None: the status does not say
    category: str = ""  # service, utility, marketing, authentication ...
    pricing_model: str = ""
