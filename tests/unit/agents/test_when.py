"""What people write for a day and a time, at a fixed moment: Saturday, 21 November 2026, 11:00 in Lisbon."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from waterline.agents.slots.base import Context, Refused
from waterline.agents.slots.when import When, read_when

LISBON = ZoneInfo("Europe/Lisbon")
NOW = datetime(2026, 11, 21, 11, 0, tzinfo=LISBON)  # a Saturday


def shown(text: str, language: str = "en", region: str = "PT", asked: bool = True, now: datetime = NOW) -> str:
    """ "24 15:00", "24,26", "24 12:00-18:00", "-24" (avoided), "!past"; days without their November."""
    read = read_when(text, Context(now, language, region, asked))
    if read is None:
        return ""
    if isinstance(read, Refused):
        return f"!{read.reason}"
    days = [d.removeprefix("2026-11-").removeprefix("2026-") for d in read.days]
    found = f"{days[0]}..{days[-1]}" if len(days) > 3 else ",".join(days)
    if read.minute is not None:
        found += f" {read.minute // 60}:{read.minute % 60:02}"
    elif read.timed:
        found += f" {read.from_min // 60}-{read.to_min // 60}"
    if read.avoid:
        found += " -" + ",".join(d[8:] for d in read.avoid)
    return found.strip()


ENGLISH = {
    "tomorrow": "22", "tomorrow at 3": "22 15:00", "Tomorrow afternoon": "22 12-18", "tmrw morning": "22 6-12",
    "tomorow at 9:30": "22 9:30", "today at 4pm": "21 16:00", "day after tomorrow": "23", "Tuesday": "24", "tuesday at 3": "24 15:00",
    "next Tuesday at 3": "24 15:00", "on tuesday, 9:30": "24 9:30", "Tues 10am": "24 10:00", "thursday 9.30": "26 9:30", "Thu at 10": "26 10:00",
    "this thursday": "26", "Saturday": "28", "next saturday": "28", "friday evening": "27 17-22", "monday at noon": "23 12:00",
    "monday at half past 9": "23 9:30", "tuesday quarter past ten": "24 10:15", "thursday at quarter to 10": "26 9:45", "tuesday after 2": "24 14-24",
    "tuesday before 11": "24 0-11", "tuesday between 2 and 4pm": "24 14-16", "tuesday from 9 to 11": "24 9-11", "Tuesday or Thursday": "24,26",
    "any tuesday": "24,12-01,12-08", "tuesdays": "24,12-01,12-08", "next week": "23..29", "next week tuesday": "24", "tuesday next week": "24",
    "this weekend": "21,22", "in 3 days": "24", "in two weeks": "12-05", "in a week": "28", "in 2 hours": "21 13:00", "3 days from now": "24",
    "the 24th": "24", "on the 26th at 9:30": "26 9:30", "24 November": "24", "November 24th": "24", "Nov 24 at 3pm": "24 15:00", "24th of november 2026": "24",
    "2026-11-24": "24", "2026-11-24 15:30": "24 15:30", "24/11": "24", "24/11/2026": "24", "24/11/26 9:30": "24 9:30", "24.11.2026": "24", "at 3": "15:00",
    "3pm": "15:00", "9:30": "9:30", "9.30 am": "9:30", "930am": "9:30", "10 o'clock": "10:00", "noon": "12:00", "in the morning": "6-12", "afternoons": "12-18",
    "no, Tuesday": "24", "no, wait, Wednesday": "25", "Tuesday, sorry, I mean Thursday at 9": "26 9:00", "Tuesday at 3, actually Wednesday": "25 15:00",
    "not Tuesday": "-24", "not tuesday, thursday": "26 -24", "Tuesday doesn't work": "-24", "Tuesday I can't, Thursday?": "26 -24", "instead of tuesday": "-24",
    "yesterday": "!past", "last week": "!past", "2020-01-01": "!past", "today at 9am": "!past", "30 February": "!no_such_date", "31/11": "!no_such_date",
    "the 35th": "!no_such_date", "tuesday at 25:00": "!no_such_time", "2029-11-24": "!too_far", "Tuesday 25 November": "!conflict", "wednesday 25 november": "25",
    "as soon as possible": "22..12-05", "any day": "22..12-05", "whenever": "22..12-05", "next month": "12-01..12-31", "next month, the 10th": "12-10", "on the 3rd of next month at 10": "12-03 10:00", "wensday": "25", "thrusday at 9": "26 9:00", "thursayd at 9": "26 9:00",
    "tuseday": "24", "TUESDAY AT 3 PM": "24 15:00", "would tuesday at 9:30 am be ok?": "24 9:30", "january 5th": "2027-01-05", "can we come in the evening": "17-22",
    "hello": "", "good morning": "", "Good afternoon!": "", "my daughter is 7": "", "how much is grade 3?": "", "thanks a lot": "", "she is in 2nd grade": "",
    "what about tomorrow after 4pm?": "22 16-24", "tomorrow 10ish, about 10:00": "22 10:00", "by 11 on tuesday": "24 0-11", "the 24th in the afternoon": "24 12-18",
}  # fmt: skip
PORTUGUESE = {
    "dia 10 do mês que vem": "12-10", "no mês que vem, dia 8 às 9:30": "12-08 9:30",
    "amanhã": "22", "amanha a tarde": "22 12-18", "amanhã à tarde": "22 12-18", "amanhã de manhã": "22 6-12", "amanhã às 10": "22 10:00", "depois de amanhã": "23",
    "depois de amanhã às 9h30": "23 9:30", "hoje às 16h": "21 16:00", "hj a tarde": "21 12-18", "terça": "24", "terça-feira": "24", "terca feira as 9 e meia": "24 9:30",
    "na próxima terça": "24", "terça que vem": "24", "próxima quinta às 9:30": "26 9:30", "quinta de manhã": "26 6-12", "quinta-feira, 15h": "26 15:00",
    "sexta às 3 da tarde": "27 15:00", "sexta as três": "27 15:00", "segunda às 8": "23 8:00", "segunda-feira": "23", "na segunda": "23", "sábado": "28", "no sábado": "28",
    "domingo": "22", "fim de semana": "21,22", "semana que vem": "23..29", "na próxima semana": "23..29", "terça da semana que vem": "24", "daqui a 3 dias": "24",
    "daqui a duas semanas": "12-05", "em uma semana": "28", "daqui a 2 horas": "21 13:00", "dia 24": "24", "dia 24 às 15h30": "24 15:30", "24 de novembro": "24",
    "24 de nov às 9": "24 9:00", "24/11 às 14:00": "24 14:00", "5 de março": "2027-03-05", "1º de dezembro": "12-01", "primeiro de dezembro": "12-01", "meio-dia": "12:00",
    "ao meio dia e meia": "12:30", "às 3": "15:00", "as 9h": "9:00", "9h30": "9:30", "às quinze para as 10": "9:45", "depois das 16h": "16-24", "a partir das 4": "16-24",
    "antes das 11": "0-11", "entre 14h e 16h": "14-16", "das 9 às 11": "9-11", "de manhã": "6-12", "pela manhã": "6-12", "à noite": "17-22", "terça ou quinta": "24,26",
    "às terças": "24,12-01,12-08", "qualquer dia": "22..12-05", "tanto faz": "22..12-05", "não, terça": "24", "terça não, quinta": "26 -24", "terça não posso": "-24",
    "em vez de terça, quinta": "26 -24", "quer dizer, quinta": "26", "terça às 9, aliás, quinta": "26 9:00", "ontem": "!past", "semana passada": "!past",
    "31 de fevereiro": "!no_such_date", "terça, 25 de novembro": "!conflict", "às 25h": "!no_such_time", "bom dia": "", "boa tarde!": "", "boa noite, tudo bem?": "",
    "minha filha tem 7 anos": "", "quanto custa o segundo ano?": "", "quero saber da quarta série": "", "mês que vem": "12-01..12-31", "tersa feira": "24",
    "quinta q vem as 10": "26 10:00", "sexta à tarde, depois das 3": "27 15-24", "pode ser amanhã de tarde?": "22 12-18", "esta quinta": "26",
}  # fmt: skip
SPANISH = {
    "el 10 del mes que viene": "12-10",
    "mañana": "22", "manana por la manana": "22 6-12", "mañana por la mañana": "22 6-12", "mañana por la tarde": "22 12-18", "mañana a las 10": "22 10:00", "por la mañana": "6-12",
    "pasado mañana": "23", "pasado mañana a las 9:30": "23 9:30", "hoy a las 4": "21 16:00", "hoy por la tarde": "21 12-18", "el lunes": "23", "el lunes a las 10": "23 10:00",
    "lunes a las 10 de la mañana": "23 10:00", "el martes a las 3 de la tarde": "24 15:00", "martes": "24", "el próximo martes": "24", "el martes que viene": "24",
    "martes de la semana que viene": "24", "miércoles": "25", "miercoles al mediodia": "25 12:00", "jueves a las nueve y media": "26 9:30", "jueves a las 10 y cuarto": "26 10:15",
    "jueves a las 10 menos cuarto": "26 9:45", "viernes por la tarde": "27 12-18", "el sábado": "28", "domingo": "22", "este fin de semana": "21,22", "la semana que viene": "23..29",
    "la próxima semana": "23..29", "dentro de 3 días": "24", "en dos semanas": "12-05", "en una semana": "28", "dentro de dos horas": "21 13:00", "el día 24": "24", "el 24": "24",
    "el 24 a las 15:30": "24 15:30", "24 de noviembre": "24", "el 24 de noviembre a las 9": "24 9:00", "24/11": "24", "5 de marzo": "2027-03-05", "a las 3": "15:00", "a las tres": "15:00",
    "a las 9:30": "9:30", "15h": "15:00", "después de las 4": "16-24", "a partir de las 4": "16-24", "antes de las 11": "0-11", "entre las 2 y las 4": "14-16", "de 9 a 11": "9-11",
    "martes o jueves": "24,26", "los martes": "24,12-01,12-08", "cualquier día": "22..12-05", "lo antes posible": "22..12-05", "no, el martes": "24", "el martes no, el jueves": "26 -24",
    "el martes no puedo": "-24", "en vez del martes, el jueves": "26 -24", "el martes, perdón, el jueves": "26", "mejor el jueves": "26", "ayer": "!past", "la semana pasada": "!past",
    "30 de febrero": "!no_such_date", "martes 25 de noviembre": "!conflict", "a las 26:00": "!no_such_time", "buenos días": "", "buenas tardes": "", "buenas noches": "",
    "mi hija tiene 7 años": "", "cuánto cuesta el segundo grado?": "", "el mes que viene": "12-01..12-31", "el juebes a las 10": "26 10:00", "martez": "24",
    "puede ser mañana en la tarde?": "22 12-18", "el viernes en la mañana": "27 6-12", "este jueves": "26",
}  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), ENGLISH.items())
def test_english(text: str, meant: str) -> None:
    assert shown(text, "en") == meant


@pytest.mark.parametrize(("text", "meant"), PORTUGUESE.items())
def test_portuguese(text: str, meant: str) -> None:
    assert shown(text, "pt") == meant


@pytest.mark.parametrize(("text", "meant"), SPANISH.items())
def test_spanish(text: str, meant: str) -> None:
    assert shown(text, "es") == meant


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert len(ENGLISH) + len(PORTUGUESE) + len(SPANISH) >= 220


@pytest.mark.parametrize(
    ("now", "text", "meant"),
    [
        (datetime(2026, 11, 24, 9, 0), "tuesday", "12-01"),  # today is one: the next
        (datetime(2026, 11, 24, 9, 0), "this tuesday", "12-01"),
        (datetime(2026, 11, 23, 9, 0), "next tuesday", "12-01"),  # of the week after this one
        (datetime(2026, 11, 22, 9, 0), "domingo", "29"),
        (datetime(2026, 12, 30, 9, 0), "5/1", "2027-01-05"),
        (datetime(2026, 12, 31, 23, 59), "tomorrow", "2027-01-01"),
        (datetime(2028, 2, 27, 9, 0), "29 de fevereiro", "2028-02-29"),
        (datetime(2026, 3, 28, 9, 0), "tomorrow at 01:30", "!no_such_time"),  # Lisbon's clocks jump from 1:00 to 2:00
        (datetime(2026, 3, 28, 9, 0), "tomorrow at 10", "03-29 10:00"),
        (datetime(2026, 10, 24, 23, 30), "in 3 hours", "10-25 1:30"),  # and go back at 2:00: an hour passes twice
    ],
)
def test_other_days_to_ask_on(now: datetime, text: str, meant: str) -> None:
    assert shown(text, "en", now=now.replace(tzinfo=LISBON)) == meant


def test_the_month_stands_first_in_the_united_states_only() -> None:
    assert shown("12/11", region="US") == "12-11"
    assert shown("12/11", region="PT") == "2027-11-12"
    assert shown("11/24", region="PT") == "24"  # there is no 24th month


def test_what_was_read_stands_where_it_is_said_to_stand() -> None:
    text = "Olá! Amanhã às 10 está óptimo"
    read = read_when(text, Context(NOW, "pt", "PT", True))
    assert isinstance(read, When)
    assert text[read.start : read.end] == "Amanhã às 10"


WORDS = st.sampled_from(
    ["no", "não", "not", "next", "próxima", "el", "la", "las", "às", "at", "a", "de", "do", "da", "tuesday", "terça", "martes", "amanhã", "mañana", "pasado", "in", "daqui", "dentro", "0", "3", "31", "99", "2026", "24/11", "99/99", "9:30", "25:99", "half", "past", "meia", "media", "y", "menos", "e", "depois", "antes", "after", "between", "entre", "1.1.1", "semana", "week", "month", "fim", "1º", "29", "fevereiro", "feb", "-3", "+4", ",", ".", ":", "/", "--", "\n", "😀"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=12).map(" ".join)),
    st.sampled_from(["en", "pt", "es"]),
    st.booleans(),
)
@example("AFTER 0", "en", False)
def test_nothing_that_is_typed_raises(text: str, language: str, asked: bool) -> None:
    read = read_when(text, Context(NOW, language, "PT", asked))
    if read is not None:
        assert 0 <= read.start <= read.end <= len(text)
    if isinstance(read, When):
        assert read.days or read.avoid or read.timed
        assert read.minute is None or 0 <= read.minute < 24 * 60
