"""E-mail out, against a real SMTP server: what is promised about sending once, and faults by name."""

from collections.abc import Iterator
from email.header import decode_header, make_header
from typing import Any

import pytest
from smtp_server import Mailbox

from waterline.connectors.arguments import unknown_keyword
from waterline.connectors.base import Config, ConnectorFault, Scope
from waterline.connectors.mail import MANIFEST, Mail
from waterline.connectors.run import Ready, perform

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
PORTO = Scope("porto")
LETTER = {"to": ["ana@school.example"], "subject": "Visita às 10h", "text": "Olá Ana,\n.\numa visita.\n"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    made = Mailbox(tmp_path_factory.mktemp("smtp"))
    yield made
    made.stop()


@pytest.fixture
def box(shared: Mailbox) -> Mailbox:
    shared.how = ""
    shared.messages.clear()
    shared.envelopes.clear()
    return shared


def mail(box: Mailbox, password: str = "secret-42", **more: Any) -> Mail:
    settings = {"host": "localhost", "port": str(box.port), "user": "agent", "password": password}
    parameters = {"sender": "agent@school.example", "sender_name": "Escola Açaí", "timeout_s": 10.0, **more}
    made = Mail(Config("mail", settings, parameters))
    made.context = box.trusting()
    return made


async def fault(connector: Mail, **more: Any) -> ConnectorFault:
    with pytest.raises(ConnectorFault) as caught:
        await connector.call("send", LETTER | more, "k", PORTO)
    return caught.value


async def test_a_letter_arrives_as_it_was_written_over_tls_with_an_id_made_from_its_key(box: Mailbox) -> None:
    result = await mail(box).call("send", LETTER, "c1/2/confirmation", PORTO)
    (letter,) = box.messages
    assert result == {"message_id": letter["message-id"], "refused": []}
    assert str(make_header(decode_header(letter["subject"]))) == "Visita às 10h"
    assert letter["auto-submitted"] == "auto-generated"
    payload = letter.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().replace("\r\n", "\n") == LETTER["text"]
    assert box.envelopes[0].mail_from == "agent@school.example"


async def test_what_was_accepted_is_not_sent_again_by_the_same_process(box: Mailbox) -> None:
    made = mail(box)
    first = await made.call("send", LETTER, "k1", PORTO)
    assert await made.call("send", LETTER, "k1", PORTO) == first
    await made.call("send", LETTER, "k2", PORTO)
    assert len({m["message-id"] for m in box.messages}) == len(box.messages) == 2


async def test_a_repeat_after_a_crash_is_the_same_message_to_a_mailbox(box: Mailbox) -> None:
    """SMTP cannot promise more: sent, and the process died before it was written down."""
    await mail(box).call("send", LETTER, "k1", PORTO)
    await mail(box).call("send", LETTER, "k1", PORTO)  # another process
    assert len({m["message-id"] for m in box.messages}) == 1


async def test_a_lost_answer_is_told_as_unknown_and_never_repeated_by_the_runner(box: Mailbox) -> None:
    made = mail(box)
    box.how = "after"
    with pytest.raises(ConnectorFault, match="may have been sent") as caught:
        await perform(Ready(made, Config("mail")), "send", LETTER, "k", PORTO)
    assert caught.value.kind == "slow"
    assert len(box.messages) == 1
    stops = mail(box, in_doubt="stop")
    box.how = "after"
    assert (await fault(stops)).kind == "refused"  # a person looks


@pytest.mark.parametrize(
    "more",
    [
        {"subject": "Hi\r\nBcc: all@evil.example"},
        {"subject": "Hi\nBcc: all@evil.example"},
        {"to": ["ana@school.example\r\nRCPT TO:<x@evil.example>"]},
        {"to": ["ana@school.example> <x@evil.example"]},
        {"reply_to": "x@y.example\nBcc: all@evil.example"},
    ],
)
async def test_no_text_of_a_user_becomes_a_header_or_a_recipient(box: Mailbox, more: dict[str, Any]) -> None:
    assert (await fault(mail(box), **more)).kind == "invalid"
    assert box.messages == []


async def test_mail_goes_only_to_the_domains_that_are_declared(box: Mailbox) -> None:
    made = mail(box, domains=["school.example"])
    assert (await fault(made, to=["ana@evil.example"])).kind == "invalid"
    assert await made.call("send", LETTER, "k", PORTO)


async def test_a_recipient_that_is_refused_is_told_and_the_others_get_it(box: Mailbox) -> None:
    both = LETTER | {"to": ["ana@school.example", "nobody@school.example"]}
    assert (await mail(box).call("send", both, "k", PORTO))["refused"] == ["nobody@school.example"]
    assert (await fault(mail(box), to=["nobody@school.example"])).kind == "refused"


@pytest.mark.parametrize(
    ("how", "kind"),
    [("slow", "slow"), ("down", "down"), ("greylist", "down"), ("credentials", "credentials"),
     ("certificate", "credentials"), ("no_tls", "schema"), ("garbage", "data"), ("full", "refused")],
)  # fmt: skip
async def test_a_fault_has_its_name_and_is_over_when_its_cause_is(box: Mailbox, how: str, kind: str) -> None:
    made = mail(box, "wrong-secret" if how == "credentials" else "secret-42", timeout_s=0.5 if how == "slow" else 10.0)
    if how == "certificate":
        made.context = None  # an authority that nobody knows
    box.how = how
    if how in ("down", "no_tls"):
        box.stop()
    if how == "no_tls":
        box.begin()
    try:
        found = await fault(made)
    finally:
        if how == "no_tls":
            box.stop()
        box.how = ""
        if how in ("down", "no_tls"):
            box.begin()
    assert found.kind == kind, found.message
    assert "secret" not in found.message
    assert box.messages == []
    assert await mail(box).call("send", LETTER, "k", PORTO)


def test_its_schemas_are_those_that_arguments_are_checked_by() -> None:
    assert unknown_keyword(MANIFEST.operations[0].parameters) == ""
    assert unknown_keyword(Mail.PARAMETERS) == ""
