"""What somebody wrote in a mail, without what they quoted; and what is never answered."""

import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.channels.email_parse import answer, message_id, parse, without_quotes
from waterline.core.channels import EmailPolicy
from waterline.core.conversation import Alias, Inbound

OURS = "office@school.example"
NOW = 1_800_000_000_000_000


def mail(text: str = "Hello", **headers: str) -> EmailMessage:
    made = EmailMessage(policy=email.policy.SMTP)
    given = {"From": "Ana Silva <Ana@home.example>", "To": OURS, "Subject": "A visit",
             "Message-ID": "<m1@home.example>",
             "Date": "Fri, 20 Nov 2026 10:00:00 +0000"}  # fmt: skip
    for name, value in (given | {k.replace("_", "-"): v for k, v in headers.items()}).items():
        if value:
            made[name] = value
    made.set_content(text)
    return made


def parsed(made: EmailMessage | bytes, policy: EmailPolicy | None = None) -> Inbound | None:
    raw = made if isinstance(made, bytes) else made.as_bytes()
    return parse(raw, OURS, policy or EmailPolicy(), NOW).message


def test_a_mail_is_a_message_of_its_sender() -> None:
    got = parsed(mail("Is there a place?", In_Reply_To="<m0@school.example>"))
    assert got is not None
    assert (got.sender, got.name, got.text, got.subject) == (
        "ana@home.example", "Ana Silva", "Is there a place?", "A visit",
    )  # fmt: skip
    assert (got.message_id, got.reply_to) == ("m1@home.example", "m0@school.example")
    assert got.aliases == (Alias("email", "ana@home.example"),)
    assert got.at_us == 1_795_168_800_000_000


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"}, {"Auto_Submitted": "auto-generated; x=y"}, {"Precedence": "bulk"},
        {"Precedence": "list"}, {"List_Id": "<news.example>"}, {"X_Autoreply": "yes"}, {"Return_Path": "<>"},
        {"From": "MAILER-DAEMON@home.example"}, {"From": "no-reply@shop.example"}, {"From": OURS.upper()},
        {"X_Loop": OURS}, {"From": ""}, {"From": "spammer@bad.example"}, {"List_Unsubscribe": "<mailto:x@y>"},
    ],
)  # fmt: skip
def test_automatic_mails_and_loops_are_ignored(headers: dict[str, str]) -> None:
    assert parsed(mail(**headers), EmailPolicy(ignore=("@bad.example",))) is None


def test_our_own_answer_would_be_ignored_by_us() -> None:
    sent = answer(
        address=OURS, to="a@b.example", text="Hi", subject="", key="k", before=None, policy=EmailPolicy(),
    )  # fmt: skip
    assert sent["Auto-Submitted"] == "auto-replied"
    assert parse(sent.as_bytes(), "another@machine.example", EmailPolicy(), NOW).ignored


@pytest.mark.parametrize(
    "quoted",
    [
        "On Fri, 20 Nov 2026 at 10:00, Office <office@school.example> wrote:\n> old\n> text",
        "Em sex., 20 de nov. de 2026 às 10:00, Escola <office@school.example> escreveu:\n\n> antigo",
        "El vie, 20 nov 2026 a las 10:00, Colegio (<office@school.example>) escribió:\n> viejo",
        "-----Original Message-----\nFrom: Office\nold",
        "________________________________\nFrom: Office\nSent: Friday\nold",
        "From: Office <office@school.example>\nSent: Friday, 20 November\nTo: Ana\nold",
        "-- \nAna Silva\nDirector of things",
        "> everything\n> quoted",
    ],
)
def test_what_is_quoted_is_not_said_again(quoted: str) -> None:
    assert without_quotes(f"Tuesday is good.\nThank you!\n\n{quoted}") == "Tuesday is good.\nThank you!"


def test_a_mail_that_is_only_a_quotation_stays() -> None:
    assert without_quotes("> hello") == "> hello"


