"""Who asks for a person, and who is angry, in English, Portuguese and Spanish: folded words, put together from parts.

To be passed on by mistake harms less than to be kept from people, so where both readings are possible it is a person that is
wanted. tests/data/wanting.txt is what these were written with, wanting_unseen.txt what they are measured by.
"""

import re


def _any(*texts: str) -> str:
    return "(?:" + "|".join(texts) + ")"


def _words(most: int) -> str:
    """That many words in between, at most."""
    return rf"(?:[\w'-]+,? ){{0,{most}}}?"


# --- a person ------------------------------------------------------------------------------------------------------

_EN_PEOPLE = _any(
    "humans?", "person", "(?:some|any)(?:one|body)", "agent", "operator", "rep(?:resentative)?", "manager",
    "supervisor", "boss", "secretary", "receptionist", "reception", "principal", "head ?teacher", "headmaster",
    "headmistress", "director", "admissions?", "office", "staff", "colleagues?", "teacher", "advis[eo]r", "in charge", "head of (?:the )?school", "owner",
)  # fmt: skip
_PT_PEOPLE = _any(
    "human[oa]s?", "pessoa", "alguem", "don[oa]", "atendentes?", "secretaria", "secretari[oa]", "diretora?", "direcao", "gente",
    "responsavel", "gerente", "supervisora?", "coordenadora?", "coordenacao", "funcionari[oa]s?", "recepcao",
    "recepcionista", "operadora?", "professora?", "equip[ea]", "colaboradora?", "quem (?:manda|decide|trabalha)", "voces",
)  # fmt: skip
_ES_PEOPLE = _any(
    "human[oa]s?", "persona", "alguien", "duen[oa]", "asesora?", "agente", "secretari[oa]", "secretaria", "directora?", "direccion",
    "encargad[oa]", "responsable", "operadora?", "gerente", "supervisora?", "recepcion(?:ista)?", "coordinadora?", "gente",
    "profesora?", "maestr[oa]", "representante", "ejecutiv[oa]", "admisiones", "jef[ea]", "ustedes", "quien (?:manda|decide)",
)  # fmt: skip
_EN_BOT, _PT_BOT, _ES_BOT = (
    _any("(?:chat ?)?bots?", "robots?", "machine", "computer", "ai", "assistant"),
    _any("bots?", "robos?", "maquina", "computador", "ia", "assistente virtual"),
    _any("bots?", "robots?", "maquina", "computadora", "ordenador", "ia", "contestador", "asistente virtual"),
)
_BACK = r"(?= ?(?:back|on|at|to|tomorrow|today|later|now|please|pls|plz|asap|if|when (?:you|u|someone|somebody|they|possible)|in|after|before|this|about|and)\b)"
_PERSON = (
    # English
    rf"(?:speak|talk|chat|discuss (?:this|it)) {_words(2)}(?:to|with|w|2) {_words(3)}{_EN_PEOPLE}",
    rf"(?:speak|talk|chat) {_words(2)}(?:by|on|over) (?:the )?(?:tele)?phone",
    rf"(?:tele)?(?:phone )?call with {_words(2)}{_EN_PEOPLE}|(?:want|need|like) to (?:talk|speak) (?:to|with) them",
    rf"(?:explain|tell|say|discuss|show|give|leave) (?:it|this|that|all this|them) (?:all )?(?:to|with) {_words(2)}{_EN_PEOPLE}",
    r"(?:some|any)(?:one|body) (?:\w+ )?(?:reading|listening|answering)|let (?:an? |the )?(?:human|person|someone|somebody) (?:\w+ )?(?:answer|help|talk|handle|take)",
    r"(?:she|he|they|you) (?:please )?(?:call|write|phone|ring|get|text|email|come) (?:\w+ )?back(?: to)? (?:me|us)|(?:human|person) (?:on the phone|to answer)|reach an? (?:human|person)",
    rf"{_EN_PEOPLE} (?:to )?(?:answers|explain|picks up|sits)|(?:talk|speak|write)(?:ing)? to (?:your people|real people)",
    r"(?:not|no|no more|enough of|enough with|stop with) (?:an? |the |this |your )?(?:chat ?bots?|bots?|robot|machine)(?! class| club| lesson)",
    r"who(?:m)? (?:can|could|should|do|may) i (?:talk|speak|call|phone|ring|turn)",
    rf"{_EN_PEOPLE} (?:that |who |whom )?i (?:can|could|may) (?:talk|speak|call)",
    r"(?:put|transfer|connect|pass|hand|forward|switch|redirect) (?:me|us) (?:\w+ )?(?:to|with|through|over|on to)",
    r"(?:get|give|find|send|bring|fetch) (?:me |us )?(?:an? |the |your |some )?(?:real |actual |live |human )*"
    r"(?:humans?|person|agent|operator|rep(?:resentative)?|manager|supervisor|someone real|somebody real)",
    r"(?:need|want|prefer|like|insist on) (?:to have |to get |an? |the |your |some )*(?:real |actual |live |human )*"
    r"(?:humans?|human being|agent|operator|representative|manager|supervisor|(?:real|actual|live) person)",
    rf"(?:(?:some|any)(?:one|body)|a (?:person|human|colleague|teacher|secretary)|(?:a )?(?:member of )?(?:the |your )?staff"
    rf"|the (?:office|school|secretary|principal|director)) {_words(2)}"
    r"(?:call|ring|phone|contact|write to|text|email|reach|get back to|get in touch|attend|answer me|reply to me|assist me)\b"
    r"(?! the (?:door|phone|bell))",
    rf"(?:can|could|would|will|please|pls) (?:you |they |u )?(?:please |pls )?(?:call|ring|phone|telephone) me(?= ?(?:[?!.,]|$)|{_BACK})|^\W*(?:please |pls |just )?call me\W*$|(?:^|please |pls |you |and |just |can |to )call me{_BACK}|ring me|give me a (?:call|ring)",
    r"(?:is|are) there (?:any |some )?(?:an? )?(?:real |actual |live )*(?:person|human|human being|(?:some|any)(?:one|body)) ?"
    r"(?:real |alive )?(?:there|here|around|available|online|behind|on the (?:other|line)|reading|i can|who can|to (?:talk|speak|help)|\W*$)",
    r"(?:hello\W+)?(?:any|some)(?:one|body) (?:there|here|around)\W*$",
    rf"(?:don'?t|dont|do not|not|no|hate|tired|sick|rather|stop|instead of|enough|why am i) {_words(4)}"
    rf"(?:talk|talking|speak|speaking|chat|chatting|deal|dealing|write|writing|texting) (?:to|with) (?:an? |the |this |your )?{_EN_BOT}",
    r"(?:a |any )?(?:real|actual|live) (?:person|human)|human (?:please|pls|agent|being|support|help|operator|contact|now)",
    r"live (?:agent|chat|support)|customer (?:service|support|care)|(?:speak|talk) to (?:a |the )?human",
    r"^\W*(?:human|person|agent|operator|representative|manager)(?: please| pls| now)?\W*$",
    # Portuguese
    rf"(?:falar|conversar|tratar|contactar|contatar) {_words(3)}(?:com|c) {_words(2)}{_PT_PEOPLE}",
    rf"(?:chamada|ligacao|telefonema|reuniao) com {_words(2)}{_PT_PEOPLE}|gente de verdade|carne e osso|(?:palavra|palavrinha) com|(?:por|entrar|ficar|meter|pondo)[- ](?:me )?em contac?to com|cham(?:a|e|em|ar)[ -](?:me )?(?:uma pessoa|alguem|um humano|o responsavel)|so fal[oa] com",
    r"(?:nao (?:quero |e |com )?|chega de |sem )(?:um |uma |o |a |mais |este |esse )?(?:bots?|robo|maquina)(?! na| no)",
    r"(?:falar|conversar|tratar) (?:\w+ ){0,2}?(?:por|ao|pelo) (?:tele(?:fone|movel)|chamada)",
    r"com quem (?:e que )?(?:eu )?(?:posso|podia|devo|consigo) (?:falar|tratar|conversar)|alguem com quem (?:eu )?(?:possa|posso|falar)",
    rf"(?:passa|passe|passem|passar|transfer\w+|transfir\w+|encaminh\w+|direcion\w+|poe|ponha|ponham|coloc\w+)[ -]?(?:me |nos )?"
    rf"{_words(1)}(?:para|pra|pro|com|ao|a|o|um|uma) {_words(2)}{_PT_PEOPLE}",
    r"(?:chama|chame|chamar|chamem|quero|queria|preciso|prefiro|exijo|manda|arranja|gostava|gostaria)(?: de| ai| me)? "
    r"(?:um |uma |o |a |algum |alguma )?(?:atendimento humano|ser humano|humano|atendente|gerente|supervisora?|operadora?"
    r"|(?:pessoa|alguem) (?:de verdade|real|a serio)|responsavel)",
    rf"(?:atendid[oa]s?|atendam?|atender|respondam?|respondid[oa]) {_words(1)}(?:por )?(?:um |uma )?(?:pessoa|alguem|humano|gente)",
    rf"(?:alguem|(?:um|uma|algum|alguma) (?:pessoa|humano|funcionari[oa]|colega|atendente)|a (?:escola|secretaria|direcao)|voces|vcs) {_words(4)}"
    r"(?:ligar?|ligue|liga|ligasse|liguem|telefon\w+|contac?t\w+|entr\w+ em contac?to|fal\w+ comigo|atend\w+|retorn\w+)",
    r"(?:me )?(?:liguem|ligue|ligar|ligas) (?:para|pra) mim|(?<!ninguem )me (?:liga|liguem|ligue|ligar|ligas|telefonem|telefone|contact\w+)"
    r"|(?:lig|telefon)(?:a|ue|uem|ar|em|e)-me|podem? (?:me )?ligar(?!\w)|(?:pode|podem|poderiam?) telefonar|contactem-me|me telefon\w+|me devolv\w+ a (?:chamada|ligacao)",
    r"(?:tem|ha|existe|esta) (?:ai )?(?:alguem|algum humano|alguma pessoa|um humano|uma pessoa)(?: real| de verdade)? ?"
    r"(?:ai|aqui|real|de verdade|disponivel|online|desse lado|do outro lado|por ai|atras|com quem|que me|para falar|\W*$)",
    rf"(?:nao|sem|cansad[oa] de|fart[oa] de|chega de|odeio|detesto) {_words(3)}(?:falar|conversar|lidar|tratar) com (?:um |uma |o |a |este |esse )?{_PT_BOT}",
    r"pessoa (?:de verdade|real|a serio)|atendente|ser humano|atendimento humano|apoio ao cliente|atendimento ao cliente",
    r"^\W*(?:humano|pessoa|atendente)(?: por favor| pfv| pf| ja)?\W*$",
    # Spanish
    rf"carne y hueso|{_ES_PEOPLE} (?:\w+ )?(?:me|nos) (?:llam(?:e|en|ara|aran|a)|contact(?:e|en|ara)|escrib(?:a|an)|atienda|hable)\b|que me (?:devuelvan?|regresen?) la llamada",
    rf"(?:llamada|cita telefonica|reunion) con {_words(2)}{_ES_PEOPLE}",
    r"(?:no (?:quiero |con )?|basta (?:de|del) |sin )(?:un |una |el |la |mas |este )?(?:bots?|robot|maquina)",
    rf"(?:hablar(?:l[oa]s?)?|conversar|platicar|charlar|comunicar(?:me|nos)?|tratar|contactar) {_words(3)}con {_words(2)}{_ES_PEOPLE}",
    r"(?:hablar|conversar|tratar) (?:\w+ ){0,2}?(?:por|al) (?:telefono|celular|movil)",
    r"(?:con|a) quien (?:puedo|podria|debo|tengo que) (?:hablar|llamar|contactar|dirigirme)|alguien con quien (?:pueda|puedo|hablar)",
    rf"(?:p[ao]same|paseme|pasenme|pongame|ponme|ponganme|comuni(?:queme|quenme|came)|transfier[ae]n?me|conect[ae]n?me|deriv[ae]n?me"
    rf"|me (?:pasas?|comunicas?|transfieres?|conectas?|(?:puedes?|pueden|podria[sn]?) (?:pasar|comunicar|transferir|poner))) {_words(2)}(?:con|a|al|el|la|un|una)\b",
    r"(?:quiero|queria|necesito|prefiero|deseo|quisiera|exijo|busco|dame|deme|me das?)(?: a)? (?:un |una |el |la |algun |alguna )?"
    r"(?:atencion humana|ser humano|humano|asesora?|agente|operadora?|gerente|supervisora?|encargad[oa]|responsable|persona (?:real|de verdad))",
    rf"(?:atiendan?|atender|contacten?|contactar|llamen?|llamar|hablen?|escriban?|respondan?|conteste) {_words(2)}(?:alguien|personas?|human[oa]|asesora?|encargad[oa]|responsable)",
    rf"(?:alguien|(?:un|una|algun|alguna) (?:persona|humano|asesora?|colega)|el colegio|la (?:escuela|secretaria|direccion)|ustedes) {_words(3)}"
    r"(?:llam(?:e|en|ar|ara|aran|a)|contact(?:e|en|ar|ara)|atiend\w+|atend(?:er|era)|comuni(?:que|car)\w*|escrib(?:a|an|ir)|telefone\w+)\b",
    r"que (?:me|nos) (?:llamen?|contacten?|telefoneen|hablen?)|(?:me )?(?:llamen|llamenme|llame|llamar) (?:por favor|por telefono|porfa)"
    r"|(?:pueden|puede|podrian|podria|puedes) (?:llamar|contactar|telefonear)(?:me|nos)|me (?:pueden?|podrian?|puedes) (?:llamar|contactar|telefonear)|(?<!nadie )me llaman?(?= (?:por|porfa|ahora|hoy|manana|luego|mas tarde|cuando|al|a las)\b|\W*$)|llam[ae]n?me",
    r"(?:hay|esta|existe) (?:ahi |alli )?(?:alguien|algun humano|alguna persona|un humano|una persona)(?: real| de verdad)? ?"
    r"(?:ahi|alli|aqui|real|por ahi|disponible|en linea|del otro lado|al otro lado|detras|con quien|que me|para hablar|\W*$)",
    rf"(?:no|sin|cansad[oa] de|hart[oa] de|basta de|odio|detesto) {_words(3)}(?:hablar|chatear|tratar|escribir) con (?:un |una |el |la |este |esta )?{_ES_BOT}",
    r"persona (?:real|de verdad)|atencion (?:humana|al cliente|personalizada)|servicio al cliente|ser humano",
    r"^\W*(?:humano|persona|asesora?|agente)(?: por favor| porfa| ya)?\W*$",
)  # fmt: skip
PERSON = re.compile(rf"\b{_any(*_PERSON)}(?!\w)")

