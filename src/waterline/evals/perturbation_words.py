"""The words that the perturbations put in or swap, by language. Nothing here holds a digit, an address or a request."""

LANGUAGES = ("en", "pt", "es")

# Abbreviations and slang of chats: a whole word (or phrase) and what people type for it. All keep the meaning.
SLANG: dict[str, dict[str, str]] = {
    "en": {
        "please": "pls",
        "thanks": "thx",
        "thank you": "ty",
        "you": "u",
        "your": "ur",
        "are": "r",
        "because": "bc",
        "people": "ppl",
        "about": "abt",
        "with": "w/",
        "without": "w/o",
        "tomorrow": "tmrw",
        "tonight": "tonite",
        "want to": "wanna",
        "going to": "gonna",
        "got to": "gotta",
        "know": "kno",
        "to be honest": "tbh",
        "as soon as possible": "asap",
        "by the way": "btw",
        "information": "info",
        "appointment": "appt",
        "message": "msg",
        "okay": "k",
        "though": "tho",
        "what is": "whats",
        "kindergarten": "kinder",
        "children": "kids",
        "something": "smth",
        "someone": "sb",
        "maybe": "mb",
        "school": "skool",
        "don't know": "dunno",
    },
    "pt": {
        "você": "vc",
        "vocês": "vcs",
        "voce": "vc",
        "por favor": "pfv",
        "obrigado": "obg",
        "obrigada": "obg",
        "porque": "pq",
        "por que": "pq",
        "quando": "qdo",
        "quanto": "qto",
        "também": "tb",
        "tambem": "tb",
        "que": "q",
        "muito": "mto",
        "muita": "mta",
        "beleza": "blz",
        "mensagem": "msg",
        "hoje": "hj",
        "depois": "dps",
        "está": "tá",
        "estou": "tô",
        "para": "pra",
        "comigo": "cmg",
        "cadê": "kd",
        "agora": "agr",
        "tudo bem": "td bem",
        "tudo": "td",
        "mesmo": "msm",
        "verdade": "vdd",
        "com": "c/",
        "professora": "profe",
        "informações": "infos",
        "horário": "hr",
        "filho": "filhinho",
        "filha": "filhinha",
    },
    "es": {
        "por favor": "xfa",
        "porque": "pq",
        "por qué": "xq",
        "que": "q",
        "qué": "q",
        "también": "tmb",
        "tambien": "tmb",
        "mensaje": "msj",
        "gracias": "grax",
        "estoy": "toy",
        "para": "pa",
        "mucho": "mxo",
        "cuando": "cdo",
        "cuándo": "cdo",
        "donde": "dnd",
        "dónde": "dnd",
        "mañana": "mñn",
        "tiempo": "tmp",
        "te quiero": "tqm",
        "bien": "bn",
        "profesora": "profe",
        "profesor": "profe",
        "información": "info",
        "colegio": "cole",
        "niños": "peques",
        "bueno": "weno",
        "hacer": "aser",
        "quiero": "kiero",
        "aquí": "aki",
        "luego": "lueg",
        "usted": "ud",
        "ustedes": "uds",
    },
}

# A greeting or filler of another language, put before, between or after. The message stays in its own language.
FILLERS: dict[str, tuple[str, ...]] = {
    "en": ("hi there", "sorry", "thank you so much", "you know", "by the way", "good morning", "anyway"),
    "pt": ("oi, tudo bem", "com licença", "muito obrigada", "sabe", "aliás", "bom dia", "enfim"),
    "es": ("hola, qué tal", "perdón", "muchas gracias", "sabes", "por cierto", "buenos días", "en fin"),
}

# Words that someone dictating says without meaning them.
HESITATIONS: dict[str, tuple[str, ...]] = {
    "en": ("um", "uh", "like", "so", "you know"),
    "pt": ("é", "hum", "tipo", "então", "né"),
    "es": ("eh", "este", "o sea", "pues", "mmm"),
}

