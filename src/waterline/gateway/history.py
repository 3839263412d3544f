"""A long conversation made shorter: older turns become one note that keeps what is open and what was said in figures.

Extractive and deterministic: sentences are kept or left out, never rewritten, so replay gives the same bytes. The note
stays in the user's voice: what a user wrote gains no authority by being summarised.

The boundary moves in steps of `keep_last` messages. Between two steps a conversation only grows at its end, so the
provider's prompt cache still fits.
"""

import re
from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from waterline.core.language import STOP_WORDS
from waterline.core.savings import History

BYTES_PER_TOKEN = 4
NOTE_SHARE = 4  # the note has at most this fraction of max_tokens
SENTENCE_CHARS = 300
READ_MESSAGES = 200  # of those left out, the newest
SHORT_REPLY_CHARS = 40
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s|$)[^.!?\n]*)*(?:[.!?]+|\n|$)")
_WORD = re.compile(r"[^\W\d_]+")
# Users leave question marks out.
_ASKS = re.compile(
    r"^\s*(?:how|what|when|where|who|which|why|can you|could you|do you|is there|are there|qual|quais|quando|onde"
    r"|quanto|quem|porque|por que|como|tem|há|cuál|cuánto|cuándo|dónde|quién|cómo|por qué|hay)\b",
    re.IGNORECASE,
)
# An answer that puts the answer off: the question stays open, and the promise is kept.
_PROMISES = re.compile(
    r"\b(?:i(?:'ll| will| am going to)|we(?:'ll| will)|let me (?:check|ask|see)|get back to you|next step|remind"
    r"|vou (?:verificar|confirmar|perguntar|ver|pedir|enviar)|vamos (?:verificar|confirmar|enviar)"
    r"|entrar(?:ei|emos) em contacto|próximo passo|voy a (?:consultar|verificar|preguntar|enviar)"
    r"|le (?:confirmo|aviso)|próximo paso)\b",
    re.IGNORECASE,
)
# What a user cannot, will not or must have: the sentence that an answer must not forget.
_WISHES = re.compile(
    r"\b(?:cannot|can't|don't|do not|does not|doesn't|never|only|prefer|must|need|allerg\w*|at most"
    r"|não|nunca|só|apenas|somente|prefir\w*|preferimos|precis\w*|alérgic\w*|alergia\w*|no máximo"
    r"|no (?:puede|pueden|queremos|quiero|quiere|come)|sol[oa]|sólo|prefier\w*|necesit\w*|hasta|como máximo)\b",
    re.IGNORECASE,
)
_FACT = re.compile(r"\d|@|https?://|\b(?:my name is|i am called|me chamo|chamo-me|me llamo|mi nombre)\b", re.IGNORECASE)
_NAME = re.compile(r"(?<=[\w,;:] )[A-ZÀ-ÖØ-Þ][\w'-]+")
_decode = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


class _Part(Struct):
    text: str = ""


