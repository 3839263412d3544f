"""Who asks for a person and who is angry, heard by kinds of words that stand together in a sentence: a wish, a way to
reach somebody, and somebody who works there; or somebody here, and what is held against them. The patterns of wanting.py
know turns of phrase; these know none, and so hear those that nobody wrote down.
"""

import re
from functools import lru_cache

from waterline.agents.slots.base import distance_is_one

_SENTENCE = re.compile(r"[^.!?;\n]+[.!?;]*")


def _class(*texts: str) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(" ".join(texts).split()).replace("_", " ") + r")(?!\w)")


# --- how people shorten words ------------------------------------------------------------------------------------------

_SHORT = {
    "u": "you", "ur": "your", "r": "are", "smbdy": "somebody", "sb": "somebody", "sby": "somebody", "smone": "someone", "sum1": "someone",
    "some1": "someone", "any1": "anyone", "ppl": "people", "plz": "please", "pls": "please", "msg": "message", "msgs": "messages",
    "cm": "com", "c": "com", "q": "que", "ke": "que", "k": "que", "vc": "voce", "vcs": "voces", "n": "nao", "ñ": "nao", "ñao": "nao",
    "tb": "tambem", "tbm": "tambem", "pq": "porque", "td": "tudo", "tds": "todos", "dps": "depois", "ngm": "ninguem", "alg": "alguem",
    "pf": "por favor", "pfv": "por favor", "pff": "por favor", "porfa": "por favor", "xfa": "por favor", "xq": "porque", "uds": "ustedes", "ud": "usted",
    "cn": "con", "wont": "won't", "dont": "don't", "cant": "can't", "didnt": "didn't", "doesnt": "doesn't", "id": "i'd", "im": "i'm",
    "youre": "you're", "whos": "who's", "isnt": "isn't", "couldnt": "couldn't", "ive": "i've",
}  # fmt: skip

# --- a person ------------------------------------------------------------------------------------------------------------