# Words that a recogniser of speech mistakes for one that sounds the same. No negation and no number is here.
HOMOPHONES: dict[str, dict[str, str]] = {
    "en": {
        "there": "their", "their": "there", "your": "you're", "you're": "your", "hear": "here", "here": "hear",
        "by": "buy", "buy": "by", "week": "weak", "meet": "meat", "hour": "our", "our": "hour",
        "write": "right", "right": "write", "its": "it's", "it's": "its", "weather": "whether", "would": "wood",
        "see": "sea", "account": "a count", "card": "cart", "i'd": "id", "the": "da",
        "what's": "whats", "price": "prize", "children": "child ren", "please": "pleas",
    },
    "pt": {
        "há": "a", "mas": "mais", "mais": "mas", "a gente": "agente", "está": "esta", "trás": "traz", "sessão": "seção",
        "conserto": "concerto", "vaga": "vagas", "você": "voce", "porque": "por que", "ainda": "ai da", "mês": "mes",
        "olá": "ola", "para": "pára", "obrigada": "obrigado", "meu": "meo",
    },
    "es": {
        "hay": "ahí", "a ver": "haber", "haber": "a ver", "vaya": "valla", "hola": "ola", "hecho": "echo", "qué": "que",
        "también": "tan bien", "quiero": "quiere o", "tuvo": "tubo", "hacia": "asía", "visita": "bisita", "voy": "boy",
        "precio": "presio", "horario": "orario",
    },
}  # fmt: skip

# A second, unrelated question.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "en": (
        "Also, do you have parking?",
        "And is there somewhere to have a coffee nearby?",
        "One more thing: can I pay by card?",
        "And who should I talk to about lost property?",
    ),
    "pt": (
        "Outra coisa: tem estacionamento?",
        "E tem algum lugar para tomar um café por perto?",
        "Mais uma dúvida: posso pagar com cartão?",
        "E com quem eu falo sobre objetos perdidos?",
    ),
    "es": (
        "Otra cosa: ¿tienen estacionamiento?",
        "¿Y hay algún lugar cerca para tomar un café?",
        "Una duda más: ¿puedo pagar con tarjeta?",
        "¿Y con quién hablo sobre objetos perdidos?",
    ),
}

# Talk around the matter that asks for nothing.
CHATTER: dict[str, tuple[str, ...]] = {
    "en": (
        "Sorry to write so late, it has been one of those days.",
        "I am on the bus, so forgive my typing.",
        "My phone is nearly dead, I will be quick.",
        "It has been raining here all week.",
        "My sister told me to write to you.",
    ),
    "pt": (
        "Desculpa escrever tão tarde, o dia foi uma correria.",
        "Estou no ônibus, então desculpa a digitação.",
        "Meu celular está quase sem bateria, vou ser rápida.",
        "Aqui choveu a semana inteira.",
        "Minha irmã falou para eu escrever para vocês.",
    ),
    "es": (
        "Perdón por escribir tan tarde, hoy fue un día de locos.",
        "Voy en el autobús, así que disculpe las faltas.",
        "Mi celular está casi sin batería, seré breve.",
        "Aquí llovió toda la semana.",
        "Mi hermana me dijo que les escribiera.",
    ),
}

# What a messenger or mail program wraps around text that is passed on.
FORWARDED: dict[str, tuple[str, ...]] = {
    "en": ("Forwarded", "Forwarded many times", "---------- Forwarded message ----------", "Fwd:"),
    "pt": ("Encaminhada", "Encaminhada com frequência", "---------- Mensagem encaminhada ----------", "Enc:"),
    "es": ("Reenviado", "Reenviado muchas veces", "---------- Mensaje reenviado ----------", "RV:"),
}

# Words that no typo touches: one letter here turns the meaning round.
_NEGATIONS = """
no not none never nothing nobody without neither nor cannot can't don't doesn't didn't won't isn't aren't
não nao nem nunca nada ninguém ninguem sem jamais nenhum nenhuma
sin ni nadie tampoco ningún ninguno ninguna jamás
"""
NEGATIONS = frozenset(_NEGATIONS.split())

