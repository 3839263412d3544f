"""The words for days, weeks and months in English, Portuguese and Spanish, and the patterns they stand in."""

import re

from waterline.agents.slots.base import NUMBER

WEEKDAYS = (
    "monday mon mondays segunda segundas seg lunes",
    "tuesday tue tues tuesdays terca tercas ter martes",
    "wednesday wed weds wednesdays quarta quartas qua miercoles mierc",
    "thursday thu thur thurs thursdays quinta quintas qui jueves juev",
    "friday fri fridays sexta sextas sex viernes vier",
    "saturday sat saturdays sabado sabados sab",
    "sunday sun sundays domingo domingos dom",
)
DAY_OF = {word: n for n, words in enumerate(WEEKDAYS) for word in words.split()}
SHORT_DAYS = {
    "mon",
    "tue",
    "tues",
    "wed",
    "weds",
    "thu",
    "thur",
    "thurs",
    "fri",
    "sat",
    "sun",
    "seg",
    "ter",
    "qua",
    "qui",
    "sex",
    "sab",
    "dom",
    "mierc",
    "juev",
    "vier",
}
ORDINAL_DAYS = {
    "segunda",
    "segundas",
    "terca",
    "quarta",
    "quinta",
    "sexta",
    "quartas",
    "quintas",
    "sextas",
    "tercas",
}
MONTHS = {
    word: n
    for n, words in enumerate((
        "january jan janeiro enero ene", "february feb fevereiro fev febrero", "march mar marco marzo",
        "april apr abril abr", "may maio mai mayo", "june jun junho junio", "july jul julho julio",
        "august aug agosto ago", "september sep sept setembro set septiembre setiembre", "october oct outubro out octubre",
        "november nov novembro noviembre", "december dec dezembro dez diciembre dic",
    ), 1)
    for word in words.split()
}  # fmt: skip
_LONG_WORDS = {*DAY_OF, *MONTHS, "tomorrow", "amanha", "manana", "morning", "afternoon", "proxima", "proximo"}
FIXABLE = (
    *sorted(word for word in _LONG_WORDS if len(word) >= 6 and word not in ORDINAL_DAYS),
    "terca", "quinta", "jueves", "martes",
)  # fmt: skip
SPELLED = {
    "tmrw": "tomorrow", "tmr": "tomorrow", "tomoz": "tomorrow", "tommorow": "tomorrow", "tommorrow": "tomorrow", "2morrow": "tomorrow", "2moro": "tomorrow",
    "tomorow": "tomorrow", "amanh": "amanha", "amnha": "amanha", "amanhan": "amanha", "amanhã": "amanha", "hj": "hoje", "dps": "depois", "mñn": "manana",
    "tuseday": "tuesday", "tusday": "tuesday", "wensday": "wednesday", "wenesday": "wednesday", "wednsday": "wednesday", "thrusday": "thursday", "thirsday": "thursday",
    "fryday": "friday", "terça": "terca", "tersa": "terca", "terza": "terca", "martez": "martes", "juebes": "jueves", "jeves": "jueves", "bieres": "viernes", "biernes": "viernes",
    "miercoes": "miercoles", "mircoles": "miercoles", "miércoles": "miercoles", "savado": "sabado", "qta": "quinta", "nxt": "next", "prox": "proxima", "manna": "manana", "q": "que",
}  # fmt: skip
_IN_A_MONTH = r"(?:next month|mes que vem|proximo mes|mes que viene)"
# "next month, the 10th", "dia 10 do mês que vem"
NEXT_MONTHS_DAY = re.compile(
    rf"\b{_IN_A_MONTH}[\s,]+(?:(?:on|in|no|o|el) )?(?:(?:the|dia|el) )(\d{{1,2}})(?:st|nd|rd|th)?\b(?![:h.]?\d|h\b)"
)
DAY_OF_NEXT_MONTH = re.compile(
    rf"\b(?:the|dia|el)\s+(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of |do |del |de |no )?(?:o |el )?{_IN_A_MONTH}\b"
)
FIXED_BEFORE = {
    "certa",
    "terra",
    "cerca",
    "perca",
    "quinto",
    "quita",
    "quinte",
    "terco",
    "manera",
    "manha",
    "manhas",
    "mananas",
    "domingas",
    "month",
    "months",
    "moment",
    "mornings",
    "afternoons",
    "proximas",
    "proximos",
    "mayor",
    "mondays",
    "marcos",
}

