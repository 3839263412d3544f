"""Load lines: what a release was shown to carry."""

from starlette.responses import Response

from waterline.console.frame import Ask, View

# A report is a page of its own that nobody but the trial wrote: no script, no request, no access to this site.
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
VERDICTS = {
    0: ("may sail", "pass"),
    1: ("may not sail", "fail"),
    2: ("inconclusive", "inconclusive"),
    3: ("could not run", "fail"),
}


async def load_lines(ask: Ask) -> View:
    app = ask.query("app")
    lines = await ask.plane.load_lines.page(ask.who, app or None)
    apps = await ask.plane.apps(ask.who)
    return View("load_lines.html", lines, {"lines": lines, "app": app, "apps": apps, "verdicts": VERDICTS})


async def load_line(ask: Ask) -> View | Response:
    line = await ask.plane.load_lines.one(ask.who, ask.path("line"))
    heads = await ask.plane.load_lines.page(ask.who, line.app)
    valid = any(head.id == line.id and head.valid for head in heads)
    context = {"line": line, "valid": valid, "verdicts": VERDICTS}
    head = {name: getattr(line, name) for name in line.__struct_fields__ if name not in ("json", "html")}
    return View("load_line.html", {**head, "valid": valid, "report": line.json.decode("utf-8", "replace")}, context)


async def report(ask: Ask) -> Response:
    line = await ask.plane.load_lines.one(ask.who, ask.path("line"))
    headers = {"content-security-policy": REPORT_POLICY, "x-frame-options": "SAMEORIGIN"}
    return Response(line.html, media_type="text/html; charset=utf-8", headers=headers)


async def as_json(ask: Ask) -> Response:
    line = await ask.plane.load_lines.one(ask.who, ask.path("line"))
    return Response(line.json, media_type="application/json")
