"""Telephone numbers (E.164) and e-mail addresses."""

import re

from waterline.agents.slots.base import MAX_CHARS, Context, Found, Read, Refused, fold

_PHONE = re.compile(r"(?<![\w@.])\+?\(?\d[\d\s().\-/]{5,22}\d(?![\w@])")
_DATE = re.compile(r"\d{1,4}[/.-]\d{1,2}[/.-]\d{2,4}|\d{1,2}[:h]\d\d")
_EMAIL = re.compile(r"[a-z0-9][a-z0-9._%+'-]{0,63}@[a-z0-9](?:[a-z0-9-]{0,62}\.)+[a-z]{2,24}", re.ASCII)
_LOOSE = re.compile(
    r"([a-z0-9][a-z0-9._%+-]{0,63})\s?(?:@|\(at\)|\[at\]|\barroba\b|\bat\b)\s?([a-z0-9-]{2,63})"
    r"((?:\s?(?:\.|,|\bdot\b|\bponto\b|\bpunto\b)\s?[a-z]{2,10}){1,3})\b"
)
_AT = re.compile(r"\S*@\S*")
_SLIPS = {
    "gmial.com": "gmail.com", "gmai.com": "gmail.com", "gmal.com": "gmail.com", "gmail.co": "gmail.com",
    "gmail.con": "gmail.com", "gnail.com": "gmail.com", "gmaill.com": "gmail.com", "hotmial.com": "hotmail.com",
    "hotmal.com": "hotmail.com", "hotmail.con": "hotmail.com", "hotmail.co": "hotmail.com", "yaho.com": "yahoo.com",
    "yahoo.con": "yahoo.com", "outlok.com": "outlook.com", "outlook.con": "outlook.com", "iclod.com": "icloud.com",
}  # fmt: skip


def read_email(text: str, context: Context) -> Read:
    """Refused: "incomplete" (an @ without a domain), "slip" (gmial.com, with a suggestion)."""
    folded = fold(text)
    found = _EMAIL.search(folded)
    start, end = (found.start(), found.end()) if found else (0, 0)
    address = found.group() if found else ""
    if not found and (loose := _LOOSE.search(folded)) and ("@" in loose.group() or context.asked):
        domain = re.sub(r"\s?(\.|,|\bdot\b|\bponto\b|\bpunto\b)\s?", ".", loose.group(3))
        start, end, address = loose.start(), loose.end(), f"{loose.group(1)}@{loose.group(2)}{domain}"
    if not address:
        at = _AT.search(folded)
        return Refused("incomplete", at.start(), at.end()) if at and context.asked else None
    local, domain = address.rsplit("@", 1)
    if ".." in address or local.endswith("."):
        return Refused("incomplete", start, end)
    if domain in _SLIPS:
        return Refused("slip", start, end, f"{local}@{_SLIPS[domain]}")
    return Found(address, start, end)


def read_phone(text: str, context: Context) -> Read:
    """Refused: "not_a_number" where the digits are no number that can be called from here."""
    import phonenumbers

    text = text[:MAX_CHARS]
    bad: Refused | None = None
    for found in _PHONE.finditer(text):
        digits = sum(c.isdecimal() for c in found.group())
        if digits < 7 or (_DATE.search(found.group()) and digits <= 8):
            continue
        for region in (context.region, None):
            try:
                parsed = phonenumbers.parse(found.group() if region else "+" + found.group().lstrip("+"), region)
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number(parsed) and (region or digits >= 11):
                value = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
                return Found(value, found.start(), found.end())
        bad = bad or Refused("not_a_number", found.start(), found.end())
    if bad is None and context.asked and (short := re.search(r"(?<![\d/.])\d[\d\s-]{3,}(?![/.]?\d)", text)):
        bad = Refused("not_a_number", short.start(), short.end())
    return bad if bad is not None and (context.asked or bad.end - bad.start >= 9) else None
