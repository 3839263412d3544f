"""Whether somebody asks where the place is: "where are you?", "qual o endereço?", "¿dónde queda?", "como chego aí?".

A part of a sentence asks that if it holds a word for it and, beside that, only words that ask for nothing else: "where
are you" does, "where do the children eat" and "where are you from" do not.
"""

import re

from waterline.agents.slots.base import distance_is_one, fold
from waterline.agents.slots.when_words import DAY_OF

_WHERE_WORDS = "where wheres whereabouts onde aonde ond donde adonde dnd"
_ADDRESS_WORDS = """
    address location directions endereco morada localizacao direccion ubicacion domicilio maps map mapa pin gps
"""
_STREET_WORDS = "street neighborhood neighbourhood area district rua bairro zona calle barrio colonia"
_WHICH_WORDS = "which what whats que qual cual"
_GO_WORDS = """
    get go drive reach find chego chegamos chegar chega ir vou vamos llego llegamos llegar llega
"""
# What stands around it: being and going, whom it is about, how exactly, and courtesy.
_AROUND_WORDS = """
    a about actually again ah ahi ai al alla alli am and ao are as at ate based be bom building by can cole colegio com
    come como completa completo could da dar das de decir del demos deve devo deben dia diga digame diz dizer do e el em
    en encontra encontram encuentra encuentran entao entonces era es escola escuela esta estan estao este estes exact
    exacta exactamente exactly exacto exata exatamente exato favor fica ficam for full give go gracias guys ha hasta
    have hay hello here hey hi hola i in is isso isto it la las lo localiza localizada localizado located los mais on
    manda mandar mandas mandame may me meet mesmo mi must name need nos nossa now o obrigada obrigado office oi ok ola os our pasa
    pasar pasas pass passa pfv place please pls plz podem pode podes podria podrian por porfa posso precisely preciso
    puede pueden puedes q queda quedan quero quiero r recepcao sabe saber sao school se secretaria send share should si
    sim situa situada situado situated sitio so some somos son su sua tambem tambien te tell tem tenemos tengo tenho ter
    thanks that the then there they this to town city cidade ciudad tu u ubica ubicada ubicado ubicados uds ud uh um uma
    un una ur us ustedes va vai ven visit visita voces vc vcs voce vossa vosso voy want we with would y ya you your
"""
_WHERE, _ADDRESS, _STREET, _WHICH, _GO = (
    frozenset(words.split()) for words in (_WHERE_WORDS, _ADDRESS_WORDS, _STREET_WORDS, _WHICH_WORDS, _GO_WORDS)
)
_HOW = frozenset(("how", "como"))
_AROUND = frozenset(_AROUND_WORDS.split()) | _WHICH | _HOW | DAY_OF.keys()
_PART = re.compile(r"[^.,;:!?¿¡\n()]+")
_WORD = re.compile(r"[a-z']+")
_OF_LETTERS = re.compile(r"\b(?:e ?-?mails?|correos?|mails?)\b")
_OWN = re.compile(
    r"\b(?:my|our|meu|minha|nosso|nossa|mi|nuestra|nuestro)\b.{0,12}\b(?:address|endereco|morada|direccion)"
)


def asks_where(text: str) -> bool:
    folded = fold(text)
    parts = (half for part in _PART.findall(folded) for half in part.split(" and "))
    return not _OF_LETTERS.search(folded) and any(_asks(_words(part)) for part in parts)


def own_address(sentence: str) -> bool:
    """Somebody says where they live."""
    return "?" not in sentence and bool(_OWN.search(fold(sentence)))


def _words(part: str) -> set[str]:
    return {word.replace("'s", "").strip("'") for word in _WORD.findall(part)} - {""}


def _asks(said: set[str]) -> bool:
    keys = {word for word in said if word in _WHERE or _names(word)}
    if said & _WHICH:
        keys |= said & _STREET
    if said & _HOW:
        keys |= said & _GO
    return bool(keys) and said - keys <= _AROUND


def _names(word: str) -> bool:
    """A word for an address, with at most one slip of the keyboard."""
    return word in _ADDRESS or (len(word) >= 6 and any(distance_is_one(word, known) for known in _ADDRESS))
