"""Yes and no in three languages, as people type them."""

import re

from waterline.agents.slots.base import Context, Found, Read, distance_is_one, fold

_YES = {
    "yes", "yeah", "yep", "yup", "ye", "ya", "y", "sure", "ok", "okay", "okey", "okei", "k", "kk", "correct", "right",
    "confirm", "confirmed", "definitely", "absolutely", "perfect", "great", "fine", "good", "agreed", "yess",
    "sim", "s", "ss", "claro", "certo", "isso", "pode", "beleza", "blz", "confirmo", "confirmado", "confirmar",
    "perfeito", "combinado", "fechado", "positivo", "otimo", "aham", "uhum", "exato", "simm", "bora", "tudo bem",
    "si", "sii", "sip", "vale", "dale", "correcto", "perfecto", "exacto", "bueno", "genial", "listo",
    "yes please", "of course", "go ahead", "sounds good", "that works", "works for me", "do it", "please do", "it is",
    "thats right", "com certeza", "pode ser", "tudo otimo", "por favor sim", "ta bom", "esta bem", "esta bom", "ta certo", "isso mesmo", "pode marcar",
    "de acuerdo", "por supuesto", "claro que si", "claro que sim", "esta bien", "asi es", "me parece bien", "desde luego",
    "book it", "see you then", "i do", "i am", "we do", "por supuesto que si", "lets do it", "sim por favor", "si por favor",
    "perfect thanks", "sim pode", "sim claro", "pode sim", "si claro", "claro si", "va bene", "all good",
}  # fmt: skip
_NO = {
    "no", "nope", "nah", "n", "not", "never", "wrong", "incorrect", "dont", "cancel",
    "nao", "nops", "nem", "negativo", "nunca", "errado", "jamais", "naum", "ñ", "nn",
    "nel", "tampoco", "incorrecto", "nones",
    "no thanks", "no thank you", "not now", "not yet", "no way", "i dont", "dont do it", "its not", "that is wrong", "thats wrong",
    "nao obrigado", "nao obrigada", "agora nao", "ainda nao", "de jeito nenhum", "claro que nao", "nao quero", "nao precisa",
    "no gracias", "ahora no", "todavia no", "claro que no", "para nada", "no quiero", "de ninguna manera", "mejor no", "melhor nao",
    "not really", "i dont think so", "acho que nao", "creo que no", "nao esta certo", "no es correcto", "hoje nao",
}  # fmt: skip
_UNSURE = re.compile(
    r"\b(i )?(don'?t|do not|didn'?t) (know|understand|remember)|not sure|nao (sei|entendi|lembro|tenho certeza)"
    r"|no (se|entiendo|lo se|estoy segur[oa]|recuerdo)\b|quem sabe|quiza|tal vez|talvez|maybe|perhaps|a lo mejor"
)
_EMOJI = {"👍": "yes", "👌": "yes", "✅": "yes", "🙌": "yes", "👎": "no", "❌": "no", "🚫": "no"}
_WORDS = re.compile(r"[a-zñ]+")
_LONG = tuple(sorted(w for w in _YES | _NO if len(w) >= (8 if " " in w else 5)))
# "sjre", where nothing else was said. "date" is not "dale", and "male" is no "vale" in English.
_SHORT = {"en": ("sure", "yeah", "okay"), "es": ("vale", "okay")}
_POLITE = re.compile(
    r"\b(please|pls|thanks|thank you|thx|obrigad[oa]|obg|gracias|por favor|pfv|xfa|hi|hello|oi|ola|hola)\b"
)


def _known(words: str) -> str | None:
    if words in _YES:
        return "yes"
    if words in _NO:
        return "no"
    short = re.sub(r"(.)\1+", r"\1", words)  # "siiiim", "yesss", "okkk"
    if short != words and (short in _YES or short in _NO):
        return "yes" if short in _YES else "no"
    if len(words) >= (6 if " " in words else 5):
        near = {"yes" if w in _YES else "no" for w in _LONG if distance_is_one(words, w)}
        if len(near) == 1:
            return near.pop()
    return None


def read_yes_no(text: str, context: Context) -> Read:
    """Only an answer that begins with yes or no, or is nothing else; "no, Tuesday" is a no, with the rest left over.
    Whether the rest matters is the caller's to see (`end`)."""
    folded = fold(text)
    for emoji, meaning in _EMOJI.items():
        if folded.strip().startswith(emoji) and not _WORDS.search(folded):  # beside words it is a mood
            at = folded.index(emoji)
            return Found(meaning, at, at + len(emoji))
    if _UNSURE.search(folded):
        return None
    words = [(m.group(), m.start(), m.end()) for m in _WORDS.finditer(folded.replace("'", ""))]
    spans = [(m.start(), m.end()) for m in re.finditer(r"[a-zñ]+(?:'[a-zñ]+)*", folded)]
    if not words or len(words) != len(spans):
        return None
    said = [w for w, _, _ in words]
    for count in (5, 4, 3, 2, 1):  # the longest known beginning
        if len(said) >= count and (value := _known(" ".join(said[:count]))) is not None:
            start, end = spans[0][0], spans[count - 1][1]
            rest = _POLITE.sub(" ", folded[end:])
            separated = bool(re.match(r"\s*($|[,.;!:)\-–\n])", folded[end:]))
            if not re.search(r"\w", rest) or separated:
                return Found(value, start, end)
            follow = _WORDS.search(rest)
            if follow and _known(follow.group()) == value:
                return Found(value, start, end)
            # "sim pode marcar", "yes that's right": a yes among few words; a bare "no" may be "in the"
            return Found(value, start, end) if context.asked and count * 4 >= len(said) and said[0] != "no" else None
    if context.asked and " ".join(said) in ("please", "pls", "por favor"):
        return Found("yes", spans[0][0], spans[-1][1])
    if (
        context.asked
        and len(said) == 1
        and any(distance_is_one(said[0], word) for word in _SHORT.get(context.language, ()))
    ):
        return Found("yes", *spans[0])
    tail = _known(said[-1])  # "por mim sim", "terça não"
    if (
        context.asked
        and tail is not None
        and 1 < len(said) <= 4
        and not re.search(r"\d", folded)
        and said[-1] in ("sim", "si", "yes", "nao", "no")
    ):
        return Found(tail, spans[-1][0], spans[-1][1])
    return None
