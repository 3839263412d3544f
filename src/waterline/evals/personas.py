"""Seeded people to talk to an agent with: who they are, what they want, how they type. What they want is judged by the
state of the systems afterwards, never by words.

A persona answers what it is asked for, as far as its nature goes: it knows the flow's declared texts (it must recognise
a question), never the agent's state. The same seed gives the same person, who types the same in every run.
"""

import re
from random import Random
from typing import Literal, TypeVar

from msgspec import Struct

from waterline.core.conversation import Outbound
from waterline.core.flow import Flow
from waterline.evals.perturbation import perturb

T = TypeVar("T")
Goal = Literal["book", "ask", "person", "angry", "outside", "leave", "minor"]
GOALS: tuple[tuple[Goal, float], ...] = (
    ("book", 0.58), ("ask", 0.12), ("person", 0.08), ("angry", 0.04), ("outside", 0.05), ("leave", 0.09), ("minor", 0.04),
)  # fmt: skip


# What a hurried thumb does; the rest (homoglyphs, forwarded text ...) is for the robustness drill.
NOISE = (
    "typos", "transposition", "omission", "repetition", "lowercase", "no_accents", "no_punctuation", "more_punctuation",
    "whitespace", "emoji", "slang",
)  # fmt: skip


class Persona(Struct, frozen=True):
    seed: int
    language: str
    goal: Goal
    name: str
    phone: str
    age: int
    opening: str
    asks: tuple[str, ...]  # questions, said along the way
    facts: tuple[str, ...]  # what the answers must hold, one for each question; "": nobody knows
    wish: str  # how the day is asked for
    weekdays: tuple[int, ...]  # that the wish allows; empty: any
    changes: str  # a correction at the confirmation; "" none
    knows_phone: bool  # the channel tells the number
    talks_much: bool  # several things in one message
    messy: float  # strength of the noise, 0: none
    take: int = 0  # the same person again, who types otherwise


