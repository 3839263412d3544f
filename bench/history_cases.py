"""Long conversations, and last questions that need something from their early turns, or only from the last ones.

Made up, in three languages, the same every time: each is a few early exchanges with facts (what a parent said, asked
and refused, what was promised), others about the school, and one exchange that stays whole when a history is
shortened. A case is a conversation with one last question; those of one conversation are a cluster."""
# ruff: noqa: E501

import random
from dataclasses import dataclass

from waterline.core.case import Case, Expect
from waterline.core.case import Message as Said

A_LANGUAGE = 5  # conversations
EARLY, MIDDLE = 4, 8  # exchanges after the first, which says the child's name
SYSTEM = {
    "en": "You are the assistant of a school. Answer from this conversation, in one short sentence.",
    "pt": "És o assistente de uma escola. Responde a partir desta conversa, numa frase curta.",
    "es": "Eres el asistente de una escuela. Responde a partir de esta conversación, en una frase corta.",
}


@dataclass(frozen=True)
class Exchange:
    user: str
    assistant: str
    asks: tuple[tuple[str, str], ...] = ()  # a last question, and where in `words` its answer is


WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "child": ("Mathilda", "Rosalind", "Beatrix", "Ottilie", "Clementine"),
        "food": ("peanuts", "eggs", "fish", "sesame", "soy"),
        "budget": ("420", "515", "380", "645", "470"),
        "day": ("Thursday", "Monday", "Friday", "Tuesday", "Wednesday"),
        "refused": ("the school bus", "boarding", "the summer camp", "online lessons", "the chess club"),
        "instrument": ("cello", "flute", "harp", "trumpet", "drums"),
        "month": ("November", "February", "April", "July", "May"),
        "thing": ("uniform", "textbook", "excursion", "canteen", "insurance"),
        "place": ("swimming pool", "climbing wall", "theatre", "garden", "laboratory"),
    },
    "pt": {
        "child": ("Matilde", "Leonor", "Benedita", "Carlota", "Francisca"),
        "food": ("amendoim", "ovos", "peixe", "sésamo", "soja"),
        "budget": ("420", "515", "380", "645", "470"),
        "day": ("quinta", "segunda", "sexta", "terça", "quarta"),
        "refused": ("autocarro", "internato", "acampamento", "aulas online", "clube de xadrez"),
        "instrument": ("violoncelo", "flauta", "harpa", "trompete", "bateria"),
        "month": ("novembro", "fevereiro", "abril", "julho", "maio"),
        "thing": ("uniforme", "manuais", "excursões", "cantina", "seguro"),
        "place": ("piscina", "parede de escalada", "teatro", "jardim", "laboratório"),
    },
    "es": {
        "child": ("Jimena", "Rocío", "Candela", "Macarena", "Ainhoa"),
        "food": ("cacahuetes", "huevos", "pescado", "sésamo", "soja"),
        "budget": ("420", "515", "380", "645", "470"),
        "day": ("jueves", "lunes", "viernes", "martes", "miércoles"),
        "refused": ("autobús", "internado", "campamento", "clases en línea", "club de ajedrez"),
        "instrument": ("violonchelo", "flauta", "arpa", "trompeta", "batería"),
        "month": ("noviembre", "febrero", "abril", "julio", "mayo"),
        "thing": ("uniforme", "libros", "excursiones", "comedor", "seguro"),
        "place": ("piscina", "rocódromo", "teatro", "jardín", "laboratorio"),
    },
}
FIRST = {
    "en": Exchange(
        "Hello! My daughter {child} is looking for a new school.", "Welcome! We would love to meet {child}.",
        (("Which name did I give for my daughter?", "child"),),
    ),
    "pt": Exchange(
        "Olá! A minha filha {child} procura uma escola nova.", "Boas-vindas! Gostávamos de conhecer a {child}.",
        (("Que nome dei eu da minha filha?", "child"),),
    ),
    "es": Exchange(
        "¡Hola! Mi hija {child} busca una escuela nueva.", "¡Bienvenidos! Nos gustaría conocer a {child}.",
        (("¿Qué nombre dije de mi hija?", "child"),),
    ),
}  # fmt: skip
EARLIER = {
    "en": (
        Exchange("She cannot eat {food}, not even traces of it.", "Thank you for telling us, the kitchen can do that.",
                 (("Which food can my daughter not eat?", "food"),)),
        Exchange("We can pay {budget} EUR a month at the very most.", "That is good to know.",
                 (("What is the most that we can pay a month?", "budget"),)),
        Exchange("For a visit only {day} mornings suit us.", "Mornings are a good time for a visit.",
                 (("On which day of the week does a visit suit us?", "day"),)),
        Exchange("We do not want {refused}, please do not offer it again.", "Understood.",
                 (("What did I ask you not to offer again?", "refused"),)),
        Exchange("She plays the {instrument} and wants to go on with it.", "Music matters to us too.",
                 (("Which instrument does my daughter play?", "instrument"),)),
        Exchange("We only move to town in {month}.", "Children may join us all year round.",
                 (("In which month do we move to town?", "month"),)),
        Exchange("Could I see the {thing} prices?", "I will send you the list of {thing} prices tomorrow.",
                 (("What did you promise to send me?", "thing"),)),
        Exchange("Is there a {place} at the school?", "Let me check that with the office.",
                 (("About which place at the school did you have to check with the office?", "place"),)),
    ),
    "pt": (
        Exchange("Ela não pode comer {food}, nem vestígios.", "Obrigado por avisar, a cozinha trata disso.",
                 (("O que é que a minha filha não pode comer?", "food"),)),
        Exchange("Podemos pagar {budget} EUR por mês, no máximo.", "É bom saber.",
                 (("Quanto podemos pagar por mês, no máximo?", "budget"),)),
        Exchange("Para uma visita só nos serve {day} de manhã.", "As manhãs são boas para uma visita.",
                 (("Em que dia da semana nos serve uma visita?", "day"),)),
        Exchange("Não queremos {refused}, por favor não volte a propor.", "Entendido.",
                 (("O que é que pedi para não voltar a propor?", "refused"),)),
        Exchange("Ela toca {instrument} e quer continuar.", "A música também é importante para nós.",
                 (("Que instrumento toca a minha filha?", "instrument"),)),
        Exchange("Só nos mudamos para a cidade em {month}.", "As crianças podem entrar durante todo o ano.",
                 (("Em que mês nos mudamos para a cidade?", "month"),)),
        Exchange("Posso ver os preços: {thing}?", "Vou enviar amanhã a lista de preços: {thing}.",
                 (("O que é que prometeu enviar?", "thing"),)),
        Exchange("A escola tem {place}?", "Vou verificar com a secretaria.",
                 (("Sobre que espaço da escola ficou de verificar com a secretaria?", "place"),)),
    ),
    "es": (
        Exchange("Ella no puede comer {food}, ni trazas.", "Gracias por avisar, la cocina se ocupa de eso.",
                 (("¿Qué no puede comer mi hija?", "food"),)),
        Exchange("Podemos pagar {budget} EUR al mes como máximo.", "Es bueno saberlo.",
                 (("¿Cuánto podemos pagar al mes como máximo?", "budget"),)),
        Exchange("Para una visita solo nos viene bien el {day} por la mañana.", "Las mañanas son buenas para una visita.",
                 (("¿Qué día de la semana nos viene bien una visita?", "day"),)),
        Exchange("No queremos {refused}, por favor no lo ofrezca otra vez.", "Entendido.",
                 (("¿Qué pedí que no ofreciera otra vez?", "refused"),)),
        Exchange("Ella toca {instrument} y quiere seguir.", "La música también es importante para nosotros.",
                 (("¿Qué instrumento toca mi hija?", "instrument"),)),
        Exchange("No nos mudamos a la ciudad hasta {month}.", "Los niños pueden entrar todo el año.",
                 (("¿En qué mes nos mudamos a la ciudad?", "month"),)),
        Exchange("¿Puedo ver los precios: {thing}?", "Voy a enviar mañana la lista de precios: {thing}.",
                 (("¿Qué prometió enviarme?", "thing"),)),
        Exchange("¿La escuela tiene {place}?", "Voy a consultar con la secretaría.",
                 (("¿Sobre qué lugar de la escuela tenía que consultar con la secretaría?", "place"),)),
    ),
}  # fmt: skip
BETWEEN = {
    "en": (
        Exchange("How big are the classes?", "There are at most 22 children in a class."),
        Exchange("Do the children learn languages?", "Yes, English from the first year and French from the fifth."),
        Exchange("Who is the head teacher?", "Our head teacher is Dr. Whitcombe, for six years now."),
        Exchange("How old is the building?", "It was built in 1964 and repaired in 2019."),
        Exchange("Are there excursions?", "Each class goes on two excursions a year."),
        Exchange("Where do parents park?", "There are 30 places behind the gymnasium."),
        Exchange("How is homework given?", "On Mondays, for the whole week, on one sheet."),
        Exchange("What happens in the break?", "The children play in the yard, with two teachers beside them."),
    ),
    "pt": (
        Exchange("Qual é o tamanho das turmas?", "Há no máximo 22 crianças por turma."),
        Exchange("As crianças aprendem línguas?", "Sim, inglês desde o primeiro ano e francês desde o quinto."),
        Exchange("Quem dirige a escola?", "A diretora é a Dra. Salgueiro, há seis anos."),
        Exchange("Que idade tem o edifício?", "Foi construído em 1964 e renovado em 2019."),
        Exchange("Há visitas de estudo?", "Cada turma faz duas visitas por ano."),
        Exchange("Onde estacionam os pais?", "Há 30 lugares atrás do ginásio."),
        Exchange("Como são os trabalhos de casa?", "À segunda, para toda a semana, numa folha."),
        Exchange("O que se passa no recreio?", "As crianças brincam no pátio, com dois professores ao lado."),
    ),
    "es": (
        Exchange("¿De qué tamaño son las clases?", "Hay como máximo 22 niños por clase."),
        Exchange("¿Los niños aprenden idiomas?", "Sí, inglés desde el primer año y francés desde el quinto."),
        Exchange("¿Quién dirige la escuela?", "La directora es la Dra. Salcedo, desde hace seis años."),
        Exchange("¿Qué edad tiene el edificio?", "Se construyó en 1964 y se renovó en 2019."),
        Exchange("¿Hay excursiones?", "Cada clase hace dos excursiones al año."),
        Exchange("¿Dónde aparcan los padres?", "Hay 30 plazas detrás del gimnasio."),
        Exchange("¿Cómo son los deberes?", "Los lunes, para toda la semana, en una hoja."),
        Exchange("¿Qué pasa en el recreo?", "Los niños juegan en el patio, con dos profesores al lado."),
    ),
}
# The exchange that stays whole: its answer has two figures, so two last questions need nothing older.
LAST = {
    "en": Exchange("When is the library open?", "The library opens at {opens} and closes at {closes}.",
                   (("At what time does the library open?", "opens"), ("At what time does the library close?", "closes"))),
    "pt": Exchange("Quando está aberta a biblioteca?", "A biblioteca abre às {opens} e fecha às {closes}.",
                   (("A que horas abre a biblioteca?", "opens"), ("A que horas fecha a biblioteca?", "closes"))),
    "es": Exchange("¿Cuándo está abierta la biblioteca?", "La biblioteca abre a las {opens} y cierra a las {closes}.",
                   (("¿A qué hora abre la biblioteca?", "opens"), ("¿A qué hora cierra la biblioteca?", "closes"))),
}  # fmt: skip
HOURS = (("8:15", "17:40"), ("9:10", "18:20"), ("7:45", "16:50"), ("8:35", "19:05"), ("9:25", "17:15"))


