"""Words and phrases by which users show what they think of an answer, in English, Portuguese and Spanish. All are looked
for in folded text: lower case, no accents."""

import re

# Another thing is asked, or the user is content.
ANOTHER = re.compile(
    r"^(?:now|also|and also|yes|yeah|yep|sim|si|alright|perfect|great)\b|\b(?:how about|what about|too|another|other|else|"
    r"instead|thanks?|thank you|that sounds|tambem|tambien|outr[oa]s?|otr[oa]s?|obrigad[oa]|gracias)\b"
)

WITHOUT_PREFACE = re.compile(
    r"^(?:(?:no|nao|ok|so|and|but|sorry|please|e|y|entao|pero|mas)\s+)*"
    r"(?:let me rephrase|i mean(?:t)?|i want to know(?: about)?|quero saber|quiero saber|gostaria de saber|quisiera saber"
    r"|ou seja|o sea|quis dizer|quise decir|me refiero a)?\s*"
)

# What asks, or is said in every question, is no content of it.
ASKING = frozenset(
    [
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "why",
        "how",
        "much",
        "many",
        "long",
        "often",
        "do",
        "does",
        "did",
        "is",
        "are",
        "was",
        "can",
        "could",
        "would",
        "will",
        "shall",
        "may",
        "i",
        "want",
        "need",
        "like",
        "know",
        "tell",
        "please",
        "say",
        "whether",
        "if",
        "there",
        "have",
        "has",
        "had",
        "got",
        "it",
        "possible",
        "let",
        "me",
        "way",
        "so",
        "just",
        "also",
        "too",
        "ok",
        "que",
        "quando",
        "onde",
        "qual",
        "quais",
        "quem",
        "quanto",
        "quanta",
        "quantos",
        "quantas",
        "como",
        "porque",
        "por",
        "faco",
        "faz",
        "fazer",
        "quero",
        "queria",
        "gostaria",
        "preciso",
        "saber",
        "posso",
        "pode",
        "podem",
        "tem",
        "tens",
        "voces",
        "voce",
        "vc",
        "vcs",
        "nao",
        "ainda",
        "ja",
        "sim",
        "pra",
        "pro",
        "para",
        "favor",
        "cuando",
        "donde",
        "cual",
        "cuales",
        "quien",
        "cuanto",
        "cuanta",
        "cuantos",
        "cuantas",
        "puedo",
        "puede",
        "pueden",
        "quiero",
        "quisiera",
        "necesito",
        "tienen",
        "tiene",
        "hay",
        "hago",
        "hacer",
        "lo",
        "todavia",
        "ya",
        "si",
        "favor",
        "llega",
        "llego",
    ]
)

KNOWN = (
    "asked", "asking", "question", "answer", "answered", "answering", "understand", "meant", "wanted", "wrong",
    "perguntei", "pergunta", "resposta", "respondeu", "respondeste", "entendeu", "errada", "errado",
    "pregunte", "pregunta", "respuesta", "contestaste", "respondiste", "entendiste", "equivocada", "queria", "pedi",
)  # fmt: skip

NOT_SLIPS = frozenset(
    [
        "answers",
        "questions",
        "perguntas",
        "respostas",
        "preguntas",
        "respuestas",
        "entende",
        "entendi",
        "entendo",
        "respondi",
        "responder",
        "erradas",
        "errados",
        "pediu",
        "pede",
        "pide",
        "want",
        "wants",
        "queda",
        "pregunto",
        "pergunto",
        "pregunta",
        "pergunta",
        "task",
        "tasked",
    ]
)

START = r"^(?:(?:no|nope|nao|but|mas|pero|sorry|hey|hello|ok|well|please|that'?s not it|e|y)[\s,.!?:;-]+)*"