NAMES: dict[str, tuple[str, ...]] = {
    "en": ("Emma Clarke", "Liam Hughes", "Olivia Reed", "Noah Bennett", "Ava Murphy", "Jack Foster", "Grace Walsh", "Henry Cole"),
    "pt": ("Ana Souza", "João da Silva", "Beatriz Lopes", "Tiago Ferreira", "Inês Carvalho", "Rui Almeida", "Marta Pinto", "Carlos Nunes"),
    "es": ("María López", "José García", "Lucía Fernández", "Diego Torres", "Carmen Ruiz", "Pablo Navarro", "Elena Molina", "Javier Ortega"),
}  # fmt: skip
OPENINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "book": ("hello, I would like to visit the school", "hi, can we come and see the school?", "good morning, we are looking for a school for our child and want a tour", "hello, we are moving to town next year and look around for something bilingual"),
        "ask": ("hi, I have a question", "hello"), "person": ("hello, can I speak to a person please", "hi, please call me"),
        "angry": ("this is ridiculous, I have been waiting for days and nobody answers", "I want to make a complaint"),
        "outside": ("hello, do you have a place for my child?",), "leave": ("hi, I would like to visit the school",),
        "minor": ("hi, I'm 12 years old and I want to go to your school",),
    },
    "pt": {
        "book": ("olá, gostaria de visitar a escola", "oi, podemos conhecer a escola?", "bom dia, procuramos escola para o nosso filho e queremos marcar uma visita", "olá, queríamos passar aí um dia destes com a miúda"),
        "ask": ("olá, tenho uma dúvida", "bom dia"), "person": ("olá, posso falar com uma pessoa?", "quero falar com um atendente"),
        "angry": ("isto é um absurdo, ninguém me responde há dias", "quero fazer uma reclamação"),
        "outside": ("olá, têm vaga para o meu filho?",), "leave": ("oi, queria visitar a escola",),
        "minor": ("oi, tenho 12 anos e quero estudar na vossa escola",),
    },
    "es": {
        "book": ("hola, quisiera visitar el colegio", "buenas, ¿podemos ir a conocer el colegio?", "buenos días, buscamos colegio para nuestro hijo y queremos una visita", "hola, nos mudamos pronto y estamos mirando opciones para la nena"),
        "ask": ("hola, tengo una pregunta", "buenos días"), "person": ("hola, quiero hablar con una persona", "me pueden llamar por favor"),
        "angry": ("esto es inaceptable, llevo días esperando y nadie contesta", "quiero poner una queja"),
        "outside": ("hola, ¿tienen plaza para mi hijo?",), "leave": ("hola, quiero visitar el colegio",),
        "minor": ("hola, tengo 12 años y quiero estudiar en su colegio",),
    },
}  # fmt: skip
QUESTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "en": (("how much is the school bus?", "120"), ("is lunch included?", "included"), ("what time does the school day end?", "15:30"), ("do you have a swimming pool?", "no swimming pool"), ("how many children are in a class?", "18"), ("how much is the enrolment fee?", "300"), ("what is the uniform?", "navy"), ("who is the headteacher?", ""), ("how much is it per month?", "790"), ("which languages are taught?", "Spanish")),
    "pt": (("quanto custa o transporte?", "120"), ("o almoço está incluído?", "incluído"), ("a que horas acabam as aulas?", "15:30"), ("têm piscina?", "piscina"), ("quantos alunos tem cada turma?", "18"), ("qual é a taxa de matrícula?", "300"), ("como é o uniforme?", "polo"), ("quem é o diretor?", ""), ("qual é a mensalidade?", "790"), ("que línguas ensinam?", "espanhol")),
    "es": (("¿cuánto cuesta el autobús?", "120"), ("¿el almuerzo está incluido?", "incluido"), ("¿a qué hora terminan las clases?", "15:30"), ("¿tienen piscina?", "piscina"), ("¿cuántos alumnos hay por clase?", "18"), ("¿cuánto es la matrícula?", "300"), ("¿cómo es el uniforme?", "polo"), ("¿quién es el director?", ""), ("¿cuánto cuesta al mes?", "790"), ("¿qué idiomas enseñan?", "español")),
}  # fmt: skip
WISHES: dict[str, tuple[tuple[str, tuple[int, ...]], ...]] = {
    "en": (("tuesday morning", (1,)), ("next thursday at 9:30", (3,)), ("thursday would be best", (3,)), ("the first one", ()), ("2", ()), ("any day, in the morning", ()), ("tuesday or thursday after 10", (1, 3))),
    "pt": (("terça de manhã", (1,)), ("na próxima quinta às 9:30", (3,)), ("quinta-feira seria melhor", (3,)), ("a primeira opção", ()), ("2", ()), ("qualquer dia, de manhã", ()), ("terça ou quinta depois das 10", (1, 3))),
    "es": (("el martes por la mañana", (1,)), ("el próximo jueves a las 9:30", (3,)), ("el jueves sería mejor", (3,)), ("la primera", ()), ("2", ()), ("cualquier día, por la mañana", ()), ("martes o jueves después de las 10", (1, 3))),
}  # fmt: skip
CHANGES: dict[str, tuple[str, tuple[int, ...]]] = {
    "en": ("no, thursday", (3,)),
    "pt": ("não, quinta-feira", (3,)),
    "es": ("no, el jueves", (3,)),
}
_WEEKDAYS = {
    "en": {1: "Tuesday", 3: "Thursday"},
    "pt": {1: "terça-feira", 3: "quinta-feira"},
    "es": {1: "martes", 3: "jueves"},
}
_AGES = {
    "en": ("she is {age}", "{age}", "{age} years old", "my son is {age}"), "pt": ("tem {age} anos", "{age}", "{age} aninhos", "ela tem {age}"),
    "es": ("tiene {age} años", "{age}", "{age} añitos", "mi hija tiene {age}"),
}  # fmt: skip
_YES = {
    "en": ("yes", "yes please", "yep", "sure"),
    "pt": ("sim", "sim, por favor", "claro", "pode ser"),
    "es": ("sí", "sí, por favor", "claro", "vale"),
}
_NO = {"en": "no, thanks", "pt": "não, obrigada", "es": "no, gracias"}
_NAMED = {
    "en": ("{name}", "my name is {name}", "I'm {name}"),
    "pt": ("{name}", "o meu nome é {name}", "sou {name}"),
    "es": ("{name}", "me llamo {name}", "soy {name}"),
}
_OF_AGE = {"en": ", my child is {age}", "pt": ", a criança tem {age} anos", "es": ", mi hija tiene {age} años"}


def persona(seed: int, take: int = 0) -> Persona:
    """The person of this number. Another `take`: the same goal and character, other slips, another telephone."""
    rng = Random(f"persona:{seed}")

    def one(options: tuple[T, ...]) -> T:
        return options[int(rng.random() * len(options))]

    language = one(("en", "pt", "es"))
    drawn, goal = rng.random(), GOALS[0][0]
    for name, share in GOALS:
        goal = name
        drawn -= share
        if drawn < 0:
            break
    count = 2 if goal == "ask" else int(rng.random() * 3)
    questions: dict[str, str] = {}
    while len(questions) < count:
        question, fact = one(QUESTIONS[language])
        questions[question] = fact
    wish, weekdays = one(WISHES[language])
    changes, after = CHANGES[language] if rng.random() < 0.2 and goal == "book" else ("", tuple[int, ...]())
    age = 15 + int(rng.random() * 4) if goal == "outside" else 2 + int(rng.random() * 13)
    talks_much = rng.random() < 0.3
    opening = one(OPENINGS[language][goal])
    if talks_much and goal in ("book", "leave"):
        opening += _OF_AGE[language].format(age=age)
    return Persona(
        seed=seed, language=language, goal=goal, name=one(NAMES[language]), phone=f"+35191{2000000 + (seed * 7 + take % 7) % 7_999_999:07d}",
        age=age, opening=opening, asks=tuple(questions), facts=tuple(questions.values()), wish=wish,
        weekdays=after or weekdays, changes=changes, knows_phone=rng.random() < 0.6, talks_much=talks_much,
        messy=0.0 if rng.random() < 0.25 else 0.15 + 0.25 * rng.random(), take=take,
    )  # fmt: skip


