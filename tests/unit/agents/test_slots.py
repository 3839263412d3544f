"""Names, ages, grades, telephone numbers, addresses, yes and no: what is taken, what is politely refused."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.agents.intents import asks, price_word
from waterline.agents.slots.base import Context, Found, Read, fold
from waterline.agents.slots.choices import read_choice, read_language
from waterline.agents.slots.contact import read_email, read_phone
from waterline.agents.slots.people import grade_of_age, read_age, read_grade, read_name
from waterline.agents.slots.yes_no import read_yes_no
from waterline.core.conversation import Choice
from waterline.core.flow import Grade

NOW = datetime(2026, 11, 21, 11, 0, tzinfo=ZoneInfo("Europe/Lisbon"))
ASKED = Context(NOW, "en", "PT", True)
HEARD = Context(NOW, "en", "PT", False)
GRADES = (
    Grade("nursery", (2, 3), ("nursery", "maternal")),
    Grade("kindergarten", (4, 5), ("kindergarten", "kinder", "jardim")),
    *(Grade(str(n), (n + 5,)) for n in range(1, 10)),
)


def value(read: Read) -> str:
    return "" if read is None else read.value if isinstance(read, Found) else f"!{read.reason}"


@pytest.mark.parametrize(
    ("text", "age"),
    {
        "7": "7", "seven": "7", "sete": "7", "7 anos": "7", "tem 7": "7", "she's 7": "7", "7 yo": "7", "7yrs old": "7", "Ela tem sete aninhos": "7",
        "tiene 5 años y medio": "5", "5 and a half": "5", "18 months": "1", "born in 2019": "7", "nasceu em 2020": "6", "nació en 2019": "7", "12": "12", "he is 9 now": "9",
        "99": "!not_an_age", "300": "!not_an_age", "-3": "!not_an_age", "7 and 9": "!several", "tem 7 e o outro tem 4": "!several", "5 y 8 años": "!several",
        "I don't know": "", "grade 3": "", "3º ano": "", "tuesday": "", "dez anos": "10",
    }.items(),
)  # fmt: skip
def test_an_age_that_was_asked_for(text: str, age: str) -> None:
    assert value(read_age(text, ASKED)) == age


@pytest.mark.parametrize(
    ("text", "age"),
    {
        "my daughter is 6 and we want to visit": "6", "minha filha tem 7 anos, quanto custa?": "7", "busco colegio para mi hijo de doce años": "12",
        "our boy is 4": "4", "can we come at 3": "", "grade 5 price": "", "são 2 vagas": "", "I live here for 7 years": "", "call 912 345 678": "", "quanto custa o 2o ano": "",
        "a mensalidade é 790?": "", "is it 7 km away": "",
    }.items(),
)  # fmt: skip
def test_an_age_within_another_message(text: str, age: str) -> None:
    assert value(read_age(text, HEARD)) == age


@pytest.mark.parametrize(
    ("text", "grade"),
    {
        "grade 3": "3", "3rd grade": "3", "third grade": "3", "3º ano": "3", "3o ano": "3", "terceiro ano": "3", "tercer grado": "3", "kinder": "kindergarten",
        "o jardim": "kindergarten", "NURSERY": "nursery", "2": "2", "grade 12": "!no_such_grade", "décimo ano": "!no_such_grade", "hello": "",
        "ela tem 3 anos": "", "quinto grado": "5",
    }.items(),
)  # fmt: skip
def test_a_grade(text: str, grade: str) -> None:
    assert value(read_grade(text, ASKED, GRADES)) == grade


def test_a_grade_follows_from_the_age_by_the_declared_table() -> None:
    assert [grade_of_age(age, GRADES) for age in (1, 2, 5, 6, 14, 15)] == ["", "nursery", "kindergarten", "1", "9", ""]


@pytest.mark.parametrize(
    ("text", "name"),
    {
        "Ana": "Ana", "ana souza": "Ana Souza", "my name is John Smith": "John Smith", "Meu nome é João da Silva": "João da Silva", "me llamo José Luis": "José Luis",
        "MARIA": "Maria", "sou a Beatriz, mãe do Pedro": "Beatriz", "it's Bob": "Bob", "O'Brien": "O'Brien", "Anne-Marie": "Anne-Marie", "李雷": "李雷", "Žofie Nováková": "Žofie Nováková",
        "123": "!not_a_name", "asdf": "!not_a_name", "yes": "!not_a_name", "ok": "!not_a_name", "why?": "", "how much is it per month for my son": "", "x": "!not_a_name",
        "hi, Ana": "Ana", "claro, Pedro Lopes": "Pedro Lopes", "a@b.com": "!not_a_name",
    }.items(),
)  # fmt: skip
def test_a_name_that_was_asked_for(text: str, name: str) -> None:
    assert value(read_name(text, ASKED)) == name


@pytest.mark.parametrize(
    ("text", "name"),
    {
        "hi, my name is Ana Souza and I want to visit": "Ana Souza",
        "hello, i am looking for a school": "",
        "I'm interested": "",
        "soy María, quiero visitar": "María",
        "this is great": "",
    }.items(),
)
def test_a_name_within_another_message(text: str, name: str) -> None:
    assert value(read_name(text, HEARD)) == name


@pytest.mark.parametrize(
    ("text", "phone"),
    {
        "912 345 678": "+351912345678", "+351 912345678": "+351912345678", "my number is 912-345-678 thanks": "+351912345678", "+44 20 7946 0958": "+442079460958",
        "00351912345678": "+351912345678", "123": "", "12345": "!not_a_number", "000000000": "!not_a_number", "999 999 999 999 999": "!not_a_number", "none": "",
        "24/11/2026": "", "5511987654321": "+5511987654321",
    }.items(),
)  # fmt: skip
def test_a_telephone_number(text: str, phone: str) -> None:
    assert value(read_phone(text, ASKED)) == phone


@pytest.mark.parametrize(
    ("text", "email"),
    {
        "ana@example.com": "ana@example.com", "it is Ana.Souza+x@Example.co.uk.": "ana.souza+x@example.co.uk", "ana arroba gmail ponto com": "ana@gmail.com",
        "ana at gmail dot com": "ana@gmail.com", "ana@gmial.com": "!slip", "ana@": "!incomplete", "ana@gmail,com": "ana@gmail.com", "no email": "", "a..b@c.com": "!incomplete",
    }.items(),
)  # fmt: skip
def test_an_address(text: str, email: str) -> None:
    assert value(read_email(text, ASKED)) == email


@pytest.mark.parametrize(
    ("text", "meant"),
    {
        "yes": "yes", "YESSS": "yes", "yep!": "yes", "sim": "yes", "siiim": "yes", "sí": "yes", "si por favor": "yes", "claro que sí": "yes", "claro que não": "no", "ok": "yes", "👍": "yes",
        "no": "no", "nope": "no", "não": "no", "naoo": "no", "no, Tuesday": "no", "sim, pode marcar": "yes", "por mim sim": "yes", "prefect": "yes", "confrim": "yes", "not now": "no",
        "I don't know": "", "não sei": "", "maybe": "", "no sé": "", "no sábado": "", "how much is it?": "", "Ana": "", "yes please book it": "yes", "vale": "yes", "tá bom": "yes",
        "no gracias": "no", "n": "no", "s": "yes",
    }.items(),
)  # fmt: skip
def test_yes_and_no(text: str, meant: str) -> None:
    assert value(read_yes_no(text, ASKED)) == meant


OFFERED = (Choice("a", "Tue 24 Nov 9:30"), Choice("b", "Thu 26 Nov 9:30"), Choice("c", "Others"))


@pytest.mark.parametrize(
    ("text", "chosen"),
    {
        "Tue 24 Nov 9:30": "a",
        "2": "b",
        "the second": "b",
        "la primera": "a",
        "o último": "c",
        "option 3": "c",
        "others please": "c",
        "othres": "c",
        "4": "",
        "what?": "",
        "a primeira": "a",
    }.items(),
)
def test_an_option(text: str, chosen: str) -> None:
    assert value(read_choice(text, ASKED, OFFERED)) == chosen


def test_a_language_is_asked_for_or_seen() -> None:
    languages = ("en", "pt", "es")
    assert value(read_language("pode falar em português?", HEARD, languages)) == "pt"
    assert value(read_language("english please", HEARD, languages)) == "en"
    assert value(read_language("hola, quiero saber cuánto cuesta el colegio", HEARD, languages)) == "es"
    assert value(read_language("ok", HEARD, languages)) == ""


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=120), st.sampled_from(["en", "pt", "es"]), st.booleans())
def test_no_reader_raises_and_all_say_where(text: str, language: str, asked: bool) -> None:
    context = Context(NOW, language, "PT", asked)
    assert len(fold(text)) == len(text)
    for read in (
        read_age(text, context), read_grade(text, context, GRADES), read_name(text, context), read_phone(text, context), read_email(text, context),
        read_yes_no(text, context), read_choice(text, context, OFFERED), read_language(text, context, ("en", "pt", "es")),
    ):  # fmt: skip
        if read is not None:
            assert 0 <= read.start <= read.end <= len(text)


def test_a_question_is_one_without_its_mark_and_with_any_spaces() -> None:
    assert asks("cómo es   el uniforme")
    assert asks("como são as turmas")
    assert asks("how \tmuch is \tit per month")
    assert price_word("how \tmuch is \tit per month", "en")
    assert not asks("mi hija tiene 3 años, como la suya")


def test_one_slip_in_a_short_yes_is_a_yes_only_where_nothing_else_was_said() -> None:
    for said, language in (("sjre", "en"), ("suree", "en"), ("val", "es"), ("yea", "en")):
        found = read_yes_no(said, Context(NOW, language, "PT", True))
        assert isinstance(found, Found)
        assert found.value == "yes"
    for said in ("please", "Por favor!"):
        assert isinstance(read_yes_no(said, Context(NOW, "pt", "PT", True)), Found)
    for said, language in (
        ("please call", "en"),
        ("date", "en"),
        ("male", "en"),
        ("time", "en"),
        ("sjre tuesday", "en"),
        ("hora", "es"),
    ):
        assert not isinstance(read_yes_no(said, Context(NOW, language, "PT", True)), Found)
    assert read_yes_no("sjre", Context(NOW, "en", "PT", False)) is None