MISSED = re.compile(
    # English
    r"\b(?:that|this|it)(?:'?s|s| is| was)?(?: really| just)? (?:not|n't) (?:at all )?what (?:i|we) "
    r"(?:was |am |have |had )?(?:ask|want|mean|say|said|look|need|request)"
    r"|\b(?:is|was|are) ?n'?t (?:at all )?what (?:i|we) (?:was |am )?(?:ask|want|mean|say|said|look|need|request)"
    r"|\bnot what (?:i|we) (?:was |am |have |had )?(?:ask|want|mean|say|said|look|need|request)"
    r"|\b(?:i|we) (?:did ?n'?t|did not|never|was ?n'?t|was not) (?:even )?ask(?:ed|ing)? (?:that|this|about|for|you|if)"
    r"|\b(?:you|u|it|this|that|bot) (?:really |just |still )?(?:did ?n'?t|did not|have ?n'?t|never|are ?n'?t|are not|don'?t|do not|does ?n'?t)"
    r" (?:even |really )?(?:answer(?:ed|ing)?|understand|understood|read|get|getting)\b"
    r"|\byou (?:totally |completely )?(?:misunderst\w+|misread)|\b(?:wrong|incorrect) answer"
    r"|\bthat(?:'?s| is)(?: totally| completely)? (?:wrong|incorrect|not (?:right|correct|true))\b(?! for)"
    r"|\b(?:please |just )(?:answer|read) (?:what i|my question|the question|my message)|\bread (?:my|the) (?:question|message)|\banswer (?:my|the) question\b(?! is)"
    r"|\breading what i|\bnothing to do with (?:my|what i|the) (?:question|ask\w*|order)"
    rf"|{START}i (?:asked|was asking|meant) (?:about|for(?! (?:one|two|three|a|my|some|the bill))|if|when|what|where|how|whether|the|to)\b"
    # Portuguese
    r"|\bnao (?:foi|e|era) (?:bem )?(?:isso|isto|essa|esta)(?: (?:o )?(?:que|q))?(?: eu)?(?: te)? (?:pergunt|pedi|quis|quero|queria|disse|falei|procur)"
    r"|\bnao (?:foi|e|era) (?:o )?(?:que|q) (?:eu )?(?:pergunt|pedi|quis|quero|queria|disse)"
    r"|\b(?:nao|nunca) (?:te |lhe )?(?:perguntei|pedi) (?:isso|isto|nada)"
    r"|\bnao (?:me )?(?:respondeu|respondeste|responderam|entendeu|entendeste|percebeu|percebeste|leu|leste|(?:esta|ta|estas) (?:me )?(?:respond|entend)\w+)"
    r"|\bresposta (?:esta )?errada|\b(?:isso |isto )?(?:esta|ta) errad[oa]\b|\bentendeu (?:tudo )?errado"
    r"|\bnada a ver(?: com)?\b|\b(?:le|leia|responde|responda) (?:bem )?(?:a |o |as )?(?:minha|que|pergunta)"
    rf"|{START}(?:eu )?(?:perguntei|quis dizer|queria dizer)(?! (?:ao|a|pro|pra|para) (?:meu|minha))\b"
    # Spanish
    r"|\b(?:no|eso no|esto no) (?:es|era|fue)(?: eso| esto)? (?:lo )?(?:que|q|k)(?: yo)?(?: te| le| os)? (?:pregunt|ped|quer|quier|dij|busc|dec|necesit)"
    r"|\bno (?:te |le |os )?(?:pregunte|pedi) (?:eso|esto|por|nada)"
    r"|\bno (?:me )?(?:respondiste|respondio|respondes|contestaste|contesto|contestas|entendiste|entendio|entiendes|entienden"
    r"|(?:has|ha|han) (?:respondid|contestad|entendid)\w+|(?:estas|esta) (?:respond|contest|entend)\w+)"
    r"|\brespuesta (?:equivocada|incorrecta|erronea)|\b(?:eso|esto) (?:esta|es) (?:mal|incorrecto|equivocado|falso)\b"
    r"|\bte equivoc(?:as|aste)|\bnada que ver\b|\b(?:lee|lea|responde|contesta) (?:bien )?(?:a )?(?:mi|lo que|la) (?:pregunta|te)"
    rf"|{START}(?:te |le )?(?:pregunte (?:por|si|que|cuando|cuanto|donde|como)|me refiero a|quise decir|me referia)"
    r"|\bte pregunte\b"
    r"|\b(?:not|n't|nao|no) (?:was |era |es |e |my )?(?:a |o )?(?:my|minha|mi) (?:question|pergunta|pregunta)|\b(?:na|not|was ?n'?t|is ?n'?t|nao era|nao e|no era|no es) (?:a )?(?:my|minha|mi) (?:question|pergunta|pregunta)"
    r"|\b(?:answer\w*|talk\w*|tell\w*|gave|giving|show\w*|sent|sending)(?: me| about)* (?:something|sth) else|\b(?:you(?:'?re| are)?|u r|u are|voce esta|vc ta|estas?|esta) (?:getting )?(?:mixing|confus\w+|mezclando|misturando)"
    # Any of them: another thing, the point missed
    r"|\b(?:i'?m|i am|i was) (?:talking|asking) about\b|\b(?:different|another|wrong) (?:thing|question|topic|subject|product)\b(?! please)(?= ?$|[.,!])"
    r"|\bmiss(?:ed|ing) the point|\bdoes ?n'?t (?:answer|help)|\bdid ?n'?t (?:answer|help)|\b(?:answer|read) what i|\byou (?:got|have|get) (?:that|it|this|me) (?:all )?wrong"
    r"|\byou keep (?:tell|say|talk|send|giv|repeat)\w+|\b(?:totally |completely )?(?:irrelevant|unrelated|off topic)\b|\bi said\b|\bthat'?s not it\b"
    r"|\b(?:outra|otra) (?:coisa|cosa)\b|\bn (?:entendeu|respondeu)|\b(?:entendeu|entendeste|entendiste|entendio) (?:nada|mal|tudo errado|todo mal)|\bnada disso|\bnada de eso|\bnao (?:tem|era|e) nada (?:disso|a ver)"
    r"|\bme expressei mal|\bme explique mal|\bme expli[cq]\w+ mal|\b(?:estou|estava|to|tava) (?:falando|perguntando|a falar|a perguntar) (?:de|do|da|sobre)|\b(?:estoy|estaba) (?:hablando|preguntando) (?:de|del|por|sobre)"
    r"|\byo (?:decia|preguntaba|hablaba|me refer)|\beu (?:falava|dizia|perguntava)|\blo que te? ?pregunt|\bno me (?:ayuda|sirve|has ayudado)|\bnao (?:me )?(?:ajuda|ajudou|adianta)\b|\bfora d[oe] (?:assunto|tema|contexto)|\bno viene al caso"
)