_THEM = _class(
    r"human(?:o|a|os|as|s)? person someone somebody some_one anyone anybody people whoever (?:one|member|some|any|all)_of_(?:you|your|the_(?:team|staff)) staff colleagues? team",
    r"teachers? head_?teacher headmaster headmistress princip(?:al|le)s? director(?:a|es)? manager boss supervisor secretary receptionist reception registrar bursar",
    r"(?:finance|admissions?|enrol?ment|accounts?|your)_(?:dept|department|office|team|people) dept department departamento admissions? front_desk in_charge head_of_\w+ mrs?_\w+ miss_\w+ ms_\w+",
    r"agents? operators? representative advis[eo]r counsel+or asesora? asesores agente",
    r"pessoas? alguem gente equip[ae] funcionari[oa]s? coleg[oa]s? atendentes? secretaria secretari[oa] coordena(?:dora?|cao) diretora? direcao responsavel gerente chefe",
    r"professora?(?:s|es)? educadora? financeiro recepcao voces alguma?_pessoa quem_(?:trata|cuida|decide|manda|trabalha)\w* ser_vivo",
    r"folks nurse doctor(?:a|es)? enfermeir[oa] enfermer[oa] (?:dra?|sra?|dona|senhora|senora|profe)_\w+ area_de_\w+ somebody_qualified alguien_que alguem_que",
    r"lady faculty counsel+or psychologist psicolog[oa] tutora? orientadora? educator principal's_office head admissions_\w+ superiors? higher_up dean registry reception_desk humano_\w+ adult[oa]? um_de_voces uno_de_ustedes alguno_de_ustedes one_of_(?:you|your)",
    r"persona alguien maestr[oa] profesora? secretari[oa] coordinadora? direccion encargad[oa] responsable jef[ea] inscripciones admisiones recepcion ustedes",
    r"quien_(?:lleve|lleva|decide|manda|este|se_encargue|corresponda) ejecutiv[oa] representante",
)
_REACH = _class(
    r"speak(?:ing)? speek talk(?:ing)? chat(?:ting)? word call(?:s|back|ing)? phone ring ringing bell contact(?:ed)? touch emails? mails? messages? text write reach explain",
    r"discuss deal transfer(?:red)? pass connect(?:ed)? answer reply respond help assist look_(?:into|at) handle sort solve face_to_face meet(?:ing)? in_person drop_me",
    r"fal[ae]r? falem falasse conversar conversa palavr(?:as?|inhas?) lig(?:a|ar|ue|uem|asse|assem|arem|adinha|acao|uei-me)_? ligar chamad[ao]s? chamar telefon(?:ar|ema|e|em)",
    r"contac?t(?:o|ar|e|em|ad[oa]s?|asse|a) respond(?:a|am|er|esse|erem) atend(?:a|am|er|id[oa]|e|esse|imento) ajud(?:a|e|em|ar) tratar trato esclarecer(?:em)? resolv(?:o|er|am|e) mensagem escrev(?:a|am|er)",
    r"let_\w+_(?:\w+_)?know loop_in involve explique(?:m|n)? comunicac\w+ receb(?:er|a|am) recib(?:ir|a|an) revis(?:e|en|ar|ao) atend(?:a|e)r_me minutos? minute line_to",
    r"conversation conversations conversacion line back escalate_? clarify reply replies get_back got_back come_back discut\w+ explic\w+ encaminh\w+ toque vista escal\w+ reun\w+ atiendan comunico hablemos falarmos talk_to_me",
    r"passa(?:r)? passem transfer(?:e|ir|em|indo) assumir reuniao",
    r"hablar(?:l[oa])? hablo platicar conversar charlar llam(?:e|en|ar|arme|ada|ara|aran|enme) marqu?(?:e|en|ar|arle) contact(?:o|ar|e|en|arme) comunic\w+ escrib(?:a|an|ir|irme) contest(?:e|en|ar)",
    r"respond(?:a|an|er|erme) atiend(?:a|an|en|e) atender(?:me)? atendid[oa] ayud(?:a|e|en|ar|arme) trat(?:ar|arlo|arla) resolver(?:lo)? verl[oa]_(?:\w+_)?con pasen?me paseme pasame pongame mensaje reunirme reunion",
)
_WISH = _class(
    r"possible possivel posible por_favor solicito pido pedimos peco peca please",
    r"i we me us my our i've i'll eu comigo connosco conosco meu minha nos-me_? yo conmigo mi mis nosotros nos would_(?:a|an|the|any|one|some)_\w+ could_\w+ quero preciso posso qro kiero qiero",
    r"i'd i_(?:want|need|would|wish|must|prefer|have_to|only|insist|think_it'?s_better|demand|can_actually|could_ask|can_ask) (?:i'm|i_am)_(?:asking|looking|waiting)_for we_(?:want|need|would|prefer)",
    r"(?:can|could|may|might|should)_(?:i|we|you|they|someone|somebody|anyone|anybody|your|the|a|an|whoever) can_someone please kindly let_me get_me give_me put_me let_us ask is_(?:it_possible|there_(?:a|any)_(?:way|person|human))",
    r"any_chance want need prefer better_if have_the best_person_for_me who_can_i what'?s_the_number not_you",
    r"quero queria queriamos gostav?a(?:ria|mos)? gostaria(?:mos)? preciso precisava precisamos prefiro preferia preferimos desejo exijo pod(?:e|em|ia|iam|eria|eriam|es)(?:-me)? posso podemos da_(?:pra|para) dava_para",
    r"tem_como sera_que aguardo fico_a_espera espero_que (?:pede|peca|pecam|diz|diga|digam|manda|mande|mandem) so_(?:falo|resolvo|trato|quero) ha_(?:maneira|forma) me_(?:poe|ponha|passa|passe|liga|ligue|transfere) que_me",
    r"quiero quisiera queria necesito nesesito ocupo prefiero deseo exijo pued(?:e|en|es|o) podria[ns]? podrian me_urge urge dej(?:e|a)me agradeceria hay_(?:forma|manera) mejor_(?:lo|la|hablo|que) d[ie]g(?:a|ale|anle) pid(?:a|an)(?:le|les)? que_(?:me|alguien|una_persona)",
    r"pas(?:e|a|en)me ponga(?:n)?me comuni(?:que|ca|quen)me (?:a|con)_(?:quien|que_persona)",
)
# Whose doing or whose company it is: then nobody here is asked for.
_FAMILY = (
    r"(?:my|our|his|her|their|o_meu|a_minha|meu|minha|os_meus|nosso|nossa|mi|mis|nuestr[oa])_(?:\w+_)?(?:son|daughter|kids?|child(?:ren)?|boy|girl|husband|wife|partner|mother|father|mum|mom|dad|nanny|boss|family|friends?"
    r"|filh[oa]s?|marido|mulher|esposa|mae|pai|avos?|patrao|chefe|patroa|familia|hij[oa]s?|mujer|madre|padre|abuel[oa]s?|jef[ea]|marido|suegra)"
).replace("_", " ")
_OTHERS = re.compile(
    rf"\b{_FAMILY} (?:will|would|can|could|is|was|has|wants?|hates?|talks?|speaks?|vai|pode|quer|fala|ficou|diz|va|puede|quiere|habla|dice|les|lhes|vos|se|estava)\b"
    rf"|\b(?:to|with|com|con|ao|a) {_FAMILY}\b|\b(?:if|when|can|could|will|does|would|may|how do|what do) (?:she|he|they|my|our|children|kids|the children|the kids|parents|grandparents|families|pupils|students|teachers?)\b"
    r"|^\W*(?:ok |and |but |e |mas |y |pero )?(?:he|she|they|ele|ela|eles|elas|el|ella) (?!(?:should|must|has to) (?:call|write|phone|ring))\w+|\b(?:quero|gostava|gostaria|quiero|want) (?:que )?(?:ela|ele|el nino|la nina|her|him|she|he)\b|\bquiero que (?:aprenda|hable|juegue|sepa)\b"
    r"|\b(?:to|aos?|com os?|a los|con los|con otros|with the|with other) (?:parents|pais|padres|children|kids|criancas|avos|abuelos|ninos|each other)\b|\beach other\b"
    r"|\b(?:know|knew|saber|wonder\w*|whether|perguntar|preguntar|curious) (?:if|whether|se|si|how|que|what|quant[oa]s?|cuant[oa]s?|a que|when)\b|\b(?:speaks?|talks?|fal\w+|habl\w+|know) (?:\w+ )?(?:english|spanish|portuguese|french|german|ingles|espanhol|portugues|frances|espanol|aleman|alemao|idiomas?|languages?)\b"
    r"|\b(?:levar|bring|llevar|ir con|come with|ir com) (?:\w+ ){0,2}(?:alguem|someone|somebody|person|persona|pessoa|alguien)\b|\b(?:pick|picks|collect|collects|bus(?:car|ca)|recog\w+|drop)\b|\b(?:call|calls|phone|liga|ligam|llaman?|email) (?:the )?(?:parents|aos pais|a los padres|os pais)\b"
    r"|\bbefore (?:visiting|coming|going)|antes de (?:ir|visitar|vir)|\bcan call (?:me|her|him) \w+$|\b(?:the|a|la) (?:contact|contacto|pessoa de contacto|persona de contacto)\b|\b(?:i work|trabalho|trabajo) (?:in|em|no|na|en|as|como)\b"
)
_CALL_ME = re.compile(
    r"\b(?:like|want|need|prefer|get|have|appreciate|expect\w*|request\w*|arrange|schedule|book|quero|queria|prefiro|preciso|gostava|gostaria|agradecia|agradeco|aguardo|agendar|marcar|espero|quiero|quisiera|prefiero|necesito|agradeceria|agradezco|deseo|solicito|agendar|dar|dava|dao|dam)"
    r" (?:(?:de|a|an|me|um|uma|una|un|la|vossa|su|quick|short|phone|telephone|el|que|uns|give|us) ){0,4}(?:call ?back|phone call|telephone call|call\b(?! it)|ligacao|ligadinha|chamada|telefonema|llamada|llamadita)"
)
_CONTACTED = re.compile(
    r"\b(?:put|be|get) (?:me )?(?:put )?in touch with|\b(?:ser|sea|seja|fosse) (?:contact|atendid|ligad|llamad|contat)\w+|\b(?:alguem|alguien|someone|somebody|anybody|anyone) (?:\w+ ){0,6}?(?:me|nos|us|comigo|conmigo) (?:\w+ ){0,3}?(?:marque|lig\w+|llam\w+|respond\w+|escrev\w+|escrib\w+|contact\w+|contat\w+|chamar|ajud\w+|ayud\w+|atend\w+|atiend\w+|dar uma)"
    r"|\b(?:pedir?|peca|pecam|pede|pedem|diga|digale|digan(?:le)?|pidale|ask|tell|have|get) (?:\w+ ){0,5}?(?:que|to|para|email|call|phone|contact|write|ring) ?(?:me|us|nos)? ?(?:escriba|escrev\w+|responda|respond\w+|call|mand\w+|llame|ligue|ligar|phone|contact|email|ring|me\b|us\b)"
)
_MACHINE = r"(?:chat ?bots?|bots?|robots?|robos?|machines?|software|ai|ia|maquinas?|contestadora?s?|automatic\w*|automated|automatizad\w*)"
_NO_MACHINE = re.compile(
    rf"\b(?:not?|stop|instead of|rather than|too|enough|without|hate|don'?t|never|nothing but|nao|sem|chega|odeio|cansei|fart[oa]|em vez|sin|basta|hart[oa]|en vez|dejen|tanto|tantos|en lugar) (?:\w+ ){{0,5}}?{_MACHINE}\b(?! (?:class|club|lesson|toys?))"
)
# A human is named by who wants one; the human body is not.
_HUMAN = re.compile(
    r"(?<!corpo )(?<!cuerpo )(?<!valores )(?<!direitos )(?<!derechos )(?<!ciencias )(?<!recursos )(?<!calor )(?<!desenvolvimento )(?<!desarrollo )(?<!lado )(?<!the )\bhuman(?:s|o|os|oid)?\b(?![- ]?(?:sized|like|body|biology|rights|science|sciences|geography|values|development|history|kind))|\b(?:real|actual|live) (?:person|people|human|staff|operator|agent|folks)\b|\bcarne [ey] (?:osso|hueso)\b"
)
_GIVE = r"\b(?:give|get|find|fetch|bring|put|hand|pass|send|arranj\w+|consegu\w+|cham(?:a|e|em)|traz|traigan|consigan|den|busquen) (?:me |us |on |ai |la |a |al )?(?:\w+ ){0,2}?"
_FOR_ME = re.compile(
    r"\b(?:para|que|p) (?:me|nos) (?:possam |puedan |poderem )?(?:lig|llam|contact|telefon|atiend|atend|marqu|escrib|escrev|respond|devolv|expli|ajud|ayud)\w*(?<!eu)(?<!ou)(?<!io)(?<!iu)(?<!eram)(?<!aram)(?<!aron)(?<!ieron)(?<!ava)(?<!aba)\b|\b(?:some|any)(?:one|body) (?:\w+ ){0,4}?(?:back to|with|for) (?:me|us)\b|\b(?:wait|hold|esper\w+|aguard\w+) (?:for |por )?(?:an? |um |uma |un |una |the )?(?:human|person|agent|someone|somebody|pessoa|atendente|persona|asesora?|alguien|alguem)\b"
)
_SPEAK_TO = re.compile(
    r"\b(?:i|we|i'd|can i|quero|queria|posso|gostaria|gostava|preciso|prefiro|quiero|quisiera|puedo|necesito|prefiero|possivel|possible|posible|pode|puede)\b.*?\b(?:speak|talk|spoken|chat|fal\w+|convers\w+|habl\w+|platic\w+|charl\w+) (?:\w+ ){0,4}?(?:to|with|com|con) (?:directly )?(?:the school|la escuela|el colegio|a escola|them|her|him|you directly|eles|elas|ellos|ellas|um de|uno de)\b"
)
_PASS_ON = re.compile(
    r"\b(?:transfer\w*|transfir\w*|conect\w*|connect|encaminh\w*|deriv\w*|redirec\w*|escalate)[ -](?:me|nos|us)\b(?! (?:the )?(?:money|dinheiro|dinero))|\b(?:me|nos) (?:\w+ )?(?:transfer\w+|transfir\w+|conect\w+|comuniqu\w+|deriv\w+|encaminh\w+)\b|\bdevolv\w+ (?:\w+ ){0,2}(?:llamada|chamada|ligacao)|\breturn my call\b|\bque se (?:ponga|venga|pongan)\b"
    r"|\b(?:preciso de|necesito|quiero|quero|need|want|prefiro|prefiero) (?:to have )?(?:an? |uma? |una? )?(?:persona|pessoa|person|human\w*|asesora?|atendente|agente?|adult[oa]?)\b(?! (?:que (?:o|a|lo|la|fique|cuide)|who|to (?:pick|watch)|para (?:ficar|cuidar|buscar)))"
)
_GIVE_ME = re.compile(
    _GIVE
    + r"(?=(?:the |an? |your |some |o |a |um |uma |el |la |un |una )?(?:some|any|human|reception|staff|manager|secret|director|alguem|alguien|atendente|asesor|responsable|responsavel))(?:the |an? |your |some |o |a |um |uma |el |la |un |una )?"
)
_ALONE = re.compile(
    r"^\W*(?:(?:just|only|quero|quiero|so|solo) )?(?:un|una|um|uma|a|an|algun|algum)? ?(?:asesora?|atendentes?|agentes?|humano|human|person|pessoa|persona|operadora?|operator|rep)(?: (?:por favor|please|ya|ja|now))*\W*$"
)


