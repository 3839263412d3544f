"""What a message is for, where words say it for sure. What they do not say is the model's to read (understand.py)."""

import re
from functools import lru_cache

from waterline.agents.slots.base import NUMBER, distance_is_one, fold, number
from waterline.agents.wanting import ANGER, PERSON, angry
from waterline.agents.wanting_frames import is_angry, wants_person, without_what_is_told
from waterline.agents.whereabouts import asks_where

_PATTERNS: dict[str, re.Pattern[str]] = {
    "opt_out": re.compile(
        r"^\W*(?:stop|unsubscribe|stop (?:it|messages|messaging me)|parar?|sair|baja|darme de baja|remover|remove me)\W*$"
        r"|\b(?:(?:do not|don'?t|stop) (?:ever )?(?:write|writing|message|messaging|text|texting|contact|contacting)(?: to)? me|take me off|unsubscribe"
        r"|nao (?:me )?(?:quero|queria|mandem?|envie[mn]?|escrevam) (?:mais )?(?:receber )?(?:mais )?(?:nenhuma )?mensage(?:m|ns)|parem de (?:me )?(?:escrever|mandar|enviar)"
        r"|nao me (?:escrevam|mandem|contactem|contatem|incomodem)|no me (?:escriban|manden|envien|contacten)|no quiero (?:recibir )?mas mensajes|dejen de (?:escribir|mandar|enviar)|dame de baja)\b"
    ),
    "abuse": re.compile(
        r"\b(?:fuck(?:ing)? (?:you|off|u|bot|idiots?|morons?)|f+u+c+k+ ?(?:yo)?u|go fuck|motherfucker|asshole|bitch|bastard|moron|idiot|stupid (?:bot|machine|idiot|robot)|dumb (?:bot|ass|machine)|shut up|piece of shit|shithead|dickhead|cunt|wanker"
        r"|vai se (?:foder|fuder)|vsf|vai tomar no|vtnc|filh[oa] d[ae] puta|fdp|seu (?:burro|idiota|merda|lixo)|idiotas?|imbeci[ls]+|otari[oa]s?|cala a boca|bot (?:burro|de merda|idiota)|arrombad[oa]|babaca"
        r"|hij[oa]s? de puta|hdp|gilipollas|pendej[oa]s?|cabron(?:es)?|vete a la mierda|callate|eres (?:un )?(?:idiota|estupid[oa]|imbecil)|bot (?:estupido|de mierda|tonto|idiota)|imbecil)\b"
    ),
    "anger": ANGER,
    "person": PERSON,
    "not_interested": re.compile(
        r"\b(?:not interested|no longer interested|changed (?:my|our) mind|forget (?:it|about it)|never ?mind|found another school|nao (?:tenho|temos) (?:mais )?interesse|nao quero mais|ja nao quero|desisti|deixa (?:pra la|quieto|para la)|esquece|encontrei outra escola"
        r"|no me interesa|ya no (?:quiero|me interesa|nos interesa)|no (?:estoy|estamos) interesad[oa]s?|olvidal[oa]|dejalo|encontramos otr[oa])\b"
    ),
    "cancel": re.compile(
        r"\b(?:cancel(?:ar|l?ing|a|e|o|ada)?|desmarcar|desmarque|anular|anula|call (?:it|the visit) off|can'?t make it|cannot make it|won'?t be able to (?:come|make)|can'?t come|nao (?:vou|poderei|posso|consigo|vamos|podemos) (?:poder )?(?:mais )?(?:ir|comparecer)|no (?:puedo|podre|podemos|podremos|voy a poder) (?:ir|asistir))\b"
    ),
    "change": re.compile(
        r"\b(?:reschedul\w+|(?:change|move|switch|postpone) (?:it|the|my|our) ?(?:visit|appointment|time|day|date|booking|tour|to)?|(?:another|different|other|earlier|later) (?:day|time|date|slot)|remarcar|reagendar|adiar|(?:mudar|trocar|alterar|passar) (?:o dia|a data|a hora|o horario|a visita|para|pra)|outr[oa] (?:dia|horario|data|hora)"
        r"|cambiar(?:la|lo)?(?: (?:la|el|de) (?:visita|cita|hora|fecha|dia|horario))?|reprogramar|aplazar|posponer|otr[oa] (?:dia|hora|fecha|horario|momento)|mover la (?:visita|cita)|can'?t (?:do|on) |(?:eu )?nao posso (?:nesse|nessa|neste|nesta|na|no|as)|no puedo (?:el|ese|esa|a esa))\b"
    ),
    "visit": re.compile(
        r"\b(?:visit(?:s|ing)?|tours?|open day|(?:come|stop|drop|pop|go) (?:and |to |over |by |in )*(?:see|look|have a look|check)|come by|come over|(?:see|look at|check out|tour|know) (?:the |your )?(?:school|classrooms?|campus|place)|look around|(?:book|schedule|make|arrange|get|set up) (?:a |an |the |our |us )?(?:visit|tour|appointment|meeting|slot|time)|book (?:it|us|me)"
        r"|visitas?|visitar(?:mos)?|visitinha|conhecer|(?:agendar|marcar|reservar)|agenda\b|ver (?:a escola|o colegio|el colegio|la escuela|el cole)|ir (?:ai|ate ai|la) (?:ver|conhecer)|conocer(?:los|lo)?|recorrido|cita|pasar a ver|pasarnos|ir a ver)\b"
    ),
    "injection": re.compile(
        r"\b(?:ignore (?:all |your |the |any )*(?:previous |prior |above )*(?:instructions?|rules?|prompts?)|forget (?:all |your |the )*(?:rules|instructions|previous)|system prompt|(?:your|the) (?:instructions|prompt)\b|you are now|act as|pretend (?:to be|you)|jailbreak|developer mode"
        r"|(?:ignor[ae]|esque[cç]a|desconsidere) (?:todas? )?(?:as |suas |tuas )*(?:instru\w+|regras)|(?:ignora|olvida|olvide|ignore) (?:todas )?(?:las |tus |sus )*(?:instrucciones|reglas)|prompt (?:do|del) sistema|tell (?:me )?a joke|write (?:me )?(?:a |some )?(?:poem|code|essay|python|story)|conta(?:r)? uma piada|cuenta(?:me)? un chiste|homework|(?:^|\n)\s*system\s*:)"
    ),
    "who": re.compile(  # who or what answers here, and whether anybody does
        r"\b(?:(?:are|r) (?:you|u) (?:(?:really|actually|just|only) )?(?:(?:an? |the )?(?:real |actual |live )?(?:human(?: being)?|person|bot|robot|chatbot|machine|computer|ai|assistant)|real|human|automated|there(?=\s*(?:[?!.,]|$)))"
        r"|am i (?:speaking|talking|chatting|writing) (?:to|with) (?:an? )?(?:real |actual |live )?(?:human|person|bot|robot|chatbot|machine|computer|ai)|is (?:this|it) (?:an? )?(?:bot|robot|chatbot|machine|ai|automated|real person|human)|(?:anyone|anybody|someone|somebody) there(?=\s*(?:[?!.,]|$))|who (?:are you|am i (?:talking|speaking|writing) (?:to|with)|is this)"
        r"|(?:voce|vc|tu|o senhor|a senhora) (?:e|es) (?:mesmo )?(?:um[a]? )?(?:robo|robot|bot|maquina|humano|humana|pessoa|ia|real|assistente)|(?:es|e) (?:um[a]? )(?:robo|robot|bot|maquina|humano|humana|pessoa)|(?:estou|to) (?:a )?(?:falar|falando) com (?:um[a]? )(?:robo|robot|bot|maquina|humano|pessoa(?: de verdade| real)?|ia)|isto e (?:um )?(?:robo|robot|bot)|(?:alguem|estao) ai(?=\s*(?:[?!.,]|$))|quem (?:e voce|es tu|fala(?: ai)?)"
        r"|eres (?:tu )?(?:realmente )?(?:un[a]? )?(?:robot|bot|maquina|human[oa]|persona(?: real)?|ia|real|asistente)|es (?:usted )?un[a]? (?:robot|bot|maquina|human[oa]|persona)|(?:estoy )?hablando con un[a]? (?:robot|bot|maquina|human[oa]|persona(?: real)?)|(?:hay alguien(?: ahi)?|(?:estan|estas) ahi|quien habla)(?=\s*(?:[?!.,]|$))|quien (?:eres|es usted))\b"
    ),
    "unsure": re.compile(  # "I do not know yet whether I want to visit"
        r"\b(?:(?:not|n'?t) (?:sure|decided|know)|nao sei|nao tenho certeza|nao decidi|no se|no estoy segur[oa]|no decidi)(?: (?:yet|ainda|todavia|aun))?"
        r" (?:if|whether|se|si)\b[^.?!,;]*"
    ),
    "thanks": re.compile(
        r"\b(?:thanks?|thank you|thx|ty|cheers|obrigad[oa]s?|obg|brigad[oa]|valeu|agradeco|gracias|graci|grax|gracs|mil gracias|agradezco)\b"
    ),
    "bye": re.compile(
        r"\b(?:bye|goodbye|see you|see u|have a (?:nice|good) (?:day|evening|weekend)|tchau|ate (?:logo|la|mais|terca|quinta|amanha)|adios|hasta (?:luego|pronto|manana|el)|chau|nos vemos)\b"
    ),
    "greeting": re.compile(
        r"^\W*(?:hi+|hello+|hey+|hiya|good (?:morning|afternoon|evening)|oi+e*|ola+|bom dia|boa (?:tarde|noite)|hola+|buen[oa]s?(?: (?:dias?|tardes?|noches?))?|que tal|tudo bem|alo)\b"
    ),
    "parent": re.compile(
        r"\b(?:(?:this is|i'?m|i am|it'?s) (?:his|her|the|their|a|my (?:son|daughter|kid)'?s?) ?(?:mother|mom|mum|father|dad|parent|guardian)|mother here|mom here|sou (?:a |o )?(?:mae|pai|responsavel)|aqui e (?:a |o )?(?:mae|pai)|quem fala e (?:a |o )?(?:mae|pai)|soy (?:la |el |su )?(?:madre|mama|padre|papa|tutor[a]?))\b"
    ),
    "own_child": re.compile(
        r"\b(?:(?:my|our) (?:son|daughter|kid|child|boy|girl)|(?:o |a |do |da )?(?:meu|minha|nosso|nossa) (?:filh[oa]|menin[oa]|miud[oa])|(?:mi|nuestr[oa]) (?:hij[oa]|nin[oa]|nen[ea]))\b"
    ),
    "other": re.compile(
        r"\b(?:(?:an)?other|none of (?:these|those|them)|neither|something else|any other|(?:the )?(?:week|day) after(?: that)?(?=\s*(?:[?!.,]|$))|semana seguinte|semana siguiente|outr[oa]s?|nenhum[a]?(?: (?:desses|deles|dos))?|otr[oa]s?|ningun[oa]?(?: de)?|different)\b"
    ),
    "skip": re.compile(
        r"\b(?:skip|pass|rather not|prefer not|don'?t have (?:one|an?|any|email)|no e-?mail|without|pular|pula|passo|prefiro nao|nao tenho|sem e-?mail|saltar|omitir|prefiero no|no tengo|sin (?:correo|e-?mail))\b"
    ),
}
_MENDED = (
    "person", "human", "someone", "speak", "talk", "call", "please", "pessoa", "atendente", "humano", "alguem", "falar",
    "persona", "tenho", "tengo", "alguien", "hablar", "asesor", "llamar", "pueden",
    "complaint", "ridiculous", "unacceptable", "reclamacao", "absurdo", "inaceitavel", "queja", "inaceptable",
)  # fmt: skip
_SAID_OTHERWISE = {
    "tall",
    "calls",
    "cally",
    "hall",
    "ball",
    "fall",
    "wall",
    "tell",
    "tenha",
    "tenga",
    "tento",
    "venho",
    "vengo",
    "deja",
    "quede",
    "queda",
    "quema",
    "aqueja",
    "person",
    "persona",
    "persons",
    "personas",
    "pessoas",
    "talks",
}
_FIRST_PERSON = re.compile(
    rf"\b(?:i'?m|i am|im) (?:only |just )?({NUMBER})(?: ?(?:years? old|yrs? old|yo|y/o))?\b(?!\s*(?:weeks|months|minutes|km|min|from|and a half hours))"
    rf"|\b(?:tenho|tengo|eu tenho|yo tengo) (?:so |apenas |solo )?({NUMBER}) ([a-z]{{3,8}})\b"
)
_PUPIL = re.compile(
    r"\b(?:i'?m (?:a kid|a child|a minor)|(?:my|mis|meus) (?:parents|mom|mum|dad|padres|pais) (?:don'?t|doesn'?t|do not|nao|no) (?:know|sabem?|saben?)|sou menor|soy menor|minha mae nao sabe|mi mama no sabe)\b"
)


