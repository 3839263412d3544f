"""Questions that mean the same: a kept answer given to another wording of its question.

Only for the one question of a conversation's first turn, only within what the exact key holds beside that question (the
same prompt, release, key, subject, groups, tools and parameters), and only where no number, date, name, negation,
question word or single word differs. Similarity alone is not enough: "grade 3" and "grade 4" are at 0.89.
"""

import re
import unicodedata
from collections import OrderedDict
from typing import Any

import msgspec
from msgspec import Raw, Struct

from waterline.core.language import STOP_WORDS, identify
from waterline.core.request import Request
from waterline.gateway.cache import AnswerCache, Kept

MAX_CHARS = 300
ROWS_A_SCOPE = 1024
MAX_ROWS = 32_768  # of an app, 1 KiB each
CANDIDATES = 8
_PLACEHOLDER = Raw(b'"?"')
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NAME = re.compile(r"(?<![.!?¿¡]\s)(?<!^)(?<=\s)[A-ZÀ-ÖØ-Þ][\w'-]*")
_FIGURES = re.compile(r"\d+|\S+@\S+|https?://\S+")
_TURNED = re.compile(r"n['’]t\b")
# Words that change what is asked, by what they stand for; compared without accents.
_SENSES = {
    "not": "not no never without none nor cannot nao nunca sem nem nenhum nenhuma sin ni jamas ningun ninguna",
    "who": "who whom whose quem quien quienes",
    "where": "where onde aonde donde adonde",
    "when": "when quando cuando",
    "how much": "quanto quanta quantos quantas cuanto cuanta cuantos cuantas much many",
    "why": "why porque",
    "how": "how como",
    "which": "which what qual quais cual cuales",
    "did": "did done already ja ya",
}
_ALONE = """one two three four five six seven eight nine ten first second third last next dois duas tres quatro cinco
    seis sete oito nove dez primeiro primeira ultimo ultima proximo uno dos cuatro siete ocho nueve diez primero primera
    monday tuesday wednesday thursday friday saturday sunday segunda terca quarta quinta sexta sabado domingo lunes
    martes miercoles jueves viernes january february march april may june july august september october november
    december janeiro fevereiro marco abril maio junho julho agosto setembro outubro novembro dezembro enero febrero
    marzo mayo junio julio septiembre octubre noviembre diciembre today tomorrow yesterday hoje amanha ontem hoy manana
    ayer morning afternoon evening night noite tarde noche before after antes depois despues open opens close closes
    closed abre fecha abrir fechar cierra cerrar start starts end ends begin comeca termina empieza more less most least
    mais menos mas min max minimum maximum son daughter boy girl mother father filho filha pai mae hijo hija padre madre
    buy sell cancel book comprar vender cancelar marcar reservar"""
_SENSE_OF = {word: sense for sense, words in _SENSES.items() for word in words.split()}
_SENSE_OF |= {word: word for word in _ALONE.split()}
_WHEN = re.compile(r"\b(?:what time|(?:a )?que horas?|a qué hora)\b", re.IGNORECASE)


class _Message(Struct):
    role: str
    content: Raw = Raw()


_read = msgspec.json.Decoder(list[_Message]).decode
_split = msgspec.json.Decoder(list[Raw]).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def question_of(request: Request) -> str:
    """The one question of a first turn, if that is all that is asked; else ""."""
    text = request.last_text.strip()
    if request.kind != "chat" or not text or len(text) > MAX_CHARS or text.count("?") > 1:
        return ""
    try:
        said = _read(request.fields["messages"])
    except msgspec.ValidationError:
        return ""
    turns = [message for message in said if message.role not in ("system", "developer")]
    plain = len(turns) == 1 and turns[0].role == "user" and bytes(turns[0].content).startswith(b'"')
    return text if plain and said[-1] is turns[0] else ""


def without_question(request: Request) -> Request:
    """The same request with nothing in the place of its question: what two questions must have in common."""
    *before, last = _split(request.fields["messages"])
    asked = _encode({**_fields(last), "content": _PLACEHOLDER})
    fields = {**request.fields, "messages": Raw(_encode([*before, Raw(asked)]))}
    return msgspec.structs.replace(request, fields=fields, shortened=b"")