def wants_person(folded: str) -> bool:
    return any(_wants(sentence) for sentence in _sentences(folded))


def _wants(said: str) -> bool:
    if _ALONE.search(said):
        return True
    if _OTHERS.search(said):
        return False
    if any(frame.search(said) for frame in (_CALL_ME, _CONTACTED, _NO_MACHINE, _HUMAN, _FOR_ME, _SPEAK_TO, _PASS_ON)):
        return True
    if (given := _GIVE_ME.search(said)) is not None and _THEM.match(said, given.end()):
        return True
    return bool(_THEM.search(said) and _REACH.search(said) and _WISH.search(said))


# --- anger ---------------------------------------------------------------------------------------------------------------

_BAD = (
    r"(?:terrible|awful|horrible|horrid|dreadful|appalling|disgusting|disgraceful|shameful|shocking|absurd|rude\w*|careless|disrespectful|disorgani[sz]ed|unbelievable|unreal|insane|insulting|pathetic|useless|hopeless|incompetent|unprofessional|ridiculous|stupid|lousy|dishonest|arrogant|clueless|worst"
    r"|horrivel|horriveis|horroros[oa]s?|terrivel|terriveis|vergonhos[oa]s?|miseravel|ridicul[oa]s?|inutil|inuteis|incompetentes?|desorganizad[oa]s?|mal[- ]?educad[oa]s?|malcriad[oa]s?|arrogantes?|aldraboes|mentiros[oa]s?|grosseir[oa]s?|desonest[oa]s?|pessim[oa]s?|nojent[oa]s?"
    r"|desastros[oa]s?|pesim[oa]s?|fatal|maleducad[oa]s?|groser[oa]s?|irrespetuos[oa]s?|lamentables?|vergonzos[oa]s?|sinverguenzas?|impresentables?|informales|caradura|asqueros[oa]s?|malisim[oa]s?|nefast[oa]s?)"
)
_US = r"(?:you(?:'?re)?|you (?:guys|people|all)|(?:your|this|the) (?:\w+ )?(?:school|staff|office|team|service|people|bot|secretary|system|organi[sz]ation|communication|customer service|nursery)|this|it|voces|voce|a vossa \w+|essa escola|esta escola|este colegio|a escola|ustedes|su (?:escuela|colegio|servicio|personal|oficina)|la (?:escuela|atencion)|el (?:colegio|servicio|trato)|esto|isto|isso|son|sao)"
# Words that nobody calm has for us.
_OUTRAGE = (
    r"(?:(?:a|an|absolute|total|complete|um|uma|un|una|verdadeir[oa]|autentic[oa]|es|e|such an?|real) (?:nightmare|pesadelo|pesadilla|scandal|escandalo|robbery|theft|roubo|rip-?off|abuso|outrage|ultraje|insult[oa]?|travesty|fraude?|desgraca|descaso|desprezo|desprecio|negligencia|bandalheira|vergonh\w+|chiste de (?:colegio|escuela)|atropello|aldrabice|barbaridad|barbaridade|desgracia)(?! (?:de|of|about|when|de noite)\b)|es un robo|this is theft|shameful|be ashamed|you(?:'re| are)? (?:all )?(?:liars|thieves|crooks|amateurs)"
    r"|atrocious|abysmal|deplora\w+|lamentave(?:l|is)|revoltante|insultante|indecente|infame|insuportave(?:l|is)|insoportables?|intoleravel|intolerable|outrag\w+|vergonzos\w+|bochornos\w+|descaso|nobody takes responsibility|nadie se hace responsable|ninguem se responsabiliza)"
)
_HELD = re.compile(
    # what you are
    rf"\b{_US} (?:(?:are|is|was|were|sao|e|foi|esta|estao|son|es|fue|un|una|um|uma|uns|unos|unas|so|such|really|very|just|absolutely|totally|completely|muito|mesmo|todos|muy|unos|a|an|de) ){{1,4}}{_BAD}\b(?! (?:for|at|with|traffic|weather))"
    rf"|\b(?:your|su|sus|vossa|vosso|vossas|vossos|a vossa|o vosso|a sua|o seu|las?|los) \w+ (?:are|is|was|were|has been|e|foi|esta|estao|son|es|fue|fueron|foram|sao) (?:\w+ ){{0,2}}?{_BAD}\b"
    rf"|\b{_OUTRAGE}"
    rf"|\b(?:feel|feeling|felt|sinto-me|sinto|me sinto|sentimo-nos|siento|sentimos|sinto me) (?:(?:so|very|really|completely|totally|muy|muito|tao|tan|completamente|totalmente|bem|mesmo|um pouco|quite) )?(?:ignor\w+|insult\w+|cheat\w+|disrespect\w+|abandon\w+|let down|mistreat\w+|despis\w+|desprez\w+|despreci\w+|humil\w+|engan\w+|lied|betray\w+|used|ofendid\w+|trai\w+|maltrat\w+|desrespeit\w+|irrespet\w+|robbed|roubad\w+|robad\w+|gozad\w+|burlad\w+)"
    r"|\b(?:you|they|this (?:chat|bot|thing)|it|your (?:school|office|staff)) (?:(?:just|simply|still|all|guys|always|keep) )*(?:never (?:\w+ )?(?:answer|repl|call|help|work|listen|respond|read|keep|show|learn)\w*|ignor\w+|don'?t (?:even )?(?:answer|reply|read|listen|care|respond|bother)|won'?t (?:even )?(?:answer|reply|listen|help)|can'?t (?:even )?(?:answer|read|do|be bothered)|couldn'?t be bothered)"
    r"|\b(?:nunca|jamas|jamais|nem|ni|nao se|no se|nem sequer|ni siquiera) (?:se |me |nos |lhes |les )?(?:cumpl|respond|contest|atend|atiend|resolv|resuelv|ajud|ayud|escut|escuch|dign|aparec|avis|import|leem|leen|devolv|devuelv)\w*(?:m|n)\b"
    r"|\b(?:are you|estao|estan|you|estais) (?:all )?(?:asleep|deaf|blind|kidding|joking|dormid\w+|a dormir|durmiendo|surd\w+|sord\w+|cieg\w+|ceg\w+)\b|^\W*(?:y |e |and )?(?:can'?t you|don'?t you know how to|no saben|nao sabem|nao sabe|no sabe) (?:read|ler|leer|contar|escuchar|ouvir|trabajar|trabalhar)\W*$"
    r"|\b(?:what(?:'s| is) the (?:point|use)|de que (?:serve|sirve)|para que (?:serve|sirve) (?:este|esse|esto|isto|o|el) (?:chat|bot|numero|servico|servicio|telefone|telefono))\b|\b(?:again|de novo|outra vez|otra vez|de nuevo)\b.{0,6}\b(?:mesm[ao]|mism[ao]|same)\b|\bstop (?:wasting|sending|asking|ignoring|repeating|pretending)\b|\b(?:no|not a|zero|sem|sin|nenhuma|ninguna) (?:reply|answer|response|resposta|respuesta) (?:again|yet again|outra vez|otra vez)\b"
    r"|\b(?:third|fourth|fifth|sixth|\d+(?:th|rd)|tercera|cuarta|quinta|terceira|quarta) (?:time|vez) (?:that |que |ya |ja )?(?:i'?m|i am|i'?ve|we|escrevo|escribo|pido|peco|ligo|llamo|pergunto|pregunto)\b|\b(?:want|give|demand|devolv\w+|devuelv\w+|quero|quiero|exijo) (?:\w+ ){0,3}?(?:money|deposit|payment|fee|dinheiro|sinal|dinero|pago|deposito)(?: back\b|\b(?! (?:para|to|for|de)))(?<!want a deposit)"
    r"|\b(?:dejan|dejaron|deixam|deixaram|leave|left|deja) (?:me |us |a uno )?(?:\w+ )?(?:colgad\w+|plantad\w+|pendurad\w+|hanging|waiting|stranded|a espera|esperando)|\b(?:up to here|pelos cabelos|ate aos cabelos|ate ao pescoco|hasta (?:la coronilla|las narices|el gorro|la madre|los huevos|aqui de)|de (?:quinta|segunda|tercera|terceira) categoria|third[- ]rate|de pacotilla|end of my (?:rope|tether)|last straw|ultima gota|gota d'?agua|rasguen las vestiduras)\b"
    rf"|\b(?:what an?|how|such an?|que|vaya|menuda?|tremend[oa]|tanta|q) (?:\w+ )?{_BAD}\b(?! (?:weather|days?|week\w*|night|morning|traffic|cold|tempo|dia|semana|noite|trafico|transito|manhana))|\bque (?:gente|escola|atendimento|servico|organizacao|escuela|colegio|atencion|servicio|trato|personal|gentuza) (?:(?:mais|mas|tan|tao|muy|muito) )?{_BAD}"
    rf"|\b(?:absolut\w+|total\w*|complete\w*|simply|utter\w*|frankly|honestly) (?:\w+ )?{_BAD} (?:behavio\w+|service|treatment|experience|communication|attitude|staff|school|people)|\bworst (?:\w+ ){{0,3}}ever\b"
    r"|\b(?:vaya|menudo|que|what a|un|son un|sois un|sao um|total|complete) (?:total |autentic[oa] |verdadeir[oa] |absolute )?(?:desastre|disaster|farsa|farce|circo|circus|palhacada|vergonha|verguenza|asco|nojo|shambles|mess|joke|burla|grosseria|groseria|desfachatez|lata)\b(?! (?:de casa|with))|\b(?:joke|shambles|mess) of an? (?:school|service|place)"
    r"|\b(?:falta|poca|pouca|nula|zero|no|cero|tanta falta) (?:de )?(?:respe[ic]to|seriedad\w*|consideracao|consideracion|profissionalismo|profesionali\w+|educacao|educacion|vergonha|verguenza|organizacao|organizacion|decency|respect|decencia|tacto)\b|\b(?:desrespeito|despeito|grosseria|groseria|increible la \w+|que raio|que mal trato|mal trato|trato (?:tan )?(?:malo|pesimo))\b"
    r"|\b(?:have|has|had|with|got) (?:absolutely )?(?:no|zero|little) (?:respect|decency|manners|shame|consideration|interest)|\b(?:could|do|does)(?:n'?t| not) (?:care less|give a \w+|even care)|\bso quer\w+ (?:e )?(?:o )?(?:nosso )?dinheiro|\bsolo (?:quieren|les importa) (?:el )?(?:dinero|la plata)|\bonly (?:want|care about) (?:our |the |my )?money"
    r"|\b(?:your|vossa|vosso|a vossa|o vosso|su|tu|this) \w+ (?:stinks?|sucks?|da asco|mete nojo|e uma (?:piada|vergonha)|es una (?:burla|broma))|\b(?:you|voces|ustedes|this|isto|esto) (?:are|sao|son|is|e|es) (?:an? |uma |una )?(?:piada|joke|broma|burla|vergonha|verguenza|gozo)\b|\b(?:a|an|absolute|total) shambles\b"
    r"|\b(?:always|sempre|siempre|only|more|mais|mas|nothing but|so|solo) (?:com |con |the same |as mesmas |las mismas )?(?:excuses|desculpas|excusas)\b(?! (?:for|por|de falta))|\b(?:not good enough|(?:expected|deserve) (?:\w+ )?better|esperava (?:muito )?mais de (?:voces|uma)|esperaba (?:mucho )?mas de)\b|\b(?:that'?s|isso e|isto e|eso es|esto es|it'?s) (?:a |uma |una )?(?:lying|lie|lies|mentira|mentiras|enganoso|disrespect\w*)\b"
    r"|\b(?:should|deviam|deveria\w*|deberia\w*) (?:all |todos )?(?:be |ser |estar |de )?(?:fired|sacked|ashamed|despedid\w+|closed|shut down|cerrar|fechar|ter vergonha|tener verguenza)|\b(?:lost|lose|losing|perder|perderam|perdieron|perdido) (?:a|an|um|uma|un|una|another|outro|outra|otro|otra|this|mais um|mais uma) (?:\w+ )?(?:family|customer|client\w*|familia|alun[oa]|alumn[oa]|parent)\b"
    r"|\b(?:nao|no) (?:querem?|quieren?) saber(?= (?:de nada|de nos|de nosotros|nada)|\W*$)|\bnunca m[ai]i?s (?:quero|quiero|vou|voy|\w+o)\b|\b(?:van|sao|vao) (?:ya |ja )?(?:\w+ )?(?:veces|vezes) que\b"
    # how I was treated
    r"|\b(?:fui|fomos|fuimos|soy|sou|he sido|i was|we were|i have been|i've been|we've been) (?:(?:so|super|muy|muito|tao|tan|very|bem|really|extremely|just|completely) )?(?:mal |bad(?:ly)? |poorly |rudely )?(?:atendid\w+|tratad\w+|treated|ignored|ignorad\w+|lied to|insulted|insultad\w+|enganad\w+|humilhad\w+|humillad\w+|mistreated|maltratad\w+|recebid\w+ (?:pessim|mal)\w*)(?<! ser tratada)(?= (?:so|very|like|badly|for|by|ha|desde|por|com|con|de|en|aqui|ai|mal|fatal)\b|\W*$|$)"
    r"|\b(?:fizeram|viram|tomam|toman|tomaron|tomaram|vieron|hicieron|ven)(?:-me|-nos)? (?:me |nos |la |a )*(?:de |cara de |por )(?:parv\w+|tont\w+|idiota\w*|burr\w+|estupid\w+|otari\w+|palhac\w+|payas\w+|bob[oa]\w*)|\b(?:the way|a forma como|a maneira como|la forma en que|la manera en que|como) (?:\w+ ){1,4}?(?:spoke|treated|talked|falou|falaram|tratou|trataram|hablo|hablaron|trato|trataron) (?:\w+ )*?(?:was|is|foi|fue|es|e|with|com|con|to me)\b"
    r"|\b(?:i|we) (?:really |deeply )?regret (?:ever |having |choosing |contacting |coming|trusting)|\b(?:arrependo-me|me arrependo|arrepiento) (?:de|por|ter)\b|\b(?:patience|paciencia) (?:is gone|is over|has (?:run out|limits|its limits)|tem limites?|tiene (?:un )?limites?|esgotou|acabou|ya se)|\b(?:acab\w+|esgot\w+|agot\w+|out of) (?:-se |se |-se-me |me )?(?:a |la |my |toda la )?(?:paciencia|patience)"
    r"|\b(?:sick|tired|fed up|cansad[oa]|fart[oa]|hart[oa]|cans\w+) (?:and tired )?(?:of|de|with|com) (?:all )?(?:these|your|this|those|tant[oa]s?|estes|estas|estos|voss[oa]s?|sus|tus|robots?|bots?)\b|\b(?:otra vez|outra vez|again|de novo|de nuevo|sempre|siempre)\b.{0,10}\b(?:error|erros?|errores|mistakes?|equivoca\w+)\b|\b(?:exijo|exigimos|demand|exige-se) (?:an? |uma? |una? |ya )*(?:explanation|explica\w+|apology|apologies|desculpas?|disculpas?|refund|solucion|solucao|respuesta|resposta)\b|\bhow hard (?:can|could) it be\b|\bnao (?:se )?aguento\b|\bno aguanto\b"
    r"|\b(?:treat(?:ed|s|ing)?|tratad[oa]s?|trata(?:m|ram|n|ron)(?:-n?[mo]s|-me)?|tratan) (?:me |us |people |parents |families |customers |a (?:la gente|los padres|las familias|uno) |as pessoas |a family |nos )?(?:(?:so|como|like|tan|muy|this|assim|de|asi|que|tao|mal) ?){1,2}(?:rude\w*|bad\w*|poor\w*|badly|lixo|basura|dirt|rubbish|mal|fatal|trash|nothing|animals|animais|perros|\W|$)|\b(?:trataron|trataram|tratan|tratam) (?:\w+ )?(?:fatal|mal|pessimamente|pesimo)|\bway to treat\b|\bhow you treat\b|\bcomo tratan\b|\bcomo tratam\b"
    r"|\bhow dare you\b|\bhung up on\b|\bdeslig(?:aram|ou)(?:-me)? (?:-me )?(?:o telefone|na cara|a chamada)|\b(?:me|nos) colgaron\b|\b(?:rieron|burlaron|riram|gozaram|laughed) (?:de|at|com|-se) (?:nosotros|mi|mim|nos|us|me)|\b(?:lied|mentiram|mintieron|enganaram|enganaron|cheated) (?:to )?(?:me|us|nos)?|\bgozar com (?:as pessoas|a gente|quem|os pais|comigo)"
    r"|\b(?:por (?:vossa|sua|su) culpa|your fault|culpa (?:vossa|de voces|suya|de ustedes))\b|\b(?:hicieron|fizeram|fez|hizo|made)(?:-me|-nos)? (?:me |us |nos )?(?:perder|waste|lose)|\bwasted (?:my|our|an? |the )"
    # what I feel, and what I will do
    r"|\b(?:i'?m|i am|we'?re|we are|i feel|estoy|estou|tou|to|fiquei|quede|me siento|nos sentimos|sinto-me|me sinto|me tienen|me deixa\w*) (?:(?:so|really|very|just|beyond|absolutely|quite|extremely|muito|mesmo|bem|super|muy|tan|mas que|completamente|totalmente|right now|more than) ){0,3}"
    r"(?:angry|furious|fuming|livid|upset(?! stomach)|frustrat\w+|disgusted|outraged|appalled|annoyed|enojad\w+|enfadad\w+|indignad\w+|cabread\w+|furios\w+|decepcionad\w+|enganad\w+|hart[oa]\w*|molest\w+|zangad\w+|chatead\w+|irritad\w+|revoltad\w+|passad[oa] com|lixad[oa] com|desiludid\w+|desapontad\w+|possess[oa]|humilhad\w+|humillad\w+)(?! (?:about|with|by|at|com|con|por|pelo) (?:the )?(?:traffic|weather|my|meu|minha|o meu|a minha|mi|myself|work|trabalho))"
    r"|\b(?:absolutely )?fuming\b|\bdriv(?:ing|es?) (?:me|us) (?:\w+ )?(?:crazy|mad|insane|nuts|up the wall)|\b(?:done|finished|through) with (?:you|this (?:school|bot|place)|all this|your)\b|\b(?:last|ultima) (?:time|vez) (?:that |que )?(?:i|we|lhes|vos|les|me)\b"
    r"|\b(?:no|nunca|nao|jamais|never) (?:mas |mais |again )?(?:vuelvo|volvere|volvemos|volto|voltarei|voltamos|coming|going|come|write|recomiendo|recomendo|recommend) ?(?:a |back |ai |here |there |to )?|\b(?:no lo|nao (?:o|a|vos)?) ?recom[ie]?[eo]?ndo\b|\bnever (?:in my life|again|ever) |\bnunca vi\b"
    r"|\b(?:bad|terrible|awful|negative|one[- ]star|1[- ]star|honest|mala|malisima|negativa|ma|pessima) (?:review|resena|avaliacao|critica)s?\b|\b(?:resena|avaliacao|critica) (?:\w+ )?(?:mala|malisima|negativa|pessima|ma)\b|\b(?:redes sociais|redes sociales|social media|facebook|instagram|google) (?:\w+ ){0,3}(?:para|so|know|saber|sepa|everyone|toda)|\b(?:tell|warn|avisar|contar|dizer) (?:a )?(?:every|all|other|todos|toda|everyone|outros|otros)(?:body)? ?(?:\w+ )?(?:parents?|pais|padres|gente|people|families|know)?\b(?= (?:how|que|como|in town|not|what|about))|\b(?:fazer|apresentar|meter|poner|presentar|hacer|make) (?:uma |una |a )?(?:queixa|queja|denuncia|complaint)"
    # the same thing over and over; mockery
    r"|\bthanks for nothing\b|\bgracias por nada\W*$|\bobrigad[oa] por nada\b|\bcan'?t you (?:do|get) anything right|\bdo you (?:guys )?even (?:read|listen|care|check|know)|\b(?:es que )?nadie (?:lee|mira|da la cara|se digna|escucha|hace caso)|\bninguem (?:le|ve|quer saber|se digna|da (?:uma )?resposta|apareceu|aparece|faz caso)|\b(?:nobody|no ?one) (?:even |ever |there |here )*(?:reads?|opened|showed|bothers?|bothered|listens|has (?:the|even|ever|bothered|answered|replied|called|opened)|answers|cares)(?! in our| in my| at home)"
    r"|\b(?:same|mesm[ao]|mism[ao]) (?:\w+ )?(?:message|thing|answer|question|mensagem|coisa|resposta|pergunta|mensaje|cosa|respuesta|pregunta) (?:over|again|twice|sempre|outra|una y otra|otra|de novo|de nuevo)|\bsame (?:stupid|damn|bloody|silly|useless) \w+|\b(?:e|ja e|es|it'?s|its) (?:sempre|siempre|always) (?:a |o |la |lo |the )?(?:mesma coisa|mesmo|mismo|misma historia|same (?:thing|story|old))|\bja chega,? (?:e|estou|de|nao|voces|parem)|\buna y otra vez\b|\bover and over\b|\bya me (?:canse|harte)\b|\bni caso\b|\bnao admito\b|\bno (?:lo )?(?:tolero|aguanto|soporto)\b|\bno se puede (?:\w+ )?peor\b"
)
# A wait or a try, and in the same sentence nothing that came of it.
_TRIED = re.compile(
    r"\b(?:(?:\d+|two|three|four|five|six|seven|several|many|dois|duas|tres|quatro|cinco|seis|varias|muitas|cuatro|varios|muchos|un|um|uma|una|toda la|a week|all) (?:e-?mails?|mails|messages|calls|weeks?|days?|months?|hours?|times|mensagens|chamadas|semanas?|dias?|mes(?:es)?|horas?|vezes|mensajes|llamadas|correos|veces)"
    r"|for (?:an? |\w+ )?(?:hours?|days?|weeks?|months?)|an hour|promis\w+|promet\w+|toda (?:la )?semana|ha (?:\w+ )?(?:dias|semanas|meses)|faz (?:\w+ )?(?:dias|semanas|mes|meses))\b"
)
_NOTHING = re.compile(
    r"\b(?:nothing|not a (?:single |one )?(?:word|reply|answer|call)|no (?:reply|answer|response|news|one)|nobody|and still|again nothing|never (?:called|came|replied|answered)|without (?:a|any) (?:reply|answer)"
    r"|zero|cero|none|nada|ninguem|sem (?:qualquer )?resposta|nem (?:uma|um)|a espera|nunca (?:\w+ )?(?:ligaram|responderam|disseram)|nadie|sin (?:respuesta|avisar)|ni (?:una|un|caso)|otra vez nada|esperando|sem aviso|without telling|unbelievable|increible|inacreditavel)\b"
)
_ELSEWHERE = re.compile(  # of another school, another day, a child: no anger at us
    r"\b(?:previous|old|other|last|former|another|first) (?:school|nursery|kindergarten|one|teacher|place)\b|\b(?:na|da|a|nas) (?:outra|antiga|anterior|ultima) (?:escola|creche)|\bno outro colegio|\b(?:escola|creche|colegio|escuela|guarderia) (?:antig[oa]|anterior|velh[oa]|pasad[oa]|viej[oa])|\b(?:otr[oa]|antigu[oa]|anterior) (?:escuela|colegio|guarderia|cole|maestra)"
    r"|\b(?:his|her|su|dele|dela) (?:\w+ )?(?:old |previous )?(?:school|escuela|colegio|escola) (?:es|is|was|era|e)\b|\bdice que\b|\bdiz que\b|\b(?:my|mi|o meu|a minha|meu|minha) (?:son|daughter|boy|girl|kid|hij[oa]|filh[oa]|nin[oa]) (?:is|gets|has|was|se|e|es|esta|fica|ficou|perde|tem|pierde)\b|\b(?:when|quando|cuando|if|se|si) (?:she|he|a child|children|um nino|un nino|uma crianca|ela|ele)\b"
    r"|\b(?:what happens|what do you do|que pasa|que hacen|o que (?:acontece|fazem)|que sucede) (?:if|when|se|si|cuando|quando)\b"
    rf"|\b(?:asked|told|pedi|disse|dije|pregunte|perguntei|expliquei) (?:\w+ ){{0,6}}?{_FAMILY}\b|\bwebsite but\b|\b(?:un|uma|una|a|an|such a) (?:\w+ )?(?:semana|week|dia|day|noite|noche|night|mes|month|manha) (?:\w+ )?(?:horrible|horrivel|terrible|terrivel|pessim[oa]|pesim[oa]|de loucos|malisim[oa])|\b(?:horrible|terrible|awful) (?:week|day|night|month|weekend)"
    r"|^\W*(?:she|he|ele|ela|el|ella) \w+|\b(?:trabalho|work|traffic|transito|trafico|weather|tempo|inverno|winter|vuelo|flight|cold|tos|cough)\b"
)