@dataclass(frozen=True)
class Talk:
    """A conversation without its last question. `early` and `recent`: its cases."""

    id: str
    language: str
    messages: tuple[Said, ...]
    early: tuple[Case, ...]
    recent: tuple[Case, ...]


def talks() -> list[Talk]:
    return [_talk(language, number) for language in SYSTEM for number in range(A_LANGUAGE)]


def _talk(language: str, number: int) -> Talk:
    chance = random.Random(f"{language}{number}")
    words = {kind: some[number] for kind, some in WORDS[language].items()}
    words["opens"], words["closes"] = HOURS[number]
    early = [FIRST[language], *chance.sample(EARLIER[language], EARLY)]
    order = [*early, *chance.sample(BETWEEN[language], MIDDLE), LAST[language]]
    messages = [Said("system", SYSTEM[language])]
    for exchange in order:
        messages += [Said("user", exchange.user.format(**words)), Said("assistant", exchange.assistant.format(**words))]
    name = f"{language}{number}"
    asked = [ask for exchange in early for ask in exchange.asks]
    return Talk(
        name, language, tuple(messages),
        tuple(_case(name, messages, q, words[kind], kind) for q, kind in chance.sample(asked, EARLY)),
        tuple(_case(name, messages, q, words[kind], kind) for q, kind in LAST[language].asks),
    )  # fmt: skip


def _case(talk: str, messages: list[Said], question: str, wanted: str, kind: str) -> Case:
    bare = wanted.removeprefix("the ")
    return Case(id=f"{talk}-{kind}", expect=Expect(contains=(bare,)), messages=(*messages, Said("user", question)))