class Player:
    """Plays a persona: the next message, given what was said; None when there is nothing more to say."""

    def __init__(self, who: Persona, flow: Flow) -> None:
        self.who, self.flow = who, flow
        self._rng = Random(f"player:{who.seed}:{who.take}" if who.take else f"player:{who.seed}")
        self._texts = flow.texts[who.language]
        self._asks = list(who.asks)
        self._changed = self._begun = False
        self._count = 0
        self._said_wish = 0

    def next(self, replies: tuple[Outbound, ...]) -> tuple[str, ...] | None:
        """The messages that this person sends now (several: one after the other, quickly)."""
        self._count += 1
        if not self._begun:
            self._begun = True
            return tuple(self._typed(part) for part in self._opening())
        answered = self._answer("\n".join(reply.text for reply in replies))
        if answered is None:
            return None
        if self._asks and self.who.goal != "leave" and self._rng.random() < 0.5:
            return (answered, self._typed(self._asks.pop(0))) if answered else (self._typed(self._asks.pop(0)),)
        return (answered,) if answered else None

    def _opening(self) -> list[str]:
        if self._asks and self.who.talks_much:
            return [self.who.opening, self._asks.pop(0)]
        return [self.who.opening]

    def _answer(self, heard: str) -> str | None:
        """What is said to the question that stands in what was heard; "" to none."""
        who, language = self.who, self.who.language
        if who.goal in ("person", "angry", "minor") or (who.goal == "leave" and self._count > 3):
            return None
        if self._hears(heard, "confirm"):
            if who.changes and not self._changed:
                self._changed = True
                if _WEEKDAYS[language][3] in heard:  # it is as wished for already
                    return self._typed(self._one(_YES[language]))
                return self._typed(who.changes)
            return self._typed(self._one(_YES[language]))
        if self._hears(heard, "ask_wants_visit"):
            if who.goal == "ask" and self._asks:
                return self._typed(self._asks.pop(0))
            return self._typed(_NO[language] if who.goal == "ask" else self._one(_YES[language]))
        if self._hears(heard, "ask_child_age"):
            return self._typed(self._one(_AGES[language]).format(age=who.age))
        if self._hears(heard, "offer") or self._hears(heard, "offer_near"):
            if who.goal == "ask":
                return self._typed(_NO[language])
            self._said_wish += 1
            return self._typed(who.wish) if self._said_wish == 1 and not self._changed else self._picked(heard)
        if self._hears(heard, "ask_parent_name"):
            return self._one(_NAMED[language]).format(name=who.name)
        if self._hears(heard, "ask_phone_number"):
            return who.phone.removeprefix("+351")
        if self._asks:
            return self._typed(self._asks.pop(0))
        return None

    def _picked(self, heard: str) -> str:
        """The number of the first offer on a day that suits; any, where none does (what people do who have to)."""
        days = (3,) if self._changed else self.who.weekdays
        wanted = {_WEEKDAYS[self.who.language][day] for day in days}
        offers = re.findall(r"(\d)\) ([\w-]+)", heard)
        return next((number for number, day in offers if day in wanted), "1")

    def _hears(self, heard: str, name: str) -> bool:
        """Whether a declared text was said."""
        return said_in(heard, self._texts[name])

    def _one(self, options: tuple[str, ...]) -> str:
        return options[int(self._rng.random() * len(options))]

    def _typed(self, text: str) -> str:
        """As this person types: with slips, without accents, in chat words; what is asked stays the same."""
        if not self.who.messy or len(text) < 4:
            return text
        names = [NOISE[int(self._rng.random() * len(NOISE))] for _ in range(2)]
        changed = perturb(
            text, names, f"{self.who.seed}:{self.who.take}:{self._count}", self.who.language, self.who.messy
        )
        return changed.text if changed is not None else text


def said_in(heard: str, text: str) -> bool:
    """Whether a text of a flow was said: its longest stretch without a hole."""
    stretches = [part for part in _cut(text) if len(part) > 5]
    return bool(stretches) and max(stretches, key=len) in heard


def _cut(text: str) -> list[str]:
    parts, part, depth = [], "", 0
    for char in text:
        if char == "{":
            depth += 1
            parts.append(part)
            part = ""
        elif char == "}":
            depth -= 1
        elif not depth:
            part += char
    return [*(p.strip() for p in parts), part.strip()]