EMOJI = ("🙂", "😅", "🙏", "👍", "😊", "🤔", "🙌", "👋", "😬", "✨")

# Neighbours on a QWERTY keyboard, letters only.
NEIGHBOURS = {
    "q": "wa",
    "w": "qes",
    "e": "wrd",
    "r": "etf",
    "t": "ryg",
    "y": "tuh",
    "u": "yij",
    "i": "uok",
    "o": "ipl",
    "p": "ol",
    "a": "qsz",
    "s": "awdx",
    "d": "sefc",
    "f": "drgv",
    "g": "fthb",
    "h": "gyjn",
    "j": "hukm",
    "k": "jil",
    "l": "kop",
    "z": "asx",
    "x": "zsc",
    "c": "xdv",
    "v": "cfb",
    "b": "vgn",
    "n": "bhm",
    "m": "njk",
}

# Letters of other scripts that look the same (Unicode TR 39, confusables): Cyrillic and Greek.
HOMOGLYPHS = {
    "a": "а",
    "c": "с",
    "e": "е",
    "i": "і",
    "j": "ј",
    "o": "о",
    "p": "р",
    "s": "ѕ",
    "x": "х",
    "y": "у",
    "A": "А",
    "B": "В",
    "C": "С",
    "E": "Е",
    "H": "Н",
    "I": "І",
    "K": "К",
    "M": "М",
    "N": "Ν",
    "O": "О",
    "P": "Р",
    "S": "Ѕ",
    "T": "Т",
    "X": "Х",
    "Y": "Υ",
    "Z": "Ζ",
}

_UNITS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen",
    "pt": "zero um dois três quatro cinco seis sete oito nove dez onze doze treze catorze quinze dezesseis "
    "dezessete dezoito dezenove",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis "
    "diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis "
    "veintisiete veintiocho veintinueve",
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "pt": "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
}
_HUNDREDS = {
    "pt": "cento duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos novecentos",
    "es": "ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos",
}
_UNIT = {language: tuple(words.split()) for language, words in _UNITS.items()}
_TEN = {language: tuple(words.split()) for language, words in _TENS.items()}
_HUNDRED = {language: tuple(words.split()) for language, words in _HUNDREDS.items()}


def spoken(number: str, language: str) -> str:
    """A run of digits as it is said: up to 9999 as a number; longer, or with a leading zero, digit by digit."""
    if len(number) > 4 or (len(number) > 1 and number[0] == "0"):
        return " ".join(_UNIT[language][int(digit)] for digit in number)
    return _cardinal(int(number), language)


def _cardinal(value: int, language: str) -> str:
    units, tens = _UNIT[language], _TEN[language]
    if value < len(units):
        return units[value]
    if value < 100:
        ten, unit = divmod(value, 10)
        joint = {"en": "-", "pt": " e ", "es": " y "}[language]
        return tens[ten - 2] + (joint + units[unit] if unit else "")
    if value < 1000:
        hundred, rest = divmod(value, 100)
        if language == "en":
            return f"{units[hundred]} hundred" + (f" and {_cardinal(rest, language)}" if rest else "")
        if value == 100:
            return {"pt": "cem", "es": "cien"}[language]
        joint = {"pt": " e ", "es": " "}[language]
        return _HUNDRED[language][hundred - 1] + (joint + _cardinal(rest, language) if rest else "")
    thousand, rest = divmod(value, 1000)
    word = {"en": "thousand", "pt": "mil", "es": "mil"}[language]
    head = word if thousand == 1 and language != "en" else f"{_cardinal(thousand, language)} {word}"
    if not rest:
        return head
    if language == "en":
        return f"{head} {'and ' if rest < 100 else ''}{_cardinal(rest, language)}"
    # Portuguese says "e" before a last part that is below a hundred or a round hundred.
    joint = " e " if language == "pt" and (rest < 100 or rest % 100 == 0) else " "
    return head + joint + _cardinal(rest, language)
