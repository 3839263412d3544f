"""A person's name, a child's age, a grade."""

import re
from collections.abc import Sequence

from waterline.agents.slots.base import MAX_CHARS, NUMBER, Context, Found, Read, Refused, fold, number
from waterline.core.flow import Grade
from waterline.core.language import STOP_WORDS

# ------------------------------------------------------------------------------------------------------------- age

_UNIT = r"(?:years?(?:\s*-?\s*old)?|yrs?(?:\s*old)?|y\s?/?\s?o\b|yo\b|anos?|aninhos?|anitos|añitos|anhos)"
_AGE = re.compile(rf"(?<![\d/:.,])\b({NUMBER})\s*(?:1/2|,5|\.5|and a half|e meio|y medio)?\s*-?\s*{_UNIT}(?![\w])")
_HALF = re.compile(r"\s*(?:and a half|e meio|y medi[oa])")
_MONTHS = re.compile(rf"\b({NUMBER})\s*(?:months?|meses|mesinhos)(?:\s*old)?\b")
_HAS = re.compile(
    rf"\b(?:(?:s?he|my|our|daughter|son|kid|child|boy|girl|and|[a-z]+) (?:is|are|turns|turned)|he's|she's|aged?|tem|teem|tiene|completou|fez|cumplio|faz"
    rf"|de|com|idade|edad|age)\s*(?:is|e|es|:|de)?\s+(?:only |just |so |apenas |solo )?({NUMBER})(?![\d:/h%º°ª]|\s*(?:\w+ )?(?:eur|euros|kids|filh|hij|children|am\b|pm\b|horas|h\b|de la|da (?:tarde|manha)))"
)
_BORN = re.compile(r"\b(?:born|nasc\w+|nacio|nacid[oa])\b(?:[^.\d]|\d{1,2}[^\d]){0,24}?((?:19|20)\d\d)\b")
_BARE = re.compile(
    rf"(?<!grade )(?<!grado )(?<!ano )(?<!serie )(?<!year )(?<![\d/:.,@+])\b({NUMBER})\b(?![\d/:@]|[.,]\d)"
)
_JOINED = re.compile(
    rf"^\s*(?:and|e|y|&|,|/|ou|or|o)\s*(?:the other |o outro |a outra |el otro |la otra |the |o |a |el |la )?(?:one )?(?:is |tem |tiene |de |com |con )?({NUMBER})\b(?!\s*(?:meses|months|eur))"
)
_GRADE_AFTER = re.compile(r"\s*(?:º|°|ª|o|a|st|nd|rd|th)?\s*(?:ano\b(?!s)|grade|grado|serie|grau|year\b(?!s?\s*-?old))")


# "2 filhos, um de 3 e outro de 8", however it is typed.
_TWO = re.compile(
    rf"\b(?:filh[oa]s|hij[oa]s|kids|children|sons|daughters|boys|girls|criancas|nin[oa]s|menin[oa]s)\b[^.?!\n]{{0,24}}?\b({NUMBER})\b(?!\s*(?:filh|hij|kids))"
    rf"[^.?!\n]{{0,12}}?\b(?:e|and|y)\b[^.?!\n]{{0,20}}?\b({NUMBER})\b(?!\s*(?:eur|euros|%|h\b|:|am\b|pm\b))"
)