def test_html_is_read_where_there_is_no_text() -> None:
    made = mail()
    made.set_content(
        "<html><head><style>p{color:red}</style></head><body><p>Good morning</p><p>Tuesday?</p>"
        "<blockquote>old text</blockquote><script>alert(1)</script></body></html>", subtype="html",
    )  # fmt: skip
    got = parsed(made)
    assert got is not None
    assert got.text == "Good morning\nTuesday?"


def test_the_text_of_several_parts_counts_and_an_attachment_is_told() -> None:
    made = mail("See the form")
    made.add_alternative("<p>See the form</p>", subtype="html")
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="ficha de inscrição.pdf")
    got = parsed(made)
    assert got is not None
    assert got.text == "See the form"
    assert got.media is not None
    assert (got.media.mime, got.media.name, got.media.bytes) == ("application/pdf", "ficha de inscrição.pdf", 4)


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        ("utf-8", "inscrição".encode()), ("iso-8859-1", "inscrição".encode("latin-1")),
        ("utf-8", "inscrição".encode("latin-1")),  # a lie
        ("no-such-charset", "inscrição".encode()), ("us-ascii", "inscrição".encode()),
    ],
)  # fmt: skip
def test_a_wrong_charset_does_not_cost_the_message(charset: str, data: bytes) -> None:
    raw = (
        b"From: a@b.example\r\nMessage-ID: <x>\r\nContent-Type: text/plain; charset=%b\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\n%b" % (charset.encode(), data)
    )
    got = parsed(raw)
    assert got is not None
    assert got.text == "inscrição"


def test_encoded_headers_are_read() -> None:
    got = parsed(mail(Subject="=?utf-8?q?Inscri=C3=A7=C3=A3o?= =?iso-8859-1?q?_do_Jo=E3o?=",
                      From="=?utf-8?b?QW5hIMSM?= <a@b.example>"))  # fmt: skip
    assert got is not None
    assert (got.subject, got.name) == ("Inscrição do João", "Ana Č") or got.subject.startswith("Inscrição")


def test_a_delivery_report_is_a_status_of_our_mail() -> None:
    ours = message_id(OURS, "k1")
    raw = (
        'From: MAILER-DAEMON@home.example\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"'
        "\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsorry\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; home.example\r\n\r\nFinal-Recipient: rfc822; ana@home.example\r\nAction: failed\r\n"
        "Diagnostic-Code: smtp; 550 no such user\r\n\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"Message-ID: <{ours}>\r\n\r\n--b--\r\n"
    ).encode()
    got = parse(raw, OURS, EmailPolicy(), NOW)
    assert got.message is None
    assert got.status is not None
    assert (got.status.message_id, got.status.state, got.status.reason) == (ours, "failed", "smtp; 550 no such user")


def test_an_answer_stays_in_its_thread_and_a_repeat_is_the_same_mail() -> None:
    before = parsed(mail(In_Reply_To="<m0@school.example>"))
    sent = [
        answer(address=OURS, to="a@b.example", text="Yes", subject="", key="k", before=before, policy=EmailPolicy())
        for _ in range(2)
    ]
    assert sent[0]["Subject"] == "Re: A visit"
    assert sent[0]["In-Reply-To"] == "<m1@home.example>"
    assert sent[0]["References"] == "<m0@school.example> <m1@home.example>"
    assert sent[0]["Message-ID"] == sent[1]["Message-ID"]


def test_a_header_cannot_be_smuggled_into_our_answer() -> None:
    evil = parsed(mail(Subject="x"))
    assert evil is not None
    sent = answer(
        address=OURS, to="a@b.example", text="Hi", subject="a\r\nBcc: all@b.example", key="k", before=evil,
        policy=EmailPolicy(),
    )  # fmt: skip
    assert sent["Bcc"] is None


@given(st.binary(max_size=600))
def test_whatever_the_bytes_are_a_mail_is_parsed_or_ignored(raw: bytes) -> None:
    parse(b"From: a@b.example\r\n" + raw, OURS, EmailPolicy(), NOW)