class Marks(Struct, frozen=True):
    """What must not differ between two questions."""

    figures: tuple[str, ...]
    names: frozenset[str]
    senses: frozenset[str]
    words: frozenset[str]  # that carry meaning
    language: str | None


def marks_of(text: str) -> Marks:
    words = [_bare(word) for word in _WORD.findall(_WHEN.sub("when", text))]
    senses = {_SENSE_OF[word] for word in words if word in _SENSE_OF}
    if _TURNED.search(text.lower()):
        senses.add("not")
    return Marks(
        figures=tuple(sorted(_FIGURES.findall(text.lower()))),
        names=frozenset(_bare(name) for name in _NAME.findall(text)),
        senses=frozenset(senses),
        words=frozenset(w[:5] for w in words if len(w) > 2 and w not in _SENSE_OF and w not in STOP_WORDS),
        language=identify(text),
    )


def compatible(a: Marks, b: Marks) -> bool:
    """Whether nothing that we know to matter differs. Symmetrical; when in doubt, no."""
    if a.figures != b.figures or a.names != b.names or a.senses != b.senses:
        return False
    # One word exchanged for another is a slot ("the form for ana", "the form for rui") until shown otherwise.
    more, less = len(a.words - b.words), len(b.words - a.words)
    if more and more == less:
        return False
    return a.language is None or b.language is None or a.language == b.language


def _bare(word: str) -> str:
    """Lower case, without accents."""
    decomposed = unicodedata.normalize("NFKD", word.lower())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


class Near(Struct, frozen=True):
    key: str
    kept: Kept
    similarity: float


class _Scope:
    """Questions that differ in nothing but their words; the oldest is replaced when it is full."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.marks: list[Marks | None] = []  # None: its answer is gone
        self.vectors: Any = None  # float32, a row a question, grown by doubling
        self.next = 0

    def forget(self, at: int) -> None:
        self.keys[at], self.marks[at] = "", None
        self.vectors[at] = 0.0


class Questions:
    """Which questions have kept answers, by scope. The answers themselves are in the AnswerCache, which bounds them."""

    def __init__(self) -> None:
        self._scopes: OrderedDict[str, _Scope] = OrderedDict()
        self.rows = 0

    def nearest(
        self, scope: str, text: str, vector: Any, threshold: float, answers: AnswerCache, now_us: int, ttl_s: int
    ) -> Near | None:
        known = self._scopes.get(scope)
        if known is None:
            return None
        self._scopes.move_to_end(scope)
        similar = known.vectors[: len(known.keys)] @ vector
        marks: Marks | None = None
        for at in similar.argsort()[::-1][:CANDIDATES]:
            similarity = float(similar[at])
            if similarity < threshold:
                return None
            other = known.marks[at]
            if other is None:
                continue
            kept = answers.find(known.keys[at], now_us, ttl_s)
            if kept is None:  # nothing is remembered of a question longer than its answer
                known.forget(at)
                continue
            marks = marks or marks_of(text)
            if compatible(marks, other):
                return Near(known.keys[at], kept, similarity)
        return None

    def add(self, scope: str, key: str, text: str, vector: Any) -> None:
        known = self._scopes.setdefault(scope, _Scope())
        self._scopes.move_to_end(scope)
        if key in known.keys:
            at = known.keys.index(key)
            known.marks[at], known.vectors[at] = marks_of(text), vector
            return
        count = len(known.keys)
        if count < ROWS_A_SCOPE:
            self._grow(known, vector)
            known.keys.append(key)
            known.marks.append(marks_of(text))
            known.vectors[count] = vector
        else:
            known.keys[known.next], known.marks[known.next], known.vectors[known.next] = key, marks_of(text), vector
            known.next = (known.next + 1) % ROWS_A_SCOPE
        while self.rows > MAX_ROWS:
            _, gone = self._scopes.popitem(last=False)
            self.rows -= len(gone.vectors)

    def _grow(self, known: _Scope, vector: Any) -> None:
        import numpy as np

        held = 0 if known.vectors is None else len(known.vectors)
        if len(known.keys) < held:
            return
        wider = np.zeros((max(8, 2 * held), len(vector)), dtype=np.float32)
        if held:
            wider[:held] = known.vectors
        known.vectors = wider
        self.rows += len(wider) - held
