"""The people and the model of the story: who asks what, how messily, and what the model can say.

The model is simulated: it says a fact if its prompt has it, and that it does not know if not. What people do with an
answer follows from whether it answers them; everything is drawn by seed."""

import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from waterline.evals.perturbation import perturb

UNKNOWN = {
    "en": "I am sorry, I do not know that.",
    "pt": "Lamento, não sei.",
    "es": "Lo siento, no lo sé.",
}


@dataclass(frozen=True)
class Topic:
    """What people ask about. `told`: words of the prompt without which the model does not know."""

    name: str
    told: str
    words: dict[str, str]  # what the model knows it by, as regular expressions
    says: dict[str, str]
    asks: dict[str, tuple[str, ...]]


TOPICS = (
    Topic(
        "delivery", "two working days",
        {"en": r"deliver\w*|parcel|arrive", "pt": r"entrega|encomenda|demora", "es": r"pedido|tarda|entregan"},
        {"en": "Delivery takes two working days.", "pt": "A entrega demora dois dias úteis.",
         "es": "La entrega tarda dos días laborables."},
        {"en": ("How long does delivery take?", "when will my parcel arrive", "do you deliver fast"),
         "pt": ("Quanto tempo demora a entrega?", "quando chega a minha encomenda"),
         "es": ("¿Cuánto tarda el pedido?", "en cuántos días entregan")},
    ),
    Topic(
        "returns", "within 30 days",
        {"en": r"returns?|refund", "pt": r"devolver os|quero um reembolso", "es": r"devolver los|quiero un reembolso"},
        {"en": "You can return it within 30 days.", "pt": "Pode devolver em 30 dias.",
         "es": "Puede devolverlo en 30 días."},
        {"en": ("Can I return shoes that are too small?", "i want a refund", "how do i give it back, returns?"),
         "pt": ("Posso devolver os sapatos?", "quero um reembolso"),
         "es": ("¿Puedo devolver los zapatos?", "quiero un reembolso")},
    ),
    Topic(
        "hours", "nine to six",
        {"en": r"opening|close|open", "pt": r"horário da|fecha", "es": r"horario tienen|cierran"},
        {"en": "We are open from nine to six.", "pt": "Estamos abertos das nove às seis.",
         "es": "Estamos abiertos de nueve a seis."},
        {"en": ("What are your opening hours?", "when do you close today", "are you open now"),
         "pt": ("Qual é o horário da loja?", "a que horas fecha"),
         "es": ("¿Qué horario tienen?", "a qué hora cierran")},
    ),
    Topic(
        "payment", "cards and cash",
        {"en": r"card|cash|pay", "pt": r"pagar com|como posso pagar", "es": r"tarjeta|efectivo"},
        {"en": "We take cards and cash.", "pt": "Aceitamos cartões e dinheiro.",
         "es": "Aceptamos tarjetas y efectivo."},
        {"en": ("Can I pay by card?", "do you take cash", "how can i pay"),
         "pt": ("Posso pagar com cartão?", "como posso pagar"),
         "es": ("¿Puedo pagar con tarjeta?", "se puede pagar en efectivo")},
    ),
    Topic(
        "gift", "gift wrapping",
        {"en": r"gift|wrap|presents?", "pt": r"embrulho|prenda|oferta", "es": r"envolver|regalo"},
        {"en": "Gift wrapping costs 3 EUR.", "pt": "O embrulho custa 3 EUR.",
         "es": "Envolver para regalo cuesta 3 EUR."},
        {"en": ("Can you wrap it as a gift?", "how much is gift wrapping", "it is a present, do you wrap presents?"),
         "pt": ("Fazem embrulho para oferta?", "quanto custa o embrulho da prenda"),
         "es": ("¿Lo pueden envolver para regalo?", "cuánto cuesta envolver el regalo")},
    ),
)  # fmt: skip
# Anybody's demo has these four; nobody thought of the fifth, which one customer in six asks about.
SHARES = {"delivery": 30, "returns": 22, "hours": 18, "payment": 14, "gift": 16}
LANGUAGES = {"en": 60, "pt": 22, "es": 18}
MESS = (("typos",), ("lowercase",), ("typos", "lowercase"), ("no_punctuation",), ())