_THANKS = re.compile(r"\b(?:thanks?|thank you|obrigad[oa]|gracias)\b(?! (?:for|por) nothing| (?:por|for) nada\W*$)")


def is_angry(folded: str) -> bool:
    return any(_is_angry(sentence) for sentence in _sentences(folded))


def _is_angry(said: str) -> bool:
    if _ELSEWHERE.search(said) or _THANKS.search(said):
        return False
    return bool(_HELD.search(said) or (_TRIED.search(said) and _NOTHING.search(said)))


# Told of a child, of a job, of one's own name: a turn of phrase for a wish is none there.
_TOLD = re.compile(
    r"^\W*(?:ok |and |but |e |mas |y |pero )?(?:he|she|ele|ela|ella) (?!(?:should|must|has to|needs? to|can|could|please) )\w+|\b(?:i work|trabalho|trabajo) (?:in|em|no|na|en|as|como)\b"
    r"|\b(?:llamarme|chamar-me|chamar me|call me) (?!hoy|hoje|amanha|manana|luego|depois|logo|ahora|agora|ya|ja|please|por|porfa|pls|back|now|later|today|tomorrow|cuando|quando|when|si|se|if|a|al|as|at|on|in|el|la|o|para|no|esta)[a-z]{3,}\W*$"
    r"|\b(?:a que hora|what time|que horas?|at what|until when) (?:\w+ ){0,4}(?:call|ligar|llamar|phone|talk|hablar|falar|open|abre)\b|\b(?:thanks?|obrigad[oa]|gracias),? (?:you|voce|usted|ustedes)\b"
)


