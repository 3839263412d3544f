"""One page: a telephone, the calendar that it books in, and the leads of the CRM. Reads what is really there: the
calendar over CalDAV, the leads in the CRM's own database."""

import argparse
import datetime as dt
import os
import re
import sqlite3
import urllib.request
from base64 import b64encode
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from zoneinfo import ZoneInfo

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --mark: #128c7e }
* { box-sizing: border-box } body { margin: 0; font: 15px/1.4 system-ui, sans-serif }
main { display: grid; grid-template-columns: minmax(340px, 440px) 1fr; height: 100vh }
iframe { border: 0; width: 100%; height: 100%; min-height: 90vh } main > iframe { border-right: 1px solid var(--line) }
section { padding: 12px 18px } h1 { font-size: 17px; margin: 8px 0 } h2 { font-size: 14px; margin: 18px 0 6px }
table { border-collapse: collapse; width: 100% } td:first-child { white-space: nowrap } .none { color: #888 }
td, th { text-align: left; padding: 5px 8px; border-top: 1px solid var(--line); vertical-align: top }
.day { background: var(--soft); font-weight: 600 } .visit td:first-child { border-left: 4px solid var(--mark) }
small { color: #888 }
@media (max-width: 800px) { main { display: block; height: auto } main > iframe { border-right: 0; height: 80vh } }
"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style>{body}</html>"""
HINT = (
    "Write as a parent would, in English, Portuguese or Spanish: <i>Hello, my son is 4, can we see the school on "
    "Tuesday?</i> What is agreed appears here, in a real calendar and a real CRM."
)
LINKS = (  # whoever asks for a person has to be somebody there
    'You are the school, too: <a href="{0}/conversations" target="_blank">conversations</a>, '
    '<a href="{0}/handoffs" target="_blank">who waits for a person</a> (with the admin key of the start).'
)
QUERY = (
    '<?xml version="1.0" encoding="utf-8"?><C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">'
    "<D:prop><C:calendar-data/></D:prop>"
    '<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"/></C:comp-filter></C:filter>'
    "</C:calendar-query>"
)
LEADS = """select p.name, coalesce(o.description, ''), o.state, o.create_date, (
  select group_concat(m.value, ', ') from party_contact_mechanism m where m.party = p.id)
  from sale_opportunity o join party_party p on p.id = o.party order by o.id desc limit 50"""


def visits(url: str, user: str, password: str, zone: ZoneInfo) -> list[tuple[dt.datetime, str, str]]:
    """When, who, and what is noted; soonest first."""
    request = urllib.request.Request(url, QUERY.encode(), method="REPORT")
    request.add_header("authorization", "Basic " + b64encode(f"{user}:{password}".encode()).decode())
    request.add_header("depth", "1")
    request.add_header("content-type", "application/xml")
    with urllib.request.urlopen(request, timeout=10) as reply:
        text = reply.read().decode()
    found = []
    for event in re.findall(r"BEGIN:VEVENT(.*?)END:VEVENT", text.replace("&#13;", ""), re.DOTALL):
        event = re.sub(r"\r?\n[ \t]", "", event)
        lines = {name.split(";")[0]: value for name, value in re.findall(r"^([A-Z-]+[^:\n]*):(.*?)\r?$", event, re.M)}
        start = lines.get("DTSTART", "")
        if not re.fullmatch(r"\d{8}T\d{6}Z?", start):
            continue
        at = dt.datetime.strptime(start.rstrip("Z"), "%Y%m%dT%H%M%S")
        at = at.replace(tzinfo=dt.UTC).astimezone(zone) if start.endswith("Z") else at.replace(tzinfo=zone)
        note = lines.get("DESCRIPTION", "").replace("\\n", "\n").replace("\\,", ",").replace("\\;", ";")
        found.append((at, lines.get("SUMMARY", "").replace("\\,", ","), note))
    return sorted(found)


def leads(file: str) -> list[tuple[str, str, str, str, str]]:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10) as connection:
        return [tuple(map(str, row)) for row in connection.execute(LEADS)]  # type: ignore[misc]


def office_page(given: argparse.Namespace) -> str:
    zone = ZoneInfo(given.timezone)
    rows, day = [], None
    for at, who, note in visits(given.calendar, os.environ["BOARD_USER"], os.environ["BOARD_PASSWORD"], zone):
        if at.date() != day:
            day = at.date()
            rows.append(f'<tr class="day"><td colspan="2">{at:%A %d %B %Y}</td></tr>')
        said = "<br>".join(escape(line) for line in note.splitlines() if line)
        rows.append(f'<tr class="visit"><td>{at:%H:%M}</td><td>{escape(who)}<br><small>{said}</small></td></tr>')
    calendar = f"<table>{''.join(rows)}</table>" if rows else '<p class="none">No visit is booked yet.</p>'
    people = []
    for name, what, state, _, contact in leads(given.crm):
        cells = (name, what, contact.replace("None", ""), state)
        people.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    head = "<tr><th>Who</th><th>About</th><th>How to reach them</th><th>State</th></tr>"
    crm = f"<table>{head}{''.join(people)}</table>" if people else '<p class="none">No lead yet.</p>'
    hint = f"<p><small>{HINT}</small></p>" + (f"<p>{LINKS.format(escape(given.console))}</p>" if given.console else "")
    return f"<h1>The office</h1>{hint}<h2>Calendar: visits</h2>{calendar}<h2>CRM: leads</h2>{crm}"


def office(given: argparse.Namespace) -> tuple[int, str]:
    """Status and page. It looks again in any case: a calendar that is being restarted is there a moment later."""
    try:
        status, body = 200, office_page(given)
    except (OSError, sqlite3.Error) as error:
        status, body = 503, f"<h1>The office</h1><p>It cannot be read at this moment: {escape(str(error))}</p>"
    body = f'<meta http-equiv="refresh" content="3"><section>{body}</section>'
    return status, PAGE.format(title="The office", style=STYLE, body=body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--phone", required=True)
    parser.add_argument("--calendar", required=True)
    parser.add_argument("--crm", required=True)
    parser.add_argument("--console", default="", help="the address of Waterline, to link to")
    parser.add_argument("--timezone", default="Europe/Lisbon")
    given = parser.parse_args()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = 200
            if self.path == "/office":
                status, text = office(given)
            elif self.path == "/":
                phone = f'<iframe title="telephone" src="{escape(given.phone)}"></iframe>'
                body = f'<main>{phone}<iframe title="office" src="/office"></iframe></main>'
                text = PAGE.format(title="A telephone and the office", style=STYLE, body=body)
            else:
                status, text = 404, "There is / and /office."
            data = text.encode()
            self.send_response(status)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None: ...

    ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