WEEKDAY = r"(?:" + "|".join(sorted(DAY_OF, key=len, reverse=True)) + ")"
MONTH = r"(?:" + "|".join(sorted(MONTHS, key=len, reverse=True)) + ")"
CORRECTION = re.compile(
    r"\b(?:no,? wait|wait,? no|wait|sorry|i mean|i meant|actually|or rather|scratch that|quer dizer|quis dizer|ou melhor|alias|na verdade|digo|desculpa|desculpe"
    r"|perdon|mejor dicho|o mejor|mejor|quiero decir|quise decir|en realidad|espera|corrigindo|correction)\b"
)
GREETING = re.compile(
    r"\b(?:good (?:morning|afternoon|evening|day|night)|bo(?:m|ns) dias?|boas? (?:tardes?|noites?)|buen(?:os|as)? (?:dias?|tardes?|noches?)|have a (?:nice|good) \w+)\b"
)
ISO = re.compile(r"(?<!\d)(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)")
NUMERIC = re.compile(
    r"(?<![\d/.:-])(\d{1,2})([/.-])(\d{1,2})(?:\2(\d{4}|\d{2}))?(?![\d/:]|\.\d|\s*(?:am|pm|h\b|eur|anos|years))"
)
DAY_MONTH = re.compile(
    rf"\b(\d{{1,2}}|primeiro|primero|first)\s*(?:st|nd|rd|th|o|º|ro)?\s*(?:of|de|do|d)?\s*({MONTH})\b\.?(?:\s*(?:de|del|,)?\s*(\d{{4}})\b)?"
)
MONTH_DAY = re.compile(
    rf"\b({MONTH})\.?\s*(?:the )?(\d{{1,2}})(?:st|nd|rd|th)?\b(?!\s*(?:years|am\b|pm\b|:|h\b))(?:\s*,?\s*(\d{{4}})\b)?"
)
IN = re.compile(
    rf"\b(?:in|within|daqui a|daqui|dentro de|em|en|a)\s+(?:about |uns |umas |unos |unas )?({NUMBER}|a|an|couple of|a couple of|alguns|algunos|some)\s+"
    r"(hours?|horas?|days?|dias?|weeks?|semanas?|months?|mes(?:es)?|fortnights?)\b(?!\s*(?:de idade|old|que viene|que vem))|\b(?P<n>"
    + NUMBER
    + r")\s+(?P<u>days?|weeks?) from (?:now|today)\b"
)
AFTER_TOMORROW = re.compile(
    r"\b(?:(?:the )?day after tomorrow|depois d[ea] amanha|pasado manana|pasadomanana|overmorrow)\b"
)
TOMORROW = re.compile(r"\b(?:tomorrow|amanha|manana)\b")
ES_MORNING = re.compile(r"\b(?:por|de|en|a)\s+la\s+manana\b")
TODAY = re.compile(
    r"\b(?:today|tonight|hoje|hoy|esta tarde|esta noche|esta manana|this (?:morning|afternoon|evening)|right now|agora mesmo|ahora mismo)\b"
)
YESTERDAY = re.compile(
    r"\b(?:(?:the )?day before yesterday|yesterday|anteontem|ontem|anteayer|antier|ayer|last (?:week|"
    + WEEKDAY
    + r")|semana passada|semana pasada)\b"
)
NEXT_WEEK = r"(?:next week|(?:na |da |a )?(?:semana que vem|proxima semana|semana proxima)|(?:de |en )?(?:la )?(?:semana que viene|proxima semana|semana proxima|semana entrante))"
NAMED_DAY = re.compile(
    rf"(?P<not>\b(?:not|except|but not|excepto|exceto|menos|nao|instead of|em vez d[aeo]|en vez del?|en lugar del?)\s+(?:on |na |no |the |el |los |a |as )?)?"
    rf"(?P<pre>\b(?:next|this|coming|this coming|every|any|proxima|proximo|(?:n|d)?esta|(?:n|d)?essa|este|ese|toda|todo|qualquer|cualquier)\s+)?"
    rf"\b(?P<day>{WEEKDAY})\b(?P<feira>\s*-?\s*feiras?)?"
    rf"(?P<post>\s*(?:,?\s*{NEXT_WEEK}|que vem|que viene|proxim[ao]|next|(?:in|en) (?:two|dos) (?:weeks|semanas)|of next week))?"
    r"(?P<no>,?\s+(?:nao\b(?!\s+sei)|no\b(?!\s+(?:se|problem|prob|later|wait|dia|dia|fim))|doesn'?t|does not|isn'?t|can'?t|won'?t|i can'?t|is not|is no good|is bad|is taken))?"
)
WEEKEND = re.compile(
    r"\b(?:(next|this|proximo|este|esse|neste|nesse)\s+)?(?:weekend|week-end|fim de semana|fin de semana|finde|fds)\b(\s+(?:que vem|que viene))?"
)
WEEK = re.compile(rf"\b{NEXT_WEEK}\b")
THIS_WEEK = re.compile(
    r"\b(?:this week|(?:n|d)?est[ae] semana|(?:n|d)?ess[ae] semana|later this week|end of (?:the|this) week|fim da semana|fin de la semana)\b"
)
NEXT_MONTH = re.compile(r"\b(?:next month|mes que vem|proximo mes|(?:el )?mes que viene|mes proximo)\b")
NTH = re.compile(
    r"\b(?:on the|the|dia|el dia|el|no dia)\s+(\d{1,2})(?:st|nd|rd|th|º)?\b(?!\s*(?:anos|years|am|pm|h\b|horas|eur|%|/|:|ano\b|grade|grado|kids|children|options?|opcao))(?![.:/]\d)"
)
NTH_ONLY = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)\b(?!\s*(?:grade|year))")
ANY = re.compile(
    r"\b(?:any ?day|any ?time|whenever|as soon as possible|asap|soonest|earliest|first available|next available|qualquer (?:dia|hora|horario)|quando (?:puder|der|quiser|tiver)|o quanto antes|o mais (?:cedo|rapido) possivel|tanto faz|cualquier (?:dia|hora|momento)|cuando (?:puedan|sea|quieran)|lo antes posible|cuanto antes|me da igual|primeiro horario|primera hora disponible|i'?m flexible|soy flexible|sou flexivel|no preference)\b"
)
