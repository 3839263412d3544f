"""The templates of the account and their approval, so that what WhatsApp would refuse is refused by us first."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from waterline.channels.base import SendFault
from waterline.channels.whatsapp_parse import AccountEvent
from waterline.core.conversation import Template
from waterline.store.channels import TemplateRow

LENGTH = 1024  # of a filled-in body


class Templates:
    """Empty until it is synced: then nothing is refused, WhatsApp decides."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], TemplateRow] = {}

    def restore(self, rows: list[TemplateRow]) -> None:
        self.rows = {(row.name, row.language): row for row in rows}

    def meant(self, template: Template) -> Template:
        """In the language that exists: a conversation in "pt" takes the one in "pt_PT", an approved one first."""
        if not self.rows or (template.name, template.language) in self.rows:
            return template
        spoken = template.language.partition("_")[0]
        near = [
            r for (name, code), r in self.rows.items() if name == template.name and code.partition("_")[0] == spoken
        ]
        near.sort(key=lambda r: (r.status != "APPROVED", r.language))
        return replace(template, language=near[0].language) if near else template

    def category(self, template: Template, otherwise: str) -> str:
        row = self.rows.get((template.name, template.language))
        return row.category if row is not None and row.category else otherwise

    def check(self, template: Template) -> None:
        """Raises SendFault: there is no such template, it is not approved, or the parameters do not fit it."""
        if not self.rows:
            return
        row = self.rows.get((template.name, template.language))
        called = f'Template "{template.name}" ({template.language})'
        if row is None:
            others = sorted(language for name, language in self.rows if name == template.name)
            there = f"It exists in {', '.join(others)}." if others else "Create it in WhatsApp Manager."
            raise SendFault("template", f"{called} does not exist. {there}", code=132001)
        if row.status != "APPROVED":
            code = {"PAUSED": 132015, "DISABLED": 132016}.get(row.status, 132001)
            why = f" ({row.reason})" if row.reason not in ("", "NONE") else ""
            raise SendFault(
                "template", f"{called} is {row.status.lower()}{why}. Edit it in WhatsApp Manager.", code=code
            )
        if len(template.parameters) != row.parameters:
            raise SendFault(
                "template",
                f"{called} takes {row.parameters} parameters, not {len(template.parameters)}. Correct the flow.",
                code=132000,
            )
        if len(row.body) + sum(map(len, template.parameters)) > LENGTH:
            raise SendFault("template", f"{called} is longer than {LENGTH} characters when filled in.", code=132005)

    def synced(self, account: str, found: list[Mapping[str, Any]], now_us: int) -> list[TemplateRow]:
        """All of the account's templates as they are now; those that are gone are kept as DELETED."""
        rows = {}
        for told in found:
            body = next((str(c.get("text", "")) for c in _parts(told) if str(c.get("type", "")).upper() == "BODY"), "")
            row = TemplateRow(
                account, str(told.get("name", "")), str(told.get("language", "")), str(told.get("id", "")),
                str(told.get("category", "")).lower(), str(told.get("status", "")).upper(), body,
                parameters_of(body), "", now_us,
            )  # fmt: skip
            rows[row.name, row.language] = row
        gone = {k: replace(r, status="DELETED", updated_us=now_us) for k, r in self.rows.items() if k not in rows}
        self.rows = gone | rows
        return list(self.rows.values())

    def event(self, event: AccountEvent, now_us: int) -> TemplateRow | None:
        """Of the web hooks message_template_status_update and template_category_update."""
        value = event.value
        key = (str(value.get("message_template_name", "")), str(value.get("message_template_language", "")))
        row = self.rows.get(key) or TemplateRow(event.account, *key, str(value.get("message_template_id", "")))
        if row.updated_us > now_us:
            return None
        if event.field == "message_template_status_update":
            status = str(value.get("event", "")).upper()
            row = replace(row, status=status, reason=str(value.get("reason") or ""), updated_us=now_us)
        elif event.field == "template_category_update":
            row = replace(row, category=str(value.get("new_category", "")).lower() or row.category, updated_us=now_us)
        else:
            return None
        self.rows[key] = row
        return row


def parameters_of(body: str) -> int:
    """{{1}} {{2}}, or {{name}}: how many different ones."""
    return len(set(re.findall(r"\{\{\s*(\w+)\s*\}\}", body)))


def _parts(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = told.get("components")
    return [p for p in parts if isinstance(p, dict)] if isinstance(parts, list) else []