def read_age(text: str, context: Context) -> Read:
    """Whole years, "0" to "25". Refused: "not_an_age", "several" (two children: ask for one at a time)."""
    folded = fold(text)
    found = _AGE.search(folded)
    if found is not None and re.search(
        r"\b(?:ha|for|hace|faz|desde|last|next|in|em|within)\s+$", folded[: found.start()]
    ):
        found = None  # "we live here for 7 years"
    if found is None and (months := _MONTHS.search(folded)):
        return _age(number(months.group(1)) // 12, months)
    if found is None and (born := _BORN.search(folded)):
        return _age(context.now.year - int(born.group(1)), born)
    if found is None:
        found = next((m for m in _HAS.finditer(folded) if not _GRADE_AFTER.match(folded[m.end() :])), None)
        if found is not None and found.group().startswith(("de ", "com ")) and not context.asked:
            found = None
    if found is None and context.asked:
        found = _BARE.search(folded)
        if found is not None and (
            _GRADE_AFTER.match(folded[found.end() :])
            or (found.group(1) in ("um", "uma", "un", "una", "one") and len(folded.split()) > 2)
        ):
            found = None
        if found is None and (big := re.search(r"\d{3,}", folded)) and len(folded.split()) <= 3:
            return Refused("not_an_age", big.start(), big.end())
        if found is None and (minus := re.search(r"-\s?\d+", folded)):
            return Refused("not_an_age", minus.start(), minus.end())
    if found is None:
        two = _TWO.search(folded)
        return Refused("several", two.start(), two.end()) if two is not None else None
    if folded[max(0, found.start(1) - 1) : found.start(1)] == "-":
        return Refused("not_an_age", found.start(), found.end())
    half = _HALF.match(folded[found.end() :])
    end = found.end() + (half.end() if half else 0)
    more = _JOINED.match(folded[end:])
    before = re.search(rf"\b({NUMBER})\b\s*(?:and|e|y|&|,)\s*$", folded[: found.start(1)])
    if (more and number(more.group(1)) <= 25) or (before and not re.search(r"\d{3,}", before.group())):
        return Refused("several", found.start(), end + (more.end() if more else 0))
    result = _age(number(found.group(1)), found)
    return Found(result.value, result.start, end) if isinstance(result, Found) else result


def _age(years: int, found: re.Match[str]) -> Found | Refused:
    if not 0 <= years <= 25:
        return Refused("not_an_age", found.start(), found.end())
    return Found(str(years), found.start(), found.end())


# ----------------------------------------------------------------------------------------------------------- grade

_ORDINALS = {
    word: value
    for value, group in {
        1: "first primeiro primeira primer primero", 2: "second segundo", 3: "third terceiro terceira tercer tercero",
        4: "fourth quarto cuarto", 5: "fifth quinto", 6: "sixth sexto", 7: "seventh setimo septimo",
        8: "eighth oitavo octavo", 9: "ninth nono noveno", 10: "tenth decimo", 11: "eleventh undecimo",
        12: "twelfth duodecimo",
    }.items()
    for word in group.split()
}  # fmt: skip
_WORD = r"(?:" + "|".join(sorted(_ORDINALS, key=len, reverse=True)) + ")"
_NUMBERED = re.compile(
    rf"\b(?:grade|grado|gr|year|serie|ano)\s*(?:no\.?\s*)?(?P<a>{NUMBER})\b(?!\s*(?:anos|years|old))"
    rf"|\b(?P<b>\d{{1,2}})\s*(?:º|°|ª|\.º|\.o|o\b|a\b|er\b|ro\b|do\b|to\b|st\b|nd\b|rd\b|th\b)?\s*(?:grade|grader|grado|serie|grau|ano|primaria|year)\b(?!\s*-?old)"
    rf"|\b(?P<c>{_WORD})\s*(?:grade|grader|grado|serie|grau|ano|de primaria|year|ciclo)\b"
)


def read_grade(text: str, context: Context, grades: Sequence[Grade]) -> Read:
    """A grade of the flow's table by its words or by number. Refused: "no_such_grade"."""
    folded = fold(text)
    named = sorted(
        (match.start(), -len(word), match.end(), grade.id)
        for grade in grades
        for word in grade.words
        if (match := re.search(rf"(?<!\w){re.escape(fold(word))}(?!\w)", folded))
    )
    numbered = _NUMBERED.search(folded)
    if named and (numbered is None or named[0][0] <= numbered.start()):
        start, _, end, grade_id = named[0]
        return Found(grade_id, start, end)
    if (
        numbered is None
        and context.asked
        and (bare := re.fullmatch(rf"\W*({NUMBER}|{_WORD})\s*(?:º|°|ª|st|nd|rd|th)?\W*", folded))
    ):
        word = bare.group(1)
        return _numbered(_ORDINALS[word] if word in _ORDINALS else number(word), grades, bare.start(1), bare.end(1))
    if numbered is None:
        return None
    word = numbered.group("a") or numbered.group("b") or ""
    value = number(word) if word else _ORDINALS[numbered.group("c")]
    return _numbered(value, grades, numbered.start(), numbered.end())


def _numbered(value: int, grades: Sequence[Grade], start: int, end: int) -> Read:
    if any(grade.id == str(value) for grade in grades):
        return Found(str(value), start, end)
    return Refused("no_such_grade", start, end)


def grade_of_age(age: int, grades: Sequence[Grade]) -> str:
    """The declared table; "" for an age outside it."""
    return next((grade.id for grade in grades if age in grade.ages), "")


# ------------------------------------------------------------------------------------------------------------ name

_LEAD = re.compile(
    r"\b(?:my name is|my name's|my name|name is|name:|nome:|nombre:|i'm called|call me|this is|it is|it's|its|i am|i'm|im|meu nome e|o meu nome e|me chamo|chamo-me"
    r"|chamo me|eu sou o|eu sou a|eu sou|sou o|sou a|sou|aqui e o|aqui e a|aqui e|aqui quem fala e|pode me chamar de|mi nombre es"
    r"|me llamo|yo soy|soy|aqui)\s+"
)
_SURE_LEAD = re.compile(r"my name|name is|name:|nome|chamo|nombre|llamo|called|call me")
_NAME_CHARS = re.compile(r"[^\W\d_]+(?:[.'’\-][^\W\d_]+)*\.?")
_PARTICLES = {
    "de",
    "da",
    "do",
    "dos",
    "das",
    "del",
    "la",
    "e",
    "y",
    "van",
    "von",
    "di",
    "el",
    "bin",
    "al",
    "of",
    "los",
    "las",
}
_NOT_NAMES = {
    "yes", "no", "sim", "nao", "si", "ok", "okay", "hi", "hello", "hola", "ola", "oi", "thanks", "thank", "obrigado",
    "obrigada", "gracias", "please", "good", "morning", "afternoon", "evening", "bom", "boa", "dia", "tarde", "noite", "buenos", "buenas", "buen",
    "dias", "tardes", "noches", "school", "escola", "colegio", "escuela", "visit", "visita", "visitar", "book", "price",
    "preco", "precio", "mother", "father", "mom", "mum", "dad", "mae", "pai", "madre", "padre", "mama", "papa", "parent", "looking",
    "interested", "calling", "writing", "here", "fine", "sorry", "asdf", "test", "teste", "nobody", "none", "ninguem", "nadie", "anonymous",
    "daughter", "son", "filho", "filha", "hijo", "hija", "years", "anos", "want", "quero", "quiero", "stop", "why",
    "tomorrow", "amanha", "manana", "today", "hoje", "hoy", "information", "info", "human", "person", "pessoa", "persona", "bot", "robot",
    "monday", "tuesday", "wednesday", "thursday", "friday", "secret", "name", "nome", "nombre", "bus", "fees", "later", "depois", "despues", "what", "busy", "idiot", "idiota", "stupid",
    "tuesdays", "lunes", "martes", "jueves", "viernes", "cost", "costs", "how", "much", "precios", "uniform", "lunch", "almoco",
    "perfect", "perfeito", "perfecto", "great", "correct", "right", "wait", "actually", "cancel", "cancelar", "wrong", "not", "idk", "dunno", "lol", "haha", "jaja", "kkk", "kkkk",
}  # fmt: skip


def read_name(text: str, context: Context) -> Read:
    """Letters of any script, at most five words. Without being asked only after "my name is" or the like. Refused:
    "not_a_name" (digits, an address, a sentence, "asdf")."""
    text = text[:MAX_CHARS]
    folded = fold(text)
    lead = _LEAD.search(folded)
    if lead is None and not context.asked:
        return None
    start = lead.end() if lead else 0
    sure = lead is not None and _SURE_LEAD.search(lead.group()) is not None
    rest = re.split(
        r"[,;!?\n(]|\.\s|\s-\s| - |:|\b(?:and|aqui|here|e (?:o|a) meu|e (?:quero|queria|tenho|gostaria)|y (?:quiero|tengo|mi)|i want|from)\b",
        text[start:],
        maxsplit=1,
        flags=re.IGNORECASE,
    )[0]
    if lead is None and re.fullmatch(
        r"\W*(?:oi|ola|olá|hi|hello|hola|hey|sure|ok|claro|sim|yes|si|sí)\W*", rest, re.IGNORECASE
    ):
        after = text[start + len(rest) + 1 :]
        if after.strip():
            start += len(rest) + 1
            rest = re.split(r"[,;!?\n(]|\.\s|:", after, maxsplit=1)[0]
    words: list[tuple[str, int, int]] = []
    for match in _NAME_CHARS.finditer(rest):
        words.append((match.group(), start + match.start(), start + match.end()))
    if sure:  # "my name is Carla Gomes with an s"
        stops = (n for n, (w, _, _) in enumerate(words) if n and fold(w) in STOP_WORDS and fold(w) not in _PARTICLES)
        cut = next(stops, len(words))
        rest = rest[: words[cut][1] - start] if cut < len(words) else rest
        words = words[:cut]
    leftover = _NAME_CHARS.sub("", rest).strip(" .\t\"'“”")
    end = words[-1][2] if words else start
    problem = _name_problem([w for w, _, _ in words], leftover)
    if not problem:
        value = " ".join(_cased(w, n) for n, (w, _, _) in enumerate(words))
        value = re.sub(r"(\w{4})\.$", r"\1", value)  # the end of a sentence, not of "Jr."
        if (
            lead is not None
            and not sure
            and not context.asked
            and not all(w[:1].isupper() or fold(w) in _PARTICLES for w, _, _ in words)
        ):
            return None  # "i am looking"
        return Found(value, words[0][1], end)
    return (
        Refused("not_a_name", start, max(end, start)) if context.asked and len(words) <= 3 and "?" not in text else None
    )


def _name_problem(words: list[str], leftover: str) -> bool:
    if not words or len(words) > 6 or leftover or sum(map(len, words)) > 70:
        return True
    plain = [fold(w).rstrip(".") for w in words]
    if all(len(w) < 2 for w in plain) and all(w.isascii() for w in plain):
        return True
    if any(w in _NOT_NAMES for w in plain):
        return True
    content = [w for w in plain if w not in _PARTICLES]
    if not content or any(w in STOP_WORDS and w not in ("me", "bia") for w in content):
        return True
    return any(w.isascii() and len(w) > 2 and not re.search(r"[aeiouy]", w) for w in content)


def _cased(word: str, position: int) -> str:
    if position and fold(word) in _PARTICLES:
        return word.lower()
    if (word.islower() or (word.isupper() and len(word) > 2)) and word.isascii() | word.isalpha():
        return "-".join(part[:1].upper() + part[1:].lower() for part in word.split("-"))
    return word