STRONG = re.compile(
    r"\b(?:(?:this|that|it|you|u)(?:'?s|s|'?re| is| are)(?: just| so| absolutely| really)? (?:ridiculous(?! how)|unacceptable|outrageous|pathetic|useless|a joke|a disgrace)"
    r"|(?:absolutely|totally|completely) (?:unacceptable|ridiculous|useless)|^(?:ridiculous|unacceptable|pathetic|useless)\b|what a disgrace"
    r"|worst (?:\w+ )?(?:service|company|app|bot|support|experience)|waste of (?:my )?time|wtf|what the (?:hell|fuck|heck)|fed up|sick of|are you kidding|kidding me|bullshit|you (?:people|guys) are (?:a joke|useless)"
    r"|are you even (?:reading|listening)|(?:no ?one|nobody) (?:ever |even )?(?:answers|answered|replies|replied|calls|called|helps)|already (?:told|said|asked|gave)(?: \w+){0,3} (?:twice|times|again)"
    r"|palhacada|inaceitavel|que (?:absurdo|vergonha|raiva|lixo|merda|descaso)|uma vergonha|(?:pessim|horrivel|horrive)\w* (?:atendimento|servico|experiencia)|(?:estou|to|tou|ando) (?:fart|cansad|irritad|indignad|revoltad)[oa]"
    r"|nao serv\w+ (?:pra|para) nada|ninguem (?:me )?(?:responde|respondeu|atende|liga|ligou|ajuda|retorna)|falta de respeito|ja (?:pedi|perguntei|disse|falei|mandei)(?: \w+)? (?:\w+ )?vezes"
    r"|inaceptable|(?:es|que|esto es) una? (?:verguenza|burla|estafa|porqueria)|que verguenza|(?:pesim|horribl)\w* (?:servicio|atencion)|(?:estoy|ando) (?:hart|cansad|indignad|furios|enojad)[oa]|hart[oa] de|no sirve[ns]? para nada|incompetent\w*|sinverguenzas?|ladrones|ladroes|estafadores"
    r"|(?:is|are|total|utter|such|complete|what) (?:a )?(?:total |complete )?(?:garbage|crap|trash|rubbish|joke)\b|(?:i'?ve|have|i) had (?:it with|enough of)|(?:do ?n'?t|does ?n'?t) (?:even |seem to )?care\b|how hard (?:can|is) it|(?:driving|drives) me (?:crazy|mad|nuts)|losing my patience|lost my patience|for god'?s sake|this sucks|you suck|shame on you"
    r"|saco cheio|de saco|perdendo a paciencia|perdi a paciencia|sem paciencia|que (?:demora|saco|porcaria|droga|odio)|(?:e|sao|isso e|isto e) um[a]? (?:lixo|porcaria|bosta|piada|merda)|pelo amor de deus|cambada|nunca mais (?:compro|volto|uso)|tenham vergonha|estao (?:gozando|brincando|de brincadeira)"
    r"|hasta (?:las narices|la coronilla|los huevos|la madre|el gorro)|perdiendo la paciencia|perdi la paciencia|me (?:tienen?|tenes) hart[oa]|una (?:mierda|basura|porqueria)|es un asco|que (?:asco|basura|porqueria|rabia)|no (?:vuelvo|pienso volver) a (?:comprar|usar)|nunca mas (?:compro|vuelvo|uso)|son unos|sois unos|por el amor de dios|me toman por"
    r"|tomando el pelo|nadie (?:me )?(?:contesta|responde|llama|atiende|ayuda)|ya (?:lo |te lo )?(?:pregunte|dije|pedi|mande)(?: \w+)? (?:\w+ )?veces|(?:son|eres|es) un[oa]?s? inutil(?:es)?|bot inutil)\b"
)

