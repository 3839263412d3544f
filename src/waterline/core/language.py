"""Which of English, Portuguese and Spanish a text is in. Small on purpose: stop words and a few telling spellings.

It answers None when it is not sure: too few telling words, two languages level, or another language (French, Italian
and German stop words are known, so that they are not taken for a neighbour). Stop-word counting as in Grefenstette
(1995), "Comparing two language identification schemes"; the spellings are those that the others do not use.
"""

import re

LANGUAGES = ("en", "pt", "es")

_STOP_WORDS = {
    "en": """the of and to in is you that it for was on are as with his they be at one have this from or had by but not
        what all were we when your can said there use an each which she do how their if will up other about out many
        then them these so some her would make like him into time has look more go see no way could people my than been
        who its now find did get come made may i me our us please yes hello hi thanks thank here any much only also
        after before should does don't it's i'm we're you're we'll i'll let's just every need want good welcome""",
    "pt": """de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu
        sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem mesmo aos ter
        seus quem nas me esse eles estão você tinha foram essa num nem suas meu às minha têm numa pelos elas havia seja
        qual nós lhe deles essas esses pelas este vocês pra pro sim olá oi obrigado obrigada bom dia boa tarde noite
        aqui agora hoje amanhã então pode podemos temos fica são nossa nosso nossas nossos gostaria posso quer quanto
        onde porque ainda todos todas todo cada nao voce tambem ate ja esta quais qualquer favor""",
    "es": """de la que el en y a los del se las por un para con no una su al lo como más pero sus le ya o este sí porque
        esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante todos uno les ni contra
        otros ese eso ante ellos e esto mí antes algunos qué unos yo otro otras otra él tanto esa estos mucho quienes
        nada muchos cual poco ella estar estas algunas algo nosotros es son está están fue tiene tenemos puede podemos
        usted ustedes hola gracias buenos días buenas tardes noches aquí ahora hoy mañana entonces nuestra nuestro
        nuestros nuestras quiero quiere cuánto cuál dónde cómo favor si mi tu te ser ha han tengo estoy""",
}
_OTHERS = {
    "fr": """le les des est et une dans qui pour pas sur au ce avec sont vous nous il elle mais ou où aux ne je cette
        votre notre être du bonjour merci oui très à c'est j'ai même leur""",
    "it": """il di che è per non sono una con della nel gli le più anche ci alla dei questo delle ma ho si come
        buongiorno grazie sì molto dell'anno lo degli essere perché""",
    "de": """der die das und ist nicht ein eine zu den mit von sie auf für im dem es ich auch wir ihr sich bei oder nach
        wie haben kann guten danke ja bitte sind""",
}
# Words of what people write about, in one of the languages only. They tell as much, and are no stop words.
_TELLING = {
    "en": "school schools child children kid kids son daughter visit price fees tuition",
    "pt": "escola escolas crianca criancas filho filha filhos mensalidade matricular gostava quero queria preciso ola",
    "es": "escuela escuelas nino nina ninos hijo hija hijos mensualidad matricular quisiera necesito ola",
}
# Spellings that settle it within a word. Each counts like a telling word.
_SPELLINGS = {
    "en": re.compile(
        r"(?:^th(?!$)|ough|ight$|wh(?=[aeiouy])|[a-z]{2,}ing$|^w[^aeiouy]?|'(?:s|t|re|ll|ve|m)$|[a-z]tion)"
    ),
    "pt": re.compile(r"ã|õ|ç|[ao]nh[aoe]|ê|ô|lh[aeo]|(?:ss|ções|ção)(?=$|s)|agem$|dade$"),
    "es": re.compile(r"ñ|ción$|ciones$|[aei]ll[aeo]|ía[sn]?$|ie[nr]t|ue[nr]t|dad$"),
}
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")

# A stop word that several languages share says less: its weight is shared between them.
_HOLDERS: dict[str, list[str]] = {}
for _language, _words in (*_STOP_WORDS.items(), *_OTHERS.items()):
    for _word in dict.fromkeys(_words.split()):
        _HOLDERS.setdefault(_word, []).append(_language)

_LANGUAGES_OF = {word: tuple(languages) for word, languages in _HOLDERS.items()}

STOP_WORDS = frozenset(_LANGUAGES_OF)

for _language, _words in _TELLING.items():
    for _word in _words.split():
        _HOLDERS.setdefault(_word, []).append(_language)

_MIN_SCORE, _MIN_DENSITY, _MIN_LEAD = 1.0, 0.15, 1.3


def identify(text: str) -> str | None:
    """ISO 639-1 of the text: "en", "pt" or "es"; None when unsure."""
    found = [word.lower().replace("’", "'") for word in _WORD.findall(text[:20_000])]
    if not found:
        return None
    scores = dict.fromkeys((*_STOP_WORDS, *_OTHERS), 0.0)
    for word in found:
        holders = _HOLDERS.get(word, [])
        for language in holders:
            scores[language] += 1.0 / len(holders) ** 1.5
        for language, spelling in _SPELLINGS.items():
            if spelling.search(word) and (not holders or language in holders):
                scores[language] += 0.6
    scores["es"] += 1.5 * (text.count("¿") + text.count("¡"))
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    (best, score), (_, second) = ranked[0], ranked[1]
    sure = score >= _MIN_SCORE and score / len(found) >= _MIN_DENSITY and score >= _MIN_LEAD * second
    return best if sure and best in LANGUAGES else None


def stop_word_languages(word: str) -> tuple[str, ...]:
    """The languages of which a lower-case word is a stop word; empty for most words."""
    return _LANGUAGES_OF.get(word, ())
