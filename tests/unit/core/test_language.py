"""Sixty ordinary sentences, as an assistant answers or a parent writes, and what is none of the three languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.language import LANGUAGES, identify

ENGLISH = """
The school opens at eight in the morning.
You can visit us on Tuesday afternoon.
Hello! How old is your daughter?
Please send us the documents before Friday.
We do not have that information in the handbook.
The monthly fee for kindergarten is 680 EUR.
Thank you for your message, we will call you back.
Is there a bus from the city centre?
Children eat lunch together in the main hall.
I'm sorry, but I can't help with that.
There are at most twenty children in each class.
My son is seven and speaks a little Spanish.
Would you like to book a visit?
Siblings get a discount of ten percent.
What are the opening hours during the holidays?
Our teachers speak several languages with the pupils.
Enrolment for next year starts in March.
How much does the after-school club cost?
Yes, the uniform is required from grade one.
You're welcome, have a nice day!
"""
PORTUGUESE = """
A escola abre às oito da manhã.
Você pode nos visitar na terça-feira à tarde.
Olá! Quantos anos tem a sua filha?
Por favor, envie os documentos até sexta-feira.
Não temos essa informação no manual.
A mensalidade do jardim de infância é 680 EUR.
Obrigada pela mensagem, ligaremos de volta.
Tem ônibus saindo do centro da cidade?
As crianças almoçam juntas no salão principal.
Desculpe, mas não posso ajudar com isso.
Há no máximo vinte alunos em cada turma.
Meu filho tem sete anos e fala um pouco de espanhol.
Gostaria de agendar uma visita?
Irmãos têm desconto de dez por cento.
Qual é o horário durante as férias?
Os professores falam várias línguas com os alunos.
As matrículas para o próximo ano começam em março.
Quanto custa a atividade depois das aulas?
Sim, o uniforme é obrigatório a partir do primeiro ano.
De nada, tenha um bom dia!
"""
SPANISH = """
La escuela abre a las ocho de la mañana.
Puede visitarnos el martes por la tarde.
¡Hola! ¿Cuántos años tiene su hija?
Por favor, envíe los documentos antes del viernes.
No tenemos esa información en el manual.
La mensualidad del jardín de infancia es de 680 EUR.
Gracias por su mensaje, le devolveremos la llamada.
¿Hay autobús desde el centro de la ciudad?
Los niños comen juntos en el salón principal.
Lo siento, pero no puedo ayudarle con eso.
Hay como máximo veinte alumnos en cada clase.
Mi hijo tiene siete años y habla un poco de portugués.
¿Le gustaría reservar una visita?
Los hermanos tienen un descuento del diez por ciento.
¿Cuál es el horario durante las vacaciones?
Los profesores hablan varios idiomas con los alumnos.
La inscripción para el próximo año empieza en marzo.
¿Cuánto cuesta la actividad después de clases?
Sí, el uniforme es obligatorio desde el primer grado.
De nada, ¡que tenga un buen día!
"""
SENTENCES = [
    (language, sentence)
    for language, block in (("en", ENGLISH), ("pt", PORTUGUESE), ("es", SPANISH))
    for sentence in block.strip().splitlines()
]


def test_there_are_sixty_sentences() -> None:
    assert len(SENTENCES) == 60


@pytest.mark.parametrize(("language", "sentence"), SENTENCES)
def test_a_sentence_is_never_taken_for_another_language(language: str, sentence: str) -> None:
    assert identify(sentence) in (language, None)
    assert identify(sentence.upper()) in (language, None)


def test_nearly_every_sentence_is_recognised() -> None:
    missed = [sentence for language, sentence in SENTENCES if identify(sentence) != language]
    assert len(missed) <= 2, missed


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_few_sentences_together_are_recognised_for_certain(language: str) -> None:
    ours = [sentence for which, sentence in SENTENCES if which == language]
    for start in range(len(ours) - 2):
        assert identify(" ".join(ours[start : start + 3])) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "OK",
        "8:30",
        "680 EUR",
        "+55 11 98765-4321",
        "👍👍",
        "Kindergarten",
        "L'école ouvre à huit heures et vous pouvez nous rendre visite avec votre enfant dans la journée.",
        "Die Schule öffnet um acht Uhr und Sie können uns mit Ihrem Kind am Dienstag besuchen.",
        "La scuola apre alle otto e non è possibile visitare gli uffici della direzione il sabato con i bambini.",
        "学校は八時に開きます",
        "Школа открывается в восемь часов утра",
    ],
)
def test_what_is_none_of_the_three_or_too_little_is_unsure(text: str) -> None:
    assert identify(text) is None


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert identify(text) in (*LANGUAGES, None)


@pytest.mark.parametrize(
    ("text", "language"),
    [("ola, gostari de visitar a escola", "pt"), ("ola quiero visitar la escuela", "es"), ("school visit", "en")],
)
def test_what_people_write_about_tells_their_language_too(text: str, language: str) -> None:
    assert identify(text) == language