def intents(text: str) -> set[str]:
    """The names of what the words surely say."""
    folded = _even(text)
    rest = _PATTERNS["who"].sub(" ", folded)
    found = {"who"} if rest != folded else set()
    folded = rest  # "are you a real person?" asks for none
    found |= {name for name, pattern in _PATTERNS.items() if pattern.search(folded)}
    if "unsure" in found and not _PATTERNS["visit"].search(_PATTERNS["unsure"].sub(" ", folded)):
        found.discard("visit")
    found.discard("unsure")
    mended = _mended(folded)
    if _is_minor(mended):
        found.add("minor")
    # To be passed on by mistake harms less than to be kept from people by a slip of the keyboard.
    for name, pattern, heard in (("person", PERSON, wants_person(folded)), ("anger", ANGER, is_angry(folded))):
        mine = without_what_is_told(folded, name == "anger")
        if heard or pattern.search(mine) or pattern.search(_mended(mine)):
            found.add(name)
        else:
            found.discard(name)
    if angry(text, without_what_is_told(folded, True)):
        found.add("anger")
    return found


def says(name: str, folded: str) -> bool:
    """Whether folded words surely say this one thing."""
    pattern = _PATTERNS[name]
    return bool(pattern.search(folded) or (name in ("person", "anger") and pattern.search(_mended(folded))))


