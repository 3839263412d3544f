"""The audit log, newest first, and whether its chain holds now."""

from starlette.responses import Response

from waterline.console.frame import Ask, View, url
from waterline.core.errors import Refused

PAGE_ENTRIES = 100


async def audit(ask: Ask) -> View:
    text = ask.query("before")
    if text and not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Refused(f"before is the number of an entry, not {text[:20]!r}.", 400)
    entries = await ask.plane.access.audit_entries(ask.who, PAGE_ENTRIES, int(text) if text else None)
    last = entries[-1].entry.seq if entries else 0
    holds, said = True, ""
    if not text:
        try:
            said = await ask.plane.access.audit_checkpoint(ask.who)
        except Refused as broken:
            holds, said = False, str(broken)
    context = {
        "entries": entries,
        "before": text,
        "older": url("/audit", before=last) if last > 1 and len(entries) == PAGE_ENTRIES else "",
        "holds": holds,
        "said": said,
    }
    value = {"entries": entries, "verifies": holds if not text else None, "said": said}
    return View("audit.html", value, context)


async def export(ask: Ask) -> Response:
    lines = await ask.plane.access.audit_export(ask.who)
    headers = {"content-disposition": 'attachment; filename="waterline-audit.jsonl"'}
    return Response(lines, media_type="application/x-ndjson", headers=headers)