class _Message(Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: Raw = Raw()


_read = msgspec.json.Decoder(_Message).decode


class Sentence(Struct):
    role: str
    text: str
    message: int  # its number in the conversation
    rank: int  # what is kept first: OPEN, PROMISED, a USERS fact or wish, a question that was perhaps ANSWERED, OTHER


OPEN, PROMISED, USERS, ANSWERED, OTHER = range(5)
_TOLD = (("Still open:", OPEN), ("Promised:", PROMISED), ("Said:", USERS), ("Perhaps still open:", ANSWERED))


def shorten(messages: bytes, history: History, summary: str = "") -> bytes:
    """The JSON list of messages, or a shorter one. System messages and the last `keep_last` stay as they are, whatever
    their length; a tool's result is never parted from its call. `summary`: what a model made of `transcript`."""
    parts = _parted(messages, history)
    if parts is None:
        return messages
    raw, read, cut, left_out = parts
    note = _note(read, left_out, history, summary)
    kept = [raw[n] for n in range(cut) if read[n].role in ("system", "developer")]
    tail = raw[cut:]
    first = read[cut]
    if first.role == "user" and isinstance(
        first.content, str
    ):  # two user messages in a row: not every model takes them
        fields = msgspec.json.decode(tail[0], type=dict[str, Raw])
        fields["content"] = Raw(_encode(f"{note}\n\n{first.content}"))
        tail = [Raw(_encode(fields)), *tail[1:]]
    else:
        kept.append(Raw(_encode({"role": "user", "content": note})))
    made = _encode([*kept, *tail])
    return made if len(made) < len(messages) else messages


def transcript(messages: bytes, history: History) -> str:
    """What would be left out, a paragraph a message; empty: nothing."""
    parts = _parted(messages, history)
    if parts is None:
        return ""
    _, read, _, left_out = parts
    return "\n\n".join(f"{read[n].role}: {text}" for n in left_out[-READ_MESSAGES:] if (text := _text(read[n])))


_Parted = tuple[list[Raw], list[_Message], int, list[int]]


def _parted(messages: bytes, history: History) -> _Parted | None:
    """The messages as written and as read, where the kept end begins, the numbers of those left out. None: the whole
    conversation stays."""
    if not history.max_tokens or len(messages) <= history.max_tokens * BYTES_PER_TOKEN:
        return None
    raw = _decode(messages)
    try:
        read = [_read(message) for message in raw]
    except msgspec.ValidationError:
        return None  # of a shape that only the provider knows
    cut = _cut(read, history.keep_last)
    left_out = [n for n in range(cut) if read[n].role not in ("system", "developer")]
    return (raw, read, cut, left_out) if len(left_out) >= 2 else None


def _cut(read: Sequence[_Message], keep_last: int) -> int:
    """Where the kept end begins: at a multiple of `keep_last`, or before it, so that no tool call is split, and no
    question of a user from its answer."""
    cut = max(0, (len(read) - keep_last) // keep_last * keep_last)
    while cut and read[cut].role in ("tool", "function"):
        cut -= 1
    return cut - 1 if cut and read[cut].role == "assistant" and read[cut - 1].role == "user" else cut


def _note(read: Sequence[_Message], left_out: Sequence[int], history: History, summary: str = "") -> str:
    sentences = _sentences(read, left_out)
    if summary:
        return _with_summary(summary, sentences, len(left_out), history)
    room = history.max_tokens * BYTES_PER_TOKEN // NOTE_SHARE
    chosen: set[str] = set()
    for sentence in sorted(sentences, key=lambda s: (s.rank, -s.message)):  # the newest of a rank first
        room -= len(sentence.text) + 12
        if room < 0:
            break
        chosen.add(sentence.text)
    lines = [f"[Earlier in this conversation: {len(left_out)} messages, shortened.]"]
    for title, ranks in (("Still open:", (OPEN, ANSWERED)), ("Promised:", (PROMISED,)), ("Said:", (USERS, OTHER))):
        said = [s for s in sentences if s.text in chosen and s.rank in ranks]
        lines += [title, *(f"- {s.role}: {s.text}" for s in said)] if said else []
    return "\n".join(lines)


def _with_summary(summary: str, sentences: Sequence[Sentence], count: int, history: History) -> str:
    """What a model made of it, then what is open, what was promised and what users said of themselves, word for word;
    of each the newest, whatever room."""
    room = history.max_tokens * BYTES_PER_TOKEN // NOTE_SHARE
    lines = [f"[Earlier in this conversation: {count} messages, summarised.]", summary]
    for title, rank in _TOLD:
        chosen: list[str] = []
        for sentence in (s for s in reversed(sentences) if s.rank == rank):
            room -= len(sentence.text) + 12
            if room < 0 and (chosen or rank == ANSWERED):
                break
            chosen.append(f"- {sentence.role}: {sentence.text}")
        lines += [title, *reversed(chosen)] if chosen else []
    return "\n".join(lines)


def _sentences(read: Sequence[_Message], left_out: Sequence[int]) -> list[Sentence]:
    """What is worth keeping, in the order in which it was said; the same sentence once, where it was said last."""
    said = _said(read, left_out[-READ_MESSAGES:][0])
    found: dict[str, Sentence] = {}
    for n in left_out[-READ_MESSAGES:]:
        role = read[n].role
        for text in said[n].texts:
            folded = text.casefold()
            if folded in found and found[folded].role == role:
                found.pop(folded)
            rank = _rank(read, said, n, text)
            if rank is not None:
                found[folded] = Sentence(role, text, n, rank)
    return list(found.values())


class _Said(Struct):
    """A message taken apart, once. `statements`: what neither asks nor promises, the words that carry its meaning."""

    texts: list[str] = []
    statements: list[tuple[str, set[str]]] = []
    promises: bool = False


def _said(read: Sequence[_Message], first: int) -> list[_Said]:
    """By message; empty before the `first` one."""
    made = []
    for n, message in enumerate(read):
        if n < first or message.role not in ("user", "assistant"):
            made.append(_Said())
            continue
        texts = split(_text(message))
        plain = (t for t in texts if not asks(message.role, t) and not _PROMISES.search(t))
        promises = any(_PROMISES.search(t) for t in texts)
        made.append(_Said(texts, [(text, _stems(text)) for text in plain], promises))
    return made


def _rank(read: Sequence[_Message], said: Sequence[_Said], at: int, text: str) -> int | None:
    role = read[at].role
    if asks(role, text):
        return _asked(read, said, at, text)
    if role == "assistant" and _PROMISES.search(text):
        return PROMISED
    if role == "user" and _WISHES.search(text):
        return USERS
    if _FACT.search(text) or _NAME.search(text):
        return USERS if role == "user" else OTHER
    return None


def _asked(read: Sequence[_Message], said: Sequence[_Said], at: int, text: str) -> int | None:
    """A user's question that the assistant replied to at once, and did not put off, has more likely had its answer."""
    if not _open(read, said, at, text):
        return None
    replied = read[at].role == "user" and at + 1 < len(read) and read[at + 1].role == "assistant"
    return ANSWERED if replied and said[at + 1].statements and not said[at + 1].promises else OPEN


def _open(read: Sequence[_Message], said: Sequence[_Said], at: int, question: str) -> bool:
    """A question is answered where the other side later says something of it that is neither a question nor a promise.

    When in doubt it is open: a question kept in vain costs a few tokens, a lost one a customer."""
    role, wanted = read[at].role, _stems(question)
    other = "assistant" if role == "user" else "user"
    nearest = True
    for n in range(at + 1, len(read)):
        if read[n].role != other:
            nearest = nearest and read[n].role != role
            continue
        for text, stems in said[n].statements:
            if not wanted.isdisjoint(stems):
                return False
            if role == "assistant" and nearest and (len(text) < SHORT_REPLY_CHARS or _FACT.search(text)):
                return False  # "Which grade?" - "3rd"; "May I write to you?" - "Yes"
    return True


def asks(role: str, text: str) -> bool:
    return "?" in text or (role == "user" and _ASKS.search(text) is not None)


def _stems(text: str) -> set[str]:
    """The first five letters of the words that carry meaning."""
    return {word[:5] for word in _WORD.findall(text.lower()) if len(word) > 2 and word not in STOP_WORDS}


def split(text: str) -> list[str]:
    """Sentences, trimmed; very long ones are cut."""
    found = (match.group().strip() for match in _SENTENCE.finditer(text))
    return [s if len(s) <= SENTENCE_CHARS else s[: SENTENCE_CHARS - 3] + "..." for s in found if s]


def _text(message: _Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content or () if part.text)