# How one feels, said of oneself or of us.
FELT = re.compile(
    r"\b(?:i am|i'?m|im|we are|we'?re|this is|that is|that'?s|it'?s|you are|you'?re|so|very|absolute(?:ly)?|what|complete(?:ly)?|utter(?:ly)?) (?:\w+ ){0,2}?"
    r"(?:annoy(?:ed|ing)|frustrat(?:ed|ing)|furious|disgust(?:ed|ing)|disappoint(?:ed|ing)|pissed|livid|outraged|appalled|nonsense|infuriating|insane|awful service|terrible service)\b"
    r"|\bwhat kind of (?:service|company|support|app|answer|joke) is\b|\bdo your job\b|\bhow dare you|\bget your act together|\b(?:ripped|ripping) (?:me|us) off|\brip ?off\b"
    r"|\b(?:estou|to|tou|fiquei|muito|que|tao|isso e|isto e|voces sao|vcs sao) (?:\w+ ){0,2}?(?:chatead[oa]s?|irritad[oa]s?|frustrad[oa]s?|decepcionad[oa]s?|desapontad[oa]s?|nervos[oa]s?|revoltad[oa]s?|indignad[oa]s?|revoltante|frustrante|ridicul[oa]s?)\b"
    r"|\bpassou dos limites|\bpassou do limite|\b(?:e|isso e) o cumulo|\bfacam o (?:seu|vosso) trabalho"
    r"|\b(?:estoy|estamos|muy|que|tan|esto es|son) (?:\w+ ){0,2}?(?:molest[oa]s?|enojad[oa]s?|enfadad[oa]s?|frustrad[oa]s?|frustrante|decepcionad[oa]s?|indignad[oa]s?|indignante|furios[oa]s?|ridicul[oa]s?|cabread[oa]s?)\b"
    r"|\b(?:es )?el colmo\b|\bse paso de la raya|\bhagan su trabajo"
)

