"""What can be told of an answer's manner and ground from its words; what cannot be told counts neither way."""

import pytest

from waterline.core.case import Case, Expect, Grounded, Tone
from waterline.evals.scorers import Given, Score, score_given

TEXT = "The school opens at 8:00. A bus stops in Cascais. Grade 3 costs 790 EUR a month."


def toned(text: str, *tone: Tone) -> Score:
    return score_given(Case(id="c", input="?", expect=Expect(tone=tone)), Given(text, "stop"))


@pytest.mark.parametrize(
    ("tone", "good", "bad"),
    [
        ("formal", "Buenos días, ¿en qué podemos ayudarle a usted y a su hija con la visita?",
         "Hola, ¿tú quieres venir con tu hija a la visita del colegio mañana?"),
        ("formal", "Bom dia, o senhor pode trazer os documentos da sua filha para a visita da escola.",
         "Olá, tu podes trazer os teus documentos para a visita da escola quando quiseres."),
        ("informal", "Hey, it's cool, we'll be there and you can bring your kids to the school.",
         "Dear sir, we remain at your disposal for any question about the school, with kind regards."),
        ("no_insult", "That is not possible on Sunday.", "Don't be stupid, read the page."),
        ("no_shouting", "Please send the PDF by Friday.", "PLEASE SEND THE FORM NOW"),
        ("no_shouting", "See you soon!", "Come now!!"),
        ("no_emoji", "See you soon :)", "See you soon 🎉"),
        ("thanks", "Muchas gracias por escribirnos.", "Escriba mañana."),
        ("greets", "Olá, bom dia! A escola abre às 8.", "A escola abre às 8 e fecha às 18."),
    ],
)  # fmt: skip
def test_a_tone_is_told_by_its_marks(tone: Tone, good: str, bad: str) -> None:
    assert toned(good, tone).passed
    assert not toned(bad, tone).passed
    assert toned(bad, tone).reason.startswith(f"tone.{tone}: ")


def test_a_text_without_a_mark_of_address_counts_neither_way() -> None:
    found = toned("The school opens at eight in the morning.", "formal")
    assert found.passed
    assert found.parts[0].passed is None


def grounded(text: str, **more: object) -> Score:
    wanted = Grounded(text=TEXT, **more)  # type: ignore[arg-type]
    return score_given(Case(id="c", input="When?", expect=Expect(grounded=wanted)), Given(text, "stop"))


def test_words_that_are_not_in_the_text_are_found_without_any_model() -> None:
    assert grounded("It opens at 8:00.", by=("words",)).passed
    found = grounded("It opens at 9:30.", by=("words",))
    assert not found.passed
    assert "9:30" in found.reason


def test_both_ways_are_told_and_the_case_says_whether_all_or_any_must_hold() -> None:
    pytest.importorskip("wordllama")
    same = "The school opens at 8:00."
    assert grounded(same).passed
    stray = grounded("It is rich in potassium and tastes sweet.")
    assert not stray.passed
    assert "meaning: 0." in stray.reason
    wrong = "The school opens at 9:00."
    turned = grounded(wrong)
    assert not turned.passed
    assert "meaning: held" in turned.reason  # near in meaning, and wrong: words see it
    assert "words: not in the given text: 9" in turned.reason
    assert grounded(wrong, need="any").passed
    assert not grounded("It is rich in potassium and tastes sweet.", need="any").passed