def model_script() -> dict[str, Any]:
    """Two models that know what they are told. The cheap one takes a few at a time, and refuses the others."""
    rules = []
    for language in ("pt", "es", "en"):
        for topic in TOPICS:
            words = rf"\b(?:{topic.words[language]})\b"
            rules.append({"match": words, "prompted": topic.told, "text": topic.says[language]})
            rules.append({"match": words, "text": UNKNOWN[language]})
    shared = {"rules": rules, "answer": {"text": UNKNOWN["en"]}}
    steady = {"models": ["steady-1"], "first_token_ms": 20.0, **shared}
    cheap = {"models": ["cheap-1"], "first_token_ms": 60.0, "limits": {"concurrency": 1}, **shared}
    return {"seed": 7, "targets": {"steady": steady, "cheap": cheap}}


@dataclass
class Told:
    """What the people of a round met with."""

    sessions: int = 0
    answered: int = 0
    helped: int = 0
    failed: int = 0
    by_topic: dict[str, list[int]] = field(default_factory=dict)  # helped, asked
    releases: dict[str, int] = field(default_factory=dict)


class People:
    """Customers, `at_once` at a time. Each asks, and says what became of the answer."""

    def __init__(self, url: str, key: str, seed: int, at_once: int = 6) -> None:
        self._host = url.removeprefix("http://")
        self._key = key
        self._seed = seed
        self._at_once = at_once
        self._lock = threading.Lock()
        self._next = 0

    def come(self, sessions: int, until: Callable[[], bool] = lambda: False) -> Told:
        """So many, or until something holds."""
        told = Told()
        last = self._next + sessions
        over = threading.Event()

        def some() -> None:
            line = http.client.HTTPConnection(self._host, timeout=60)
            while not over.is_set():
                with self._lock:
                    if self._next >= last:
                        return
                    self._next += 1
                    number = self._next
                self._one(line, number, told)
                if number % 50 == 0 and until():
                    over.set()

        threads = [threading.Thread(target=some) for _ in range(self._at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return told

    def _one(self, line: http.client.HTTPConnection, number: int, told: Told) -> None:
        draw = Random(f"{self._seed}-{number}")
        topic = draw.choices(TOPICS, [SHARES[t.name] for t in TOPICS])[0]
        language = draw.choices(list(LANGUAGES), list(LANGUAGES.values()))[0]
        question = messy(draw.choice(topic.asks[language]), draw, language)
        session = f"s{self._seed}-{number}"
        answer, trace, release = self._ask(line, question, session)
        helped = topic.says[language] in answer
        with self._lock:
            told.sessions += 1
            told.answered += bool(answer)
            told.failed += not answer
            told.helped += helped
            told.releases[release] = told.releases.get(release, 0) + 1
            of = told.by_topic.setdefault(topic.name, [0, 0])
            of[0] += helped
            of[1] += 1
        if not answer:
            return
        if helped and draw.random() < 0.5:
            self._say(line, trace, "accepted", session)
        elif not helped and draw.random() < 0.6:
            self._say(line, trace, "rejected", session)
        elif not helped and draw.random() < 0.5:
            self._ask(line, f"that's not what I asked. {question}", session)

    def _ask(self, line: http.client.HTTPConnection, text: str, session: str) -> tuple[str, str, str]:
        body = {"model": "main", "messages": [{"role": "user", "content": text}]}
        status, said, headers = self._post(line, "/v1/chat/completions", body, session)
        answer = said["choices"][0]["message"]["content"] if status == 200 else ""
        return answer, headers.get("x-waterline-trace", ""), headers.get("x-waterline-release", "")

    def _say(self, line: http.client.HTTPConnection, trace: str, kind: str, session: str) -> None:
        self._post(line, "/v1/feedback", {"trace": trace, "kind": kind, "event": session}, session)

    def _post(
        self, line: http.client.HTTPConnection, path: str, body: dict[str, Any], session: str
    ) -> tuple[int, Any, dict[str, str]]:
        headers = {
            "authorization": f"Bearer {self._key}",
            "content-type": "application/json",
            "x-waterline-session": session,
        }
        line.request("POST", path, json.dumps(body), headers)
        response = line.getresponse()
        data = response.read()
        return response.status, json.loads(data), {k.lower(): v for k, v in response.getheaders()}


def messy(text: str, draw: Random, language: str) -> str:
    """As people type."""
    names = draw.choice(MESS)
    changed = perturb(text, names, draw.randrange(1 << 30), language, 0.12) if names else None
    return changed.text if changed is not None else text