MILD = re.compile(
    r"\b(?:useless|terrible|horrible|awful|angry|furious|again|still waiting|been waiting|third time|already (?:told|said|asked)|stop (?:sending|it|that)|refund|now|does ?n'?t work|does not work|not working|same answer|anyone|complaint|scam|hello"
    r"|de novo|outra vez|mesma resposta|agora|dinheiro|nada|horrivel|pessim[oa]|reclamacao|vergonha|esperando (?:ha|faz)|absurdo"
    r"|otra vez|de nuevo|misma respuesta|ya|dinero|nunca|queja|pesim[oa]|llevo \w+ (?:dias|semanas|horas)|inutil(?:es)?)\b"
)

OTHERS = re.compile(r"\b(?:my|his|her|our|meu|minha|mi|nuestr[oa]) (?:\w+ )?(?:is|was|gets|are|esta|fica|se|e|es)\b")

GLAD = re.compile(
    r"\b(?:thanks?|thank you|thx|great|awesome|perfect|love(?:d|ly)?|excited|happy|yay|cool|wow|haha+|lol|nice|see you|amazing"
    r"|obrigad[oa]|legal|adorei|otim[oa]|perfeito|parabens|maravilh\w+|kk+|ate (?:ja|logo|terca|amanha)|que bom|bom dia"
    r"|gracias|genial|perfecto|que bien|me gusta|encantad[oa]|jaja\w*|nos vemos|estupendo)\b|:\)|;\)"
)

LOUD = re.compile(r"!{3,}|\?{3,}|[!?]*(?:!\?|\?!)[!?]*")

PERSON = re.compile(
    r"\b(?:(?:get|give|find) me (?:an? |the |some)?(?:agent|human|person|manager|supervisor|someone|somebody|operator)|(?:transfer|connect|put) me (?:\w+ )?(?:to|with|through) (?:an? |the |your |some )?(?:\w+ )?(?:agent|human|person|manager|supervisor|someone|somebody|operator|representative|rep|service|support|staff|office)"
    r"|(?:speak|talk) (?:to|with) (?:\w+ )?(?:manager|supervisor|representative|operator|person|human|someone|somebody|anyone)|(?:anyone|someone|anybody|somebody|who) i can (?:talk|speak) (?:to|with)|a call with|call me back|(?:somebody|someone|anyone|anybody) (?:\w+ )?(?:call|phone|ring) me"
    r"|(?:someone|somebody|anyone|anybody) (?:\w+ ){0,3}(?:can|could|to) (?:help|answer|assist) me|(?:with|to) a representative|number of a (?:human|person)|^operator$"
    r"|(?:falar|conversar) com (?:\w+ )?(?:humano|pessoa|alguem|atendente|gerente|supervisor|diretora?|responsavel)|pessoa (?:de verdade|real)|(?:chama|passar? (?:pra|para|com)|quero) (?:um[a]? |o |a )?(?:atendente|responsavel|gerente|supervisor|humano)"
    r"|(?:hablar|comunicar\w*) con (?:un[a]? |el |la )?(?:alguien|persona|humano|agente|asesor[a]?|gerente|supervisor[a]?|director[a]?)|p[aá]seme (?:con|a)|comunic\w+ con|necesito un humano|un (?:agente|asesor|humano) por favor|alguien que (?:me )?(?:\w+ )?(?:atend|atiend|ayud)\w+|me atienda un[a]?"
    r"|(?:do ?n'?t|not|instead of|rather than|without|no more|tired of|sick of) (?:\w+ ){0,3}(?:talk|chat|speak|deal)\w* (?:to|with) (?:a |an |the |your |this )?(?:machine|robot|bot|computer|ai)|(?:ring|phone) me\b"
    r"|put (?:a |an |the |your )?(?:human|person|agent|manager|someone|somebody) (?:on|through)|who (?:can|do|should|could) i (?:phone|call|ring|talk to|speak to|speak with|talk with)|(?:is|are) (?:your|the) (?:supervisor|manager|boss) (?:around|there|available|in)|(?:want|need|see|get) (?:your|a|the) (?:manager|supervisor|human|real person)|human (?:agent|operator|support|being please|help)|live (?:agent|chat|support)"
    r"|(?:nao|sem|cansad[oa] de|chega de) (?:\w+ ){0,2}(?:falar|conversar|lidar) com (?:um[a]? |o |a )?(?:robo|maquina|bot|computador|ia)|(?:me )?(?:passa|passe|passar|transfere|transfira|transferir|chama|chame|chamar|liga|ponha)(?: me)? (?:pr[oa]|para|com|o|a|um|uma)(?: o| a| um| uma)? (?:gerente|atendente|supervisor|responsavel|humano|pessoa|alguem|atendimento|setor)|(?:alguem|algum humano|uma pessoa) (?:\w+ ){0,2}(?:atend|ajud|fal)\w+|(?:telefone|numero) (?:que|onde|pra|para) (?:\w+ )?(?:atend|fal|lig)\w+"
    r"|(?:no|sin|cansad[oa] de|hart[oa] de) (?:\w+ ){0,2}(?:hablar|chatear|tratar) con (?:un[a]? |el |la )?(?:robot|maquina|bot|computadora|ordenador|ia)|(?:ponme|ponganme|pongame|paseme|pasame|comuniqueme|comunicame|transfierame|transfiereme|quiero al|llame al|llamen al) ?(?:con|a|al|el|la)?(?: el| la| un| una| su| tu)? ?(?:encargad[oa]|gerente|supervisor[a]?|jef[ea]|humano|persona|asesor[a]?|agente|operador[a]?|alguien|responsable|director[a]?)|(?:me )?(?:puede|podria|pueden|podrian) (?:atender|llamar|ayudar)(?:me)? (?:alguien|una persona|un humano|un asesor))\b"
)