def without_what_is_told(folded: str, angry: bool) -> str:
    """The sentences that may be meant for us: of another school, of a child, of one's own work none is."""
    veto = _ELSEWHERE if angry else _TOLD
    return " ".join(found.group() for found in _SENTENCE.finditer(folded) if not veto.search(found.group()))


# --- words as they are meant ----------------------------------------------------------------------------------------------

_KNOWN = frozenset(
    ["someone", "somebody", "person", "people", "speak", "contact", "teacher", "principal", "director", "manager", "please", "answer", "absolutely", "disgusting", "horrible", "terrible", "useless", "pessoa", "alguem", "falar", "contacto", "secretaria", "diretora", "professora", "persona", "alguien", "hablar", "necesito", "maestra", "directora", "encargado", "responsable", "shocking", "behaviour", "disorganised", "unbelievable", "ridiculous", "incompetent", "respeito", "respeto", "verguenza", "vergonha"]
)  # fmt: skip
_RIGHT = frozenset(["persona", "persons", "personas", "pessoas", "teachers", "diretor", "director", "directors", "answers", "falara", "hablare", "habla", "fala", "contact", "contacts", "manages", "respeita", "respeta", "speaks", "contacta"])  # fmt: skip


@lru_cache(2048)
def _sentences(folded: str) -> tuple[str, ...]:
    plain = re.sub(r"[a-zñ']+", lambda m: _meant(m.group()), folded)
    return tuple(" ".join(found.group().replace(",", " ").split()) for found in _SENTENCE.finditer(plain))


@lru_cache(4096)
def _meant(word: str) -> str:
    if (short := _SHORT.get(word)) is not None:
        return short
    if len(word) < 6 or word in _KNOWN or word in _RIGHT:
        return word
    return next((right for right in sorted(_KNOWN) if distance_is_one(word, right)), word)