def _mended(folded: str) -> str:
    """With the slips put right in the words that ask for a person, are angry, or tell one's age."""
    return re.sub(r"[a-z]{4,}", lambda m: _near(m.group()), folded.replace(" c/ ", " com ").replace(" p/ ", " para "))


@lru_cache(4096)
def _near(word: str) -> str:
    if word in _SAID_OTHERWISE:
        return word
    return next((right for right in _MENDED if distance_is_one(word, right)), word)


def spans(text: str, names: set[str]) -> list[tuple[int, int]]:
    """Where the words of these stand."""
    folded = fold(text)
    return [match.span() for name in names if name in _PATTERNS for match in _PATTERNS[name].finditer(folded)]


def _is_minor(folded: str) -> bool:
    """A child who writes for themself: "I'm 12", "tenho 13 anos"; not "I'm 5 minutes late"."""
    for found in _FIRST_PERSON.finditer(folded):
        unit = found.group(3) or "anos"
        if unit not in ("anos", "aninhos") and not distance_is_one(unit, "anos"):
            continue
        age = number(found.group(1) or found.group(2))
        if 5 <= age < 18:
            return True
    return bool(_PUPIL.search(folded))


# "mi hijo tiene 4 años" has the verb of "¿tiene piscina?", and asks for nothing.
_CHILD_HAS = re.compile(
    r"\b(?:hij[oa]s?|filh[oa]s?|filhinh[oa]|nin[oa]s?|nen[ae]|menin[oa]|crianca|pequen[oa]|bebe|ella|ele|ela)"
    r" +(?:ja |ya )?(?:tem|tienen?)\b"
)
_ASKS = re.compile(
    r"\b(?:how (?:much|many|long|old|big|far|late|early|do|does|is|are)|what|whats|which|when|where|who|why|do (?:you|u|they|we|i)|does|is (?:there|the|it|this|lunch)|are (?:there|you|the)|can (?:i|you|we|he|she|my)|could|price|cost|fees?|tuition|have you got|tell me|explain|let me know|know about|wondering|info on|information"
    r"|como (?:e|sao|eh|es|son|funciona[mn]?|se|puedo|podemos|posso|podem)|quanto|quanta|qto|qnto|quantos|quantas|qual|quais|quando|onde|quem|por que|que horas|que dias?|tem|vcs? tem|voces? tem|ha\b|existe|aceitam?|oferecem?|funciona|custa|preco|valor|mensalidade|propina|saber|me (?:diz|diga|fala|explica|explique|conta)|explica|explique|gostaria de saber|posso|pode(?:m)?"
    r"|cuant[oa]s?|cual(?:es)?|donde|quien|por que|a que hora|que dias|hay|tienen?|aceptan|ofrecen|precio|costo|cuesta|vale|cuota|mensualidad|quisiera saber|quiero saber|diga(?:me)?|dime|expliqueme|explicame|puedo|pueden?)\b"
)
_ABOUT_VISITS = re.compile(
    r"\b(?:how long|who|bring|last|take with|cost|free of charge|pay|parking|quanto tempo|duracao|dura|levar|trazer|paga|gratis|gratuita|quem|cuanto (?:tiempo|dura)|llevar|traer|quien|pagar)\b"
)
_PRICE = re.compile(
    r"\b(?:how much|price|cost|costs|fees?|tuition|expensive|quanto (?:custa|e|fica|sai|esta|seria|vale|cobram)|qto|qnto|qnt|preco|valor(?:es)?|mensalidade|propina|caro|cuanto (?:cuesta|es|vale|sale|cobran)|kuanto|precio|costo|costara|costaria|custara|custaria|cuesta|cuota|costara|costaria|custara|custaria|mensualidad)\b"
)