# "are you a person?" asks what we are, not for somebody else.
NOT_WANTED = re.compile(
    r"\b(?:(?:are|r) (?:you|u)|(?:you|u) (?:are|r|be)|is this|am i (?:talking|speaking) (?:to|with)|voces? (?:e|sao)|vcs? (?:e|sao)|es tu|eres|sos|es usted)\b"
    r"(?:,? \w+){0,6}?,? (?:a )?(?:real |actual |live )*(?:person|human|bot|robot|robo|humano|persona|pessoa)|\b(?:awful|good|nice|bad) human being"
)

NAMED = re.compile(
    r"\b(?:you|u|people|to) (?:can |may |will |should )?call me$|\bcall me (?!back|please|pls|now|asap|today|tomorrow|later|at|on|in|when|if|as|about|soon|,|$)\w+|\bme llaman\b"
    r"|\bme chamar? de\b|\bcalls me\b|\b(?:called|phoned) me\b"
)

# Any verb of asking before any word for a person, in a sentence of the user's own.
ASKED_FOR = re.compile(
    r"\b(?:talk|speak|chat|call|ring|phone|reach|contact|escalate|transfer|connect|need|want|get|put|give me|falar|falo|ligar|ligue|liguem|chamar|passar|passa|passe"
    r"|preciso|quero|transferir|transfere|contactar|hablar|hablo|llamar|llame|llamen|comunicar|necesito|quiero|pasar|contacto)"
    r"(?: [\w']+){0,3}? (?:human|humano|person|someone|somebody|anyone|agent|representative|supervisor|manager|operator|staff|support|customer service"
    r"|pessoa|alguem|agente|atendente|gerente|supervisora?|responsavel|suporte|atendimento|persona|alguien|asesora?|encargad[oa]|responsable|soporte|operador|atencion al cliente)\b"
    r"|\b(?:one of your (?:team|staff|colleagues)|a colleague of yours|your (?:team|staff))\b.*\b(?:ring|call|phone|contact)\b|\bescalate\b"
    r"|\b(?:que )?(?:alguem|alguien) (?:me )?(?:ligue|llame|contacte|contate|atenda|atienda)"
)

OWN = re.compile(
    r"\b(?:i|i'?d|i'?ll|me|my|we|us|please|pls|eu|posso|preciso|quero|como|prefiro|yo|puedo|necesito|quiero|quisiera|por favor|mi)\b"
)

PASSES_ON = re.compile(
    r"\b(?:text|ask|tell|remind|message)\b.*\bcall\b|\b(?:person|pessoa|persona|someone|alguem|alguien) (?:who|que|to|de|for)\b|\b(?:yesterday|ontem|ayer)\b|'s\b (?:special|day)"
)
