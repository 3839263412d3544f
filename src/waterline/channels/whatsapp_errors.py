"""What each error code of WhatsApp's Cloud API means for us. One table; a code that is not in it is told by its HTTP
status. Source: developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes (November 2026)."""

from typing import Literal

from msgspec import Struct

from waterline.channels.base import FaultKind, SendFault

Slows = Literal["", "number", "pair", "campaign", "portfolio", "template"]


class Rule(Struct, frozen=True):
    code: int
    kind: FaultKind
    meaning: str
    step: str  # what people, or we, do next
    slows: Slows = ""  # what is to be slowed or paused besides this message
    after_s: float | None = None  # the least wait before it is tried again


def _rule(
    code: int, kind: FaultKind, meaning: str, step: str, slows: Slows = "", after_s: float | None = None
) -> tuple[int, Rule]:
    return code, Rule(code, kind, meaning, step, slows, after_s)


RULES: dict[int, Rule] = dict(
    (
        # Too fast: nothing was sent.
        _rule(4, "later", "the app's calls are over their limit", "we slow down", "number", 60),
        _rule(80007, "later", "the account's calls are over their limit", "we slow down", "number", 60),
        _rule(130429, "later", "this number sends too fast", "we slow the number down", "number", 5),
        _rule(131056, "later", "too many messages to this user from this number", "we slow the pair down", "pair", 6),
        _rule(131048, "later", "messages of this number were blocked or reported as spam",
              "templates of this number are paused; look at its quality rating", "campaign", 3600),
        _rule(131064, "later", "the portfolio's messaging limit is reached",
              "conversations that we begin wait until users leave the 24-hour count", "portfolio", 3600),
        # Trouble of theirs.
        _rule(1, "later", "unknown error of the API", "we try again", after_s=10),
        _rule(2, "later", "the API is unavailable", "we try again", after_s=30),
        _rule(131000, "later", "something went wrong at WhatsApp", "we try again", after_s=10),
        _rule(131016, "later", "a service of WhatsApp is overloaded", "we try again", after_s=30),
        _rule(131057, "later", "the account is in maintenance mode", "we try again", "number", 300),
        _rule(133004, "later", "WhatsApp's server is temporarily unavailable", "we try again", after_s=30),
        # The window.
        _rule(131047, "window_closed", "the user wrote more than 24 hours ago", "send a template"),
        # This user, this message.
        _rule(131026, "never", "the message cannot be delivered to this user",
              "the number has no WhatsApp, or an old version of it; reach the person in another way"),
        _rule(131021, "never", "sender and recipient are the same number", "correct the recipient"),
        _rule(130472, "never", "the user is part of an experiment of Meta's", "reach the person in another way"),
        _rule(130497, "never", "the account may not write to users of this country", "see the account's restrictions"),
        _rule(100, "never", "a parameter is not supported or is misspelt", "this is a mistake of ours: report it"),
        _rule(131008, "never", "a required parameter is missing", "this is a mistake of ours: report it"),
        _rule(131009, "never", "the value of a parameter is not valid", "shorten or correct the message"),
        _rule(131051, "never", "this type of message is not supported", "send text"),
        _rule(131052, "never", "the user's file cannot be downloaded", "ask the user to send it again"),
        _rule(131053, "never", "the file cannot be uploaded", "check its type and size"),
        _rule(135000, "never", "WhatsApp does not say what is wrong with the message", "check its content"),
        # The user's choice.
        _rule(131049, "opted_out", "WhatsApp keeps this marketing message from the user", "do not send it again"),
        _rule(131050, "opted_out", "the user has stopped marketing messages", "respect it"),
        # Templates.
        _rule(132000, "template", "the number of parameters does not fit the template", "correct the flow", "template"),
        _rule(132001, "template", "there is no such template in this language, or it is not approved",
              "create it, or wait for its approval", "template"),
        _rule(132005, "template", "the filled-in text is too long", "shorten the parameters"),
        _rule(132007, "template", "the template's content violates a policy", "edit it", "template"),
        _rule(132012, "template", "the format of a parameter does not fit the template", "correct the flow"),
        _rule(132015, "template", "the template is paused for low quality", "edit it, or wait", "template"),
        _rule(132016, "template", "the template was disabled for low quality", "make another one", "template"),
        # The number, the account, our own rights.
        _rule(368, "number_stopped", "the account is blocked for a violation of policy", "see Business Support Home"),
        _rule(131031, "number_stopped", "the account is locked", "see Business Support Home"),
        _rule(131042, "number_stopped", "the account's payment method has a problem", "correct it in Business Manager"),
        _rule(131037, "number_stopped", "the number's display name is not approved", "have it approved"),
        _rule(131045, "number_stopped", "the number is not registered correctly", "register it"),
        _rule(133010, "number_stopped", "the number is not registered", "register it"),
        _rule(131005, "number_stopped", "our token lacks a permission", "give it whatsapp_business_messaging"),
        _rule(10, "number_stopped", "our token lacks a permission", "give it whatsapp_business_messaging"),
        _rule(190, "number_stopped", "our token is expired or revoked", "make a new one: WATERLINE_WHATSAPP_TOKEN"),
    )
)  # fmt: skip


def rule_of(code: int, status: int) -> Rule:
    """`status`: HTTP's, for a code that the table has not."""
    found = RULES.get(code)
    if found is not None:
        return found
    if 200 <= code <= 299:
        return Rule(code, "number_stopped", "our token lacks a permission", "give it whatsapp_business_messaging")
    if status == 401:
        return RULES[190]
    if status == 429:
        return Rule(code, "later", "too many calls", "we slow down", "number", 30)
    if status >= 500 or status == 0:
        return Rule(code, "later", "the API failed", "we try again", after_s=10)
    return Rule(code, "never", f"the API refused the message (HTTP {status})", "see the code in Meta's documentation")


def fault(code: int, status: int, details: str = "", retry_after_s: float | None = None) -> SendFault:
    """`details`: what the API said of it; it holds no secret of ours."""
    rule = rule_of(code, status)
    said = f" ({details[:300]})" if details else ""
    waits = [s for s in (rule.after_s, retry_after_s) if s is not None]
    return SendFault(
        rule.kind,
        f"WhatsApp error {code}: {rule.meaning}{said}. Next: {rule.step}.",
        retry_after_s=max(waits) if waits and rule.kind == "later" else None,
        code=code,
    )
