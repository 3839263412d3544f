"""What a parent says that nobody asked, and that whoever receives them should know: an allergy, who comes along, being
late. Kept word by word, for people; no model reads it and nothing follows from it."""

import re

from waterline.agents import intents as words
from waterline.agents.slots.base import fold
from waterline.agents.state import State

MOST = 5  # of a conversation; later ones push out the first
LONGEST = 200  # characters
_SENTENCE = re.compile(r"[^.!?;\n]+(?:\.(?=\w)[^.!?;\n]+)*[.!?]*")
_FAMILY = (
    r"(?:grand\w+|gran(?:ny|pa)?|husband|wife|partner|brothers?|sisters?|siblings?|baby|babies|twins?|mother|mum|mom|father|dad|aunt|uncle|nanny"
    r"|cousins?|friends?|neighbou?r|in-laws?|avos?|marido|esposa|mulher|companheir[oa]|irm[ao]s?|bebes?|gemeos|mae|pai|sogr[oa]s?|ti[oa]s?|ama|baba"
    r"|prim[oa]s?|amig[oa]s?|vizinh[oa]|abuel[oa]s?|abuelit[oa]s?|mujer|pareja|herman[oa]s?|gemel[oa]s|mellizos|madre|padre|mama|papa|suegr[oa]s?|ninera|vecin[oa])"
)
_REMARK = re.compile(
    r"\b(?:allerg\w+|alergi\w+|intoleran\w+|celiac\w*|coeliac\w*|asthma\w*|asma\w*|diabet\w+|epilep\w+|autis\w+|adhd|tdah|phda|dislexi\w+|dyslexi\w+"
    r"|wheelchair|cadeira de rodas|silla de ruedas|pushchair|stroller|(?:special|especiais|especiales) needs?|necess?idades (?:educativas )?especi\w+"
    r"|medication|medica(?:cao|cion|mentos?)|remedios?|vegetarian\w*|vegan\w*|halal|kosher|(?:hearing|visually|hard of hearing|surd[oa]|sord[oa]|deaf|blind)"
    r"|(?:with|bring(?:ing)?|com|levar|levo|trago|trazer|con|llevar|llevo|traigo|traer|viene|vienen|vem|vao|also|tambem|tambien)"
    rf" (?:\w+ ){{0,3}}?{_FAMILY}|{_FAMILY} (?:\w+ ){{0,3}}?(?:com(?:es?|ing)|join\w*|vem|vai|vao|viene|vienen|va|van|acompanh\w+|acompan\w+)(?: (?:too|also|along|with us|comigo|conosco|connosco|conmigo|con nosotros|tambem|tambien))"
    r"|(?:be|run(?:ning)?|arrive) (?:\w+ ){0,3}?late|atras(?:ad[oa]s?|ar\w*|o)|chegar\w* (?:\w+ ){0,2}?(?:mais )?tarde|lleg\w+ (?:\w+ ){0,2}?tarde|retras\w+"
    r"|(?:only |just )?speaks? only|only speaks?|(?:does ?n[o']?t|cannot|can'?t) (?:speak|hear|see|walk)|(?:so|apenas|solo|solamente) fala|nao fala|solo habla|no habla"
    r"|(?:please |just )?note that|just so (?:that )?you know|so (?:that )?you know|fyi|for your information|(?:keep|bear) in mind|heads up|just to let you know"
    r"|(?:so )?para (?:avisar|(?:vosso |sua )?(?:informacao|conhecimento)|saberem|que saibam|que sepan|su informacion)|(?:les|lhes|vos|te) avis[oa]|aviso que|tenham em (?:conta|atencao)|ten(?:gan|ga) en cuenta|tome nota)\b"
)
_ASKS = re.compile(
    r"^\W*(?:(?:and|but|e|y|mas|pero|so|then|hi|hello|ola|oi|hola|also|ja agora|por cierto|by the way)[, ]+)*"
    r"(?:do|does|did|is (?:there|it|this|the|lunch|he|she)|are (?:there|you|the|we)|can|could|may|would|will (?:you|there|it)|should|what|which|when|where|who|why|how"
    r"|tem (?!alerg|asma|uma? alerg|intoler|diabet|autis|necess)|tem?os? que|ha|existe|voces|vcs?|aceitam|oferecem|fazem|pode|podem|posso|podemos|como|quando|onde|quem|qual|quais|quanto|o que"
    r"|tienen|hay|ustedes|aceptan|ofrecen|hacen|puede|pueden|puedo|podemos|cuando|donde|quien|cual|cuanto|que)\b"
)
_OTHERWISE = {"injection", "abuse", "opt_out", "person", "anger", "cancel", "minor", "who", "not_interested"}


def remarks(text: str) -> list[str]:
    """Sentences that say such a thing, and ask for nothing."""
    return [said for said in _sentences(text) if _REMARK.search(fold(said)) and _only_says(said)]


def says_something(text: str) -> list[str]:
    """Where nothing is open any more, whatever is said and asks for nothing is a remark: all sentences of three words."""
    return [said for said in _sentences(text) if len(re.findall(r"[^\W\d_]{2,}", said)) >= 3 and _only_says(said)]


def keep(state: State, said: list[str]) -> None:
    kept = [" ".join(one.split())[:LONGEST] for one in said]
    found = state.memory.remarks
    state.memory.remarks = [*found, *(one for one in dict.fromkeys(kept) if one not in found)][-MOST:]


def _sentences(text: str) -> list[str]:
    return [one for found in _SENTENCE.finditer(text) if (one := found.group().strip())]


def _only_says(sentence: str) -> bool:
    return "?" not in sentence and not _ASKS.search(fold(sentence)) and not words.intents(sentence) & _OTHERWISE
