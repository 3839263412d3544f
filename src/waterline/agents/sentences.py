"""What the platform itself says to a user, where no agent can: honest, short, in their language."""

from datetime import datetime

DAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "pt": ("segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
}
_TROUBLE = {
    "en": "We have a technical problem at the moment and cannot answer you yet. Your message is safe, you need not "
    "send it again: we will answer as soon as we can.",
    "pt": "Estamos com um problema técnico e ainda não conseguimos responder. A sua mensagem está guardada, não "
    "precisa de a enviar de novo: respondemos assim que possível.",
    "es": "Tenemos un problema técnico y todavía no podemos responderle. Su mensaje está guardado, no hace falta "
    "que lo envíe de nuevo: le responderemos en cuanto podamos.",
}
_CLOSED_UNTIL = {
    "en": "Nobody is in the office right now. Somebody will answer you from {day} at {time}.",
    "pt": "Neste momento não há ninguém no escritório. Alguém lhe responde a partir de {day}, às {time}.",
    "es": "En este momento no hay nadie en la oficina. Alguien le responderá a partir del {day}, a las {time}.",
}
_CLOSED = {
    "en": "Nobody is in the office right now. Somebody will answer you as soon as the office opens.",
    "pt": "Neste momento não há ninguém no escritório. Alguém lhe responde assim que o escritório abrir.",
    "es": "En este momento no hay nadie en la oficina. Alguien le responderá en cuanto abra la oficina.",
}


def trouble(language: str) -> str:
    return _TROUBLE[_known(language)]


def closed(language: str, opens: datetime | None) -> str:
    """`opens`: when, in the branch's time; None: it is not known."""
    known = _known(language)
    if opens is None:
        return _CLOSED[known]
    day = f"{DAYS[known][opens.weekday()]} ({opens:%d/%m})"
    return _CLOSED_UNTIL[known].format(day=day, time=f"{opens:%H:%M}")


def _known(language: str) -> str:
    short = language[:2].lower()
    return short if short in _TROUBLE else "en"
