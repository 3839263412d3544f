"""What an app declares of its channels: policy, no addresses and no secrets. Part of the environment record."""

from msgspec import Struct

WHATSAPP_WINDOW_US = 24 * 3600 * 1_000_000

# A message that is nothing but one of these ends the writing of templates to this person. English, Portuguese, Spanish.
STOP_WORDS = (
    "stop", "unsubscribe", "opt out", "optout", "stop messages", "cancel messages",
    "parar", "pare", "sair", "descadastrar", "cancelar inscrição", "não quero mais mensagens",
    "baja", "dar de baja", "darme de baja", "no más mensajes", "cancelar suscripción", "detener",
)  # fmt: skip
START_WORDS = ("start", "unstop", "subscribe", "começar", "voltar a receber", "alta", "darme de alta", "suscribirme")


class WhatsAppPolicy(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Money in nano-USD. None: not limited."""

    opt_out_words: tuple[str, ...] = ()  # besides the built-in ones
    opt_in_words: tuple[str, ...] = ()
    list_button: str = "•••"  # what opens a list; at most 20 characters
    nano_usd_per_month: int | None = None  # of the app's channel fees, hard
    nano_usd_per_branch_month: int | None = None  # of each branch's
    reserve: dict[str, str] = {}  # a number's id -> the number that stands in for it when it is stopped
    marketing_needs_opt_in: bool = True
    messages_per_second: int = 80  # of each number
    prices: dict[str, int] = {}  # "351/utility" -> nano-USD a message; wins over the built-in table


class WebchatPolicy(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    origins: tuple[str, ...] = ()  # pages that may show the chat: "https://school.example"
    title: str = "Chat"
    greeting: str = ""
    messages_per_minute: int = 20  # of one visitor


class EmailPolicy(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    subject: str = "Re: your message"  # where the conversation has none
    ignore: tuple[str, ...] = ()  # senders, or "@domain", that are never answered


class Channels(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """None: the app does not use this channel."""

    whatsapp: WhatsAppPolicy | None = None
    webchat: WebchatPolicy | None = None
    email: EmailPolicy | None = None


def window_open(channel: str, last_inbound_us: int, now_us: int) -> bool:
    """Whether free-form messages may be sent. On WhatsApp: for 24 hours from the user's last message."""
    if channel != "whatsapp":
        return True
    return last_inbound_us > 0 and now_us - last_inbound_us < WHATSAPP_WINDOW_US


def wish(text: str, policy: WhatsAppPolicy) -> bool | None:
    """False: the person wants no more messages from us; True: wants them again; None: says something else."""
    said = " ".join(text.casefold().strip(" \t\r\n.!¡¿?\"'").split())
    if not said or len(said) > 60:
        return None
    if said in STOP_WORDS or said in {w.casefold() for w in policy.opt_out_words}:
        return False
    if said in START_WORDS or said in {w.casefold() for w in policy.opt_in_words}:
        return True
    return None