_PRICE_WORDS = ("price", "custa", "preco", "mensalidade", "cuesta", "precio", "mensualidad")


def asks(sentence: str) -> bool:
    return "?" in sentence or bool(_ASKS.search(_CHILD_HAS.sub(" ", _even(sentence))))


def _even(text: str) -> str:
    """Folded, with a single space between words."""
    return " ".join(fold(text).split())


_WHAT_NEXT = re.compile(
    r"\b(?:what (?:(?:do|else do) (?:you|u) need|now|is next|else|do i (?:have to|need to)? ?do)|what'?s next|how does (?:this|it) work"
    r"|(?:o )?que (?:mais )?(?:precisam?|falta|faco|tenho (?:de|que) fazer)(?: (?:de mim|saber|agora))?|e agora|que mas|que (?:necesitan?|falta|hago|tengo que hacer)(?: (?:de mi|saber|ahora))?|y ahora)\W*$"
)


def asks_what_next(sentence: str) -> bool:
    """The next question of ours is the answer."""
    return bool(_WHAT_NEXT.search(_even(sentence)))


def about_visits(sentence: str) -> bool:
    """A question about what a visit is like, not a wish for one."""
    return bool(_ABOUT_VISITS.search(_even(sentence)))


def price_word(sentence: str, language: str) -> str:
    """ "how much is it" has no word that a handbook holds: this is the one."""
    folded = _even(sentence)
    priced = _PRICE.search(folded) or any(
        distance_is_one(w, p) for w in re.findall(r"[a-z]{5,}", folded) for p in _PRICE_WORDS
    )
    return {"pt": " preço", "es": " precio"}.get(language, " price") if priced else ""


def topic_word(sentence: str, language: str) -> str:
    """Of questions whose own words stand in no handbook ("how much is it", "where are you"): the word that does."""
    return place_word(sentence, language) or price_word(sentence, language)


def place_word(sentence: str, language: str) -> str:
    return {"pt": " morada", "es": " dirección"}.get(language, " address") if asks_where(sentence) else ""
