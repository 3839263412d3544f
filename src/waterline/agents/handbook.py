"""Answers are looked for in a handbook: its sections ranked by BM25, words folded, slips of the keyboard forgiven.

Okapi BM25, Robertson and Zaragoza (2009), "The Probabilistic Relevance Framework", k1 = 1.2, b = 0.75. A section is
found by its own words and by those of a comment `<!-- also: price, how much -->`, which nobody is shown.
"""

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from waterline.agents.slots.base import distance_is_one, fold
from waterline.core.language import STOP_WORDS

K1, B = 1.2, 0.75
ENOUGH = 0.5  # of what the question is about (by weight) must be in a section for it to be an answer
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$")
_ALSO = re.compile(r"<!--\s*also:(.*?)-->", re.DOTALL)
_WORD = re.compile(r"[a-z0-9ñ]+")
_FOLDED_STOPS = {fold(word) for word in STOP_WORDS} - {"e", "nursery"}
# Words of asking, not of what is asked; and whom everybody here talks about.
_ASKING_WORDS = """
    about acerca also and ano anos any are ask be boa bom buenas buenos can child children cole colegio colegios
    como could crianca criancas cual cuales cuando cuanta cuanto cuantos da daughter de decir decirme dia dias
    did diga digame dizer do does donde escola escolas escuela escuelas existe existem favor filha filho filhos
    for get go going gostaria got gracias ha has have hay hello hi hija hijo hijos hola how info information
    interested into is kid kids know like looking many mean menina menino meu mi minha much my need nene nina
    nino ninos no nosso nuestra obrigado oferece oferecem offer offers ofrecen oi ok ola onde one our parent
    parents pfv please pls pode podem poderia puede pueden q qnto qto quais qual quando quanta quanto quantos
    queria quero question quiero quisiera r saber said say school schools si sobre some son tarde tell tem temos
    explain explica explique fica ficaria tenho tengo queda
    tenemos thanks that then there thing things tiene tienen tinha tiver u uds ur ustedes vc vcs voces want was
    were what when where which who why will with wondering would xfa ya year years yes
"""
_ASKING = frozenset(_ASKING_WORDS.split())


class Section(Struct, frozen=True):
    title: str
    text: str  # without its title and comments
    terms: dict[str, int]
    length: int


class Hit(Struct, frozen=True):
    section: Section
    score: float
    covered: float  # 0..1: how much of the question, by weight, the section speaks of


class Handbook(Struct, frozen=True):
    sections: tuple[Section, ...]
    weights: dict[str, float]  # of each term: rare ones weigh more
    mean_length: float

    def search(self, question: str, limit: int = 3) -> list[Hit]:
        """The best sections first; empty where the question has no word of its own."""
        asked = [self._known(term) for term in dict.fromkeys(terms(question))]
        if not asked:
            return []
        unknown = max(self.weights.values(), default=1.0)
        total = sum(self.weights.get(term, unknown) for term in asked)
        hits = []
        for section in self.sections:
            score = covered = 0.0
            for term in asked:
                count = section.terms.get(term, 0)
                if count:
                    weight = self.weights[term]
                    long = 1 - B + B * section.length / self.mean_length
                    score += weight * count * (K1 + 1) / (count + K1 * long)
                    covered += weight
            if score > 0:
                hits.append(Hit(section, score, covered / total))
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    def _known(self, term: str) -> str:
        """A slip of the keyboard: the handbook's own word, where exactly one letter differs."""
        if term in self.weights or len(term) < 4 or term.isdecimal():
            return term
        return next((known for known in self.weights if len(known) >= 5 and distance_is_one(term, known)), term)


def terms(text: str) -> list[str]:
    """Folded words that carry meaning, plurals and genders cut."""
    found = []
    for word in _WORD.findall(fold(text)):
        if (
            word in _ASKING
            or (word in _FOLDED_STOPS and not word.isdecimal())
            or (len(word) < 2 and not word.isdecimal())
        ):
            continue
        found.append(stem(word))
    return found


def stem(word: str) -> str:
    """A light cut that serves three languages: plural and gender only."""
    if len(word) > 4 and not word.isdecimal():
        for ending in ("es", "s"):
            if word.endswith(ending) and len(word) - len(ending) >= 4:
                word = word[: -len(ending)]
                break
        if word[-1] in "aoe" and len(word) > 4:
            word = word[:-1]
    return word


def with_facts(text: str, names: Sequence[str], facts: Mapping[str, str]) -> str:
    """The branch's own facts, where the text names them: {street}. A line is left out whose fact the branch lacks."""
    holes = [f"{{{name}}}" for name in names]
    if not any(hole in text for hole in holes):
        return text
    lines = []
    for line in text.splitlines():
        if all(facts.get(name, "").strip() for name, hole in zip(names, holes, strict=True) if hole in line):
            for name, hole in zip(names, holes, strict=True):
                line = line.replace(hole, facts.get(name, ""))
            lines.append(line)
    return "\n".join(lines)


@lru_cache(1024)
def read_handbook(text: str) -> Handbook:
    """Cut at headings. The same text gives the same object."""
    sections: list[Section] = []
    title = ""
    lines: list[str] = []

    def close(title: str, lines: list[str]) -> None:
        raw = "\n".join(lines)
        shown = re.sub(r"\n{2,}", "\n", _ALSO.sub("", raw)).strip()
        if shown:
            found = terms(" ".join([title, title, shown, *(_ALSO.findall(raw))]))
            sections.append(Section(title, shown, {t: found.count(t) for t in found}, len(found)))

    for line in text.splitlines():
        heading = _HEADING.match(line)
        if heading:
            close(title, lines)
            title, lines = heading[1], []
        else:
            lines.append(line)
    close(title, lines)
    holders: dict[str, int] = {}
    for section in sections:
        for term in section.terms:
            holders[term] = holders.get(term, 0) + 1
    count = len(sections)
    weights = {term: math.log(1 + (count - n + 0.5) / (n + 0.5)) for term, n in holders.items()}
    mean = sum(section.length for section in sections) / count if count else 1.0
    return Handbook(tuple(sections), weights, mean or 1.0)