# --- anger -----------------------------------------------------------------------------------------------------------

_TIMES_EN = _any(r"\d+", "two", "three", "four", "five", "ten", "several", "many", "so many", "a hundred", "a thousand")
_ANGER = (
    # English
    r"(?:you|you'?re|u r|this|that'?s|it|it'?s|they|bot|service|school|staff|people|office|communication)(?: guys| bot| school| service)?"
    r"(?: are| is| r| was| has been| have been)? (?:\w+ ){0,3}?(?:useless|pathetic|ridiculous|awful|terrible|horrible|rubbish|garbage|incompetent"
    r"|hopeless|disgusting|appalling|shameful|bullshit|crap|the worst|unprofessional|unacceptable"
    r"|a (?:(?:bad|sick|total|complete) )?(?:disgrace|shame|scam|mess))(?! (?:for|at|with|to) (?:me|us|my|our|him|her|him|math|maths))",
    r"(?:this|that|it|you|u|they|school|service|bot)(?: is| are| was|'s|'re|s| r) (?:\w+ ){0,2}?an? (?:\w+ )?joke\b",
    r"ridiculous|unacceptable|outrageous|disgrace(?:ful)?|what a (?:joke|disgrace|waste|shame|mess|farce)|worst (?:school|service|experience|communication|bot|people)|unprofessional|driving (?:me|us) (?:crazy|mad|nuts)",
    r"(?:losing|lost|lose|run out of|running out of) (?:all |my |our )*patience|(?:so |this |it )hard to (?:get|reach) (?:an answer|anyone|anybody|someone|you)|keep (?:asking|repeating|telling|sending) (?:me )?the same",
    r"(?:trying to (?:reach|call|contact|get|speak)|waiting|no (?:reply|answer|response)) (?:[\w']+ ){0,5}?(?:hours|days|weeks|months)",
    r"(?:terrible|awful|horrible|appalling|lousy|shocking|dreadful|disgusting|pathetic) (?:service|school|treatment|experience|communication|support|attention|people)",
    r"(?:i'?m|i am|im|we are|we'?re|i feel|feeling|getting) (?:\w+ ){0,2}?(?:annoyed|angry|furious|frustrated|disappointed|disgusted|pissed|livid|fed up|outraged|irritated|enraged|mad(?! about| for))",
    rf"(?:asked|told|said|written|wrote|repeated|explained|called|emailed|tried|messaged|rang) (?:\w+ ){{0,3}}?{_TIMES_EN} times",
    r"(?:third|fourth|fifth|tenth|\d+th|\d+rd|hundredth) time (?:(?:that )?i\b|asking|writing|calling|now)|how many times (?:do|must|should|have|will) (?:i|we) (?:have to |need to |got to )?(?:ask|say|tell|told|said|repeat|explain|writ|call|be asked)\w*",
    r"(?:no ?one|nobody) (?:(?:ever|has|have|is|even|there|at|your|the|school|wants|to|will|would) ){0,3}?(?:answer\w*|call\w*|repl\w+|respond\w*|pick\w*|help\w*|care\w*|bother\w*|listen\w*)",
    r"why (?:does|do|is|are|has|did|can'?t|won'?t) (?:nobody|no ?one|anyone|anybody) (?:\w+ )?(?:answer|reply|respond|call|help|care|listen)\w*",
    r"(?:poor|bad|lousy|no) (?:service|communication)\W*$|(?:really|so|very|such) (?:poor|bad) (?:service|communication)|(?:so |treated (?:so )?)badly treated|treated (?:so |very )?badly|shocking how|shame on you|(?:bunch of|you|total|complete) (?:clowns|liars|amateurs|thieves)|had (?:it|enough) (?:with|of) (?:you|this|it)|sick and tired",
    r"are you (?:kidding|joking|deaf|stupid|serious\?)|what(?:'s| is) wrong with (?:you|this (?:bot|school))|(?:you|they|u) (?:people |guys )?(?:don'?t|never) (?:even )?(?:listen|care|answer|reply|respond)",
    r"fed up|sick of (?:this|waiting|you)|tired of (?:waiting|this|asking|repeating)|been waiting (?:for )?(?:days|weeks|hours|a week|\d+ days)|still waiting for (?:days|weeks|someone|an answer)",
    r"(?:file|make|have|want|lodge|submit)(?: to make)? an? (?:formal |official )?complaint|i(?:'ll| will) complain|complain(?:ing)? (?:about|to)|scam(?:mers)?|(?:my|our|call a|get a|hire a) lawyers?|sue you|report you|money back|waste of (?:my |our )?time|wasting my time",
    # Portuguese
    r"(?:uma|que|tanta|e) (?:vergonha|palhacada|desastre|falta de (?:respeito|educacao|consideracao|seriedade|profissionalismo))|perd\w+ (?:toda )?a (?:minha )?paciencia|perder (?:o |meu )+tempo|me deixa\w* louc[oa]|cansei d(?:e|isso|isto)|(?:isto|isso) e (?:uma )?(?:piada|brincadeira|gozacao|gozo)|a gozar comigo|brincar comigo",
    r"absurdo|inaceitavel|inadmissivel|palhacada|(?<!tempo )(?<!tempo esta )pessim[oa]s?(?! (?:para|pra) (?:mim|nos|a gente|ele|ela))|falta de respeito|que vergonha|inuteis|incompetentes?",
    r"(?:servico|atendimento|escola|voces|vcs|robo|bot|experiencia)(?: \w+){0,2} (?:horrivel|horriveis|inutil|ridicul[oa]s?|lixo|(?:uma |de )?merda|(?:uma )?porcaria|mau|ruim|vergonhos[oa])",
    r"(?:que|voces sao|e) (?:\w+ )?(?:horrivel|ridicul[oa]|inutil)|n[aã]o serv(?:e|em|es) (?:para|pra) nada|nao (?:presta|vale nada)",
    r"(?:perguntei|disse|pedi|falei|escrevi|liguei|expliquei|mandei|enviei|respondi|repeti) (?:\w+ ){0,3}?(?:\d+|duas|tres|quatro|cinco|dez|varias|muitas|mil|tantas) vezes",
    r"(?:terceira|quarta|quinta|decima|\d+a?) vez que|quantas vezes (?:e que )?(?:eu )?(?:tenho|preciso|vou|e preciso)",
    r"(?:estou|to|tou|fiquei|estamos|sinto-me|me sinto) (?:\w+ ){0,2}?(?:fart[oa]s?|irritad|indignad|chatead|furios|desiludid|dececionad|decepcionad|revoltad|desapontad|frustrad|zangad|aborrecid)\w*|cansad[oa] de (?:esperar|perguntar|repetir|isto|isso|voces)|fart[oa] (?:de|disto|disso)",
    r"ninguem (?:(?:me|nos|ai|da|escola|sabe|quer|aos|atende|consegue) ){0,3}?(?:respond\w+|atend\w+|lig[ao]\w*|ligou|retorn\w+|ajud\w+|resolv\w+|faz nada|quer saber)",
    r"reclamacao|reclamar|reclamacoes|reclame aqui|procon|advogad[oa]|denuncia\w*|processar(?:-vos)? (?:a |vos )|golpe|burla|incompetencia|(?:tem|tenha) cabimento|(?:o|e o) cumulo|saco cheio|dos limites|sem paciencia|voces estao a (?:gozar|brincar)",
    r"(?:(?:a espera|esperando|esperar|esperei) (?:\w+ ){0,4}?(?:horas|dias|semanas|meses)|(?:horas|dias|semanas|meses) (?:\w+ ){0,2}?(?:a espera|esperando|sem resposta))|(?:voces|vcs) (?:nao|nunca) (?:\w+ )?respond\w+|nao respondem? (?:nunca|a ninguem)",
    # Spanish
    r"(?:una|que|un|tremenda) (?:verguenza|desastre|falta de (?:respeto|educacion|consideracion|seriedad|profesionalismo))|perd\w+ (?:toda )?la paciencia|perder (?:el |mi )tiempo|vuelven? loc[oa]|me canse de|(?:dias|semanas|horas|meses) (?:\w+ ){0,2}?(?:esperando|sin respuesta)|(?:esperando|esperar|espero) (?:\w+ ){0,4}?(?:horas|dias|semanas|meses)|(?:nunca (?:me |nos )?(?:responden|contestan|llaman)|no (?:responden|contestan) nunca)|tomadura de pelo|tomando el pelo|(?:esto|eso) es (?:una (?:broma|burla)|un (?:desastre|chiste))|se (?:estan )?burla\w* de mi",
    r"inaceptable|inadmisible|pesim[oa]s?(?! para (?:mi|nosotros|el|ella)\b)|indignante|falta de respeto|que verguenza|ridicul[oa]s?\b(?= |$|\W)|incompetentes?|inutiles",
    r"(?:servicio|atencion|escuela|colegio|ustedes|robot|bot|experiencia)(?: \w+){0,2} (?:horrible|inutil|mal[oa]|terrible|basura|(?:de |una )?mierda|fatal|lament\w+)",
    r"que (?:servicio|atencion|escuela|colegio) (?:\w+ )?(?:mal[oa]|horrible|pesim[oa]|terrible)|no (?:sirves?|sirven) (?:para|de) nada|no (?:vale|valen) nada|son (?:\w+ )?(?:inutil|incompetent|una verguenza)\w*",
    r"(?:pregunte|dije|pedi|escribi|llame|explique|mande|envie|respondi|repeti|he (?:preguntado|dicho|pedido|escrito|llamado)) (?:\w+ ){0,3}?(?:\d+|dos|tres|cuatro|cinco|diez|varias|muchas|mil|tantas) veces",
    r"(?:tercera|cuarta|quinta|decima|\d+a?) vez que|cuantas veces (?:tengo|debo|hay|voy|mas)",
    r"(?:estoy|estamos|me siento|me tienen) (?:\w+ ){0,2}?(?:hart|molest|indignad|enojad|enfadad|furios|decepcionad|frustrad|cabread|irritad)[oa]s?|hart[oa]s? de|cansad[oa] de (?:esperar|preguntar|repetir|esto|ustedes)",
    r"nadie (?:(?:me|nos|ahi|del|colegio|sabe|quiere|a|mis) ){0,3}?(?:contest\w+|respond\w+|llam\w+|atiend\w+|atend\w+|ayud\w+|resuelv\w+|hace nada)",
    r"el colmo|hasta (?:las narices|la coronilla|la madre|el gorro)|sinverguenzas?|una burla|incompetencia|ya basta\b(?! de)",
    r"(?:una|poner|hacer|presentar|libro de) (?:queja|reclamacion|reclamo|denuncia)\w*|quejarme|reclamacion|estafa\w*|abogad[oa]|denunciar\w*|demandar(?:los|les)",
)  # fmt: skip
ANGER = re.compile(rf"\b{_any(*_ANGER)}(?!\w)")

# What the calm say, too; from somebody who shouts it is anger.
_SHOUTED = re.compile(
    r"\b(?:already|stop|answer|reply|why|nobody|no one|again|listen|hello|enough|money|now"
    r"|ja (?:disse|perguntei|pedi|falei|mandei)|parem?|respondam?|ninguem|de novo|outra vez|chega|dinheiro|agora"
    r"|ya (?:dije|te dije|pregunte|pedi|basta)|contesten?|respondan?|nadie|otra vez|de nuevo|basta|dinero)\b"
)


def shouts(text: str) -> bool:
    """In capitals, most of it."""
    letters = [c for c in text if c.isalpha()]
    return len(letters) >= 8 and sum(c.isupper() for c in letters) >= 0.7 * len(letters)


def angry(text: str, folded: str) -> bool:
    return bool(ANGER.search(folded) or (shouts(text) and _SHOUTED.search(folded)))
