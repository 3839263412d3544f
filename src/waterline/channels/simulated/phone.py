"""Telephones as pages: drawn on the server, every button a form; a few lines of script of ours keep the chat fresh."""

import base64
import hashlib
import re
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from waterline.channels.simulated.bubbles import Bubble, GraphError
from waterline.channels.simulated.cloud import WINDOW_S, Chat, Cloud
from waterline.channels.simulated.script import Phone

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAYAAABzenr0AAAAP0lEQVR42u3OMQEAAAgDINc/9KzhOQQg"
    "KbvTVQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPgDD1kB4X0mIrMAAAAASUVORK5CYII="
)
CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors *"
)
TICKS = {"sent": "✓", "delivered": "✓✓", "read": "✓✓", "failed": "!"}

STYLE = """
:root{color-scheme:light;--paper:#efe7de;--ours:#fff;--mine:#d9fdd3;--ink:#111b21;--faint:#5c6b73;--bar:#0b5e54}
*{box-sizing:border-box}body{margin:0;font:16px/1.4 system-ui,sans-serif;color:var(--ink);background:#d8dbd6}
a{color:inherit}h1{font-size:1.25rem;margin:0}
.shelf{max-width:60rem;margin:0 auto;padding:1rem}.shelf ul{list-style:none;padding:0;display:grid;gap:.5rem}
.shelf li a{display:flex;gap:1rem;justify-content:space-between;background:#fff;padding:.8rem 1rem;border-radius:.6rem;
text-decoration:none}.faint{color:var(--faint);font-size:.85rem}
.phone{max-width:30rem;margin:0 auto;height:100vh;height:100dvh;display:flex;flex-direction:column;
background:var(--paper);box-shadow:0 0 1rem #0003}
.top{background:var(--bar);color:#fff;padding:.6rem .8rem;display:flex;gap:.7rem;align-items:center}
.top div{flex:1;min-width:0}.top p{margin:.1rem 0 0;font-size:.8rem;color:#dfeeea;white-space:nowrap;overflow:hidden;
text-overflow:ellipsis}.top a{text-decoration:none;padding:.3rem}.top h1{overflow-wrap:anywhere}
.top select{width:100%;font:inherit;font-weight:700;color:#fff;background:var(--bar);border:1px solid #fff5;
border-radius:.4rem;padding:.15rem .3rem}
main{flex:1;overflow-y:auto;padding:.8rem;display:flex;flex-direction:column;gap:.4rem}
.b{max-width:85%;padding:.45rem .6rem;border-radius:.6rem;box-shadow:0 1px 1px #0002;overflow-wrap:anywhere}
.b p{margin:0;white-space:pre-wrap}.ours{background:var(--ours);align-self:flex-start}
.mine{background:var(--mine);align-self:flex-end}.b footer{font-size:.72rem;color:var(--faint);text-align:right}
.read{color:#0277bd}.failed{color:#b3261e;font-weight:700}.day{align-self:center;background:#fff9;
border-radius:.5rem;padding:.1rem .6rem;font-size:.8rem;color:#3d484e}
.b form{margin:.4rem -.2rem 0;display:grid;gap:.3rem}.b form button{border:0;border-top:1px solid #0001;
background:none;color:#02688c;font:inherit;padding:.55rem;cursor:pointer;min-height:2.6rem;text-align:left}
.b form.buttons button{text-align:center}.b small{display:block;color:var(--faint)}
.b button:hover,.b button:focus-visible{background:#0277bd14}.b img{max-width:100%;min-width:6rem;border-radius:.4rem}
.quote{border-left:3px solid var(--bar);padding-left:.4rem;color:var(--faint);font-size:.85rem}
.react{font-size:1.1rem;float:right;margin:-.1rem -.2rem -1.1rem .5rem}
.write{display:flex;gap:.4rem;padding:.5rem;background:#f0f2f5}.write input{flex:1;min-width:0;font:inherit;
padding:.6rem .8rem;border:1px solid #ccd;border-radius:1.2rem}.write button,.more button{font:inherit;border:0;
border-radius:1.2rem;padding:.5rem .9rem;background:var(--bar);color:#fff;cursor:pointer;min-height:2.6rem}
details.more{background:#f0f2f5;padding:0 .6rem .3rem;font-size:.9rem}.more form{display:flex;flex-wrap:wrap;gap:.4rem;
padding:.4rem 0}.more button{background:#fff;color:var(--ink);border:1px solid #ccd}summary{cursor:pointer;
padding:.3rem 0}
"""

SPEAK = 'aria-label="Send as a voice note" title="Send as a voice note: what you typed is what is heard"'
SPOKEN = "Hello, my son is seven. Can we come and visit on Thursday?"
SCRIPT = """
const chat=document.querySelector('main');let last=chat.innerHTML;
const bottom=()=>{chat.scrollTop=chat.scrollHeight};bottom();
async function look(){try{const q=new URLSearchParams(location.search);q.set('part','chat');
const r=await fetch(location.pathname+'?'+q);
if(r.ok){const t=await r.text();if(t!==last){last=t;chat.innerHTML=t;bottom()}}}catch(e){}}
setInterval(look,1000);
document.addEventListener('submit',async e=>{const f=e.target;if(f.dataset.plain)return;e.preventDefault();
const d=new URLSearchParams(new FormData(f,e.submitter));f.reset();
await fetch(f.action,{method:'POST',body:d,redirect:'manual'});last='';look()});
document.querySelector('select')?.addEventListener('change',e=>{location.search='?number='+e.target.value});
"""


def html(text: str) -> Response:
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    headers = {"content-security-policy": CSP.format(script=digest), "x-content-type-options": "nosniff",
               "cache-control": "no-store"}  # fmt: skip
    return Response(text, media_type="text/html; charset=utf-8", headers=headers)


def shelf(cloud: Cloud, now: float) -> str:
    rows = []
    for found in cloud.phones.values():
        chats = [c for c in cloud.chats.values() if c.wa_id == found.wa_id and c.bubbles]
        number = chats[-1].number if chats else next(iter(cloud.numbers))
        last = chats[-1].bubbles[-1].text[:60] if chats else "no messages yet"
        rows.append(
            f'<li><a href="/phone/{quote(found.wa_id)}?number={quote(number)}"><span><strong>{escape(found.name)}'
            f'</strong><br><span class="faint">{escape(last)}</span></span>'
            f'<span class="faint">+{escape(found.wa_id)}</span></a></li>'
        )
    return _document(
        "Telephones",
        f'<div class="shelf"><h1>Telephones</h1><p class="faint">A simulated WhatsApp, {_time(now, "%d %b %Y %H:%M")} '
        f"UTC. {len(cloud.numbers)} business number(s).</p><ul>{''.join(rows)}</ul></div>",
    )


def page(cloud: Cloud, found: Phone, number: str, now: float) -> str:
    chat = cloud.chat(number, found.wa_id)
    here = f"/phone/{quote(found.wa_id)}?number={quote(number)}"
    options = "".join(
        f'<option value="{escape(n.id)}"{" selected" if n.id == number else ""}>{escape(n.name)} {escape(n.display)}'
        "</option>"
        for n in cloud.numbers.values()
    )
    left = max(0.0, chat.last_in_s + WINDOW_S - now) if chat.last_in_s else 0.0
    window = f"window open for {left / 3600:.1f} h" if left else "window closed"
    acts = [("do", "picture", "Send a picture"), ("jump", "3600", "+1 hour"),
            ("jump", "86400", "+24 hours"), ("do", "on", "Turn on") if found.off else ("do", "off", "Turn off"),
            ("do", "stop", "Stop marketing"), ("do", "block", "Block")]  # fmt: skip
    buttons = "".join(f'<button name="{n}" value="{v}">{t}</button>' for n, v, t in acts)
    title = f"<h1>{escape(cloud.numbers[number].name)}</h1>"
    if len(cloud.numbers) > 1:
        title = f'<select aria-label="Business number" name="number">{options}</select>'
    about = f"{escape(found.name)} +{escape(found.wa_id)} · {_time(now, '%d %b %H:%M')} UTC · {window}"
    return _document(
        found.name,
        f'<div class="phone"><header class="top"><a href="/" aria-label="All telephones">‹</a><div>{title}'
        f'<p title="{about}">{about}</p></div></header>'
        f'<main aria-live="polite">{bubbles(chat, now)}</main>'
        f'<details class="more"><summary>More</summary><form method="post" action="{here}" data-plain="1">{buttons}'
        f'</form></details><form class="write" method="post" action="{here}"><input name="text" autocomplete="off" '
        f'aria-label="Message" placeholder="Message"><button>Send</button>'
        f'<button name="do" value="voice" {SPEAK}>🎤</button></form></div>'
        f"<script>{SCRIPT}</script>",
    )


def bubbles(chat: Chat, now: float) -> str:
    rows, day = [], ""
    texts = {b.id: b.text for b in chat.bubbles}
    for bubble in chat.bubbles:
        today = _time(bubble.at_s, "%a %d %b")
        if today != day:
            rows.append(f'<span class="day">{today}</span>')
            day = today
        rows.append(_bubble(bubble, chat, texts))
    if chat.typing_until_s > now:
        rows.append('<span class="day">typing…</span>')
    if not chat.bubbles:
        rows.append('<span class="day">Write something to begin.</span>')
    return "".join(rows) + '<span id="end"></span>'


def _bubble(bubble: Bubble, chat: Chat, texts: dict[str, str]) -> str:
    body = ""
    if bubble.reply_to in texts:
        body += f'<div class="quote">{escape(texts[bubble.reply_to][:80])}</div>'
    if bubble.media and bubble.mime.startswith("image/"):
        body += f'<img src="/picture/{quote(bubble.media)}" alt="picture">'
    elif bubble.kind == "audio":
        body += "<p>🎤 voice note</p>"
    elif bubble.kind in ("document", "video", "location", "contacts"):
        body += f"<p>[{bubble.kind}]</p>"
    if bubble.text:
        body += f"<p>{_marked(bubble.text)}</p>"
    if bubble.choices and not bubble.chosen:
        here = f"/phone/{quote(chat.wa_id)}?number={quote(chat.number)}"
        few = all(not c[2] for c in bubble.choices) and len(bubble.choices) <= 3
        rows = "".join(
            f'<button name="choose" value="{escape(id_)}">{escape(title)}'
            f"{f'<small>{escape(more)}</small>' if more else ''}</button>"
            for id_, title, more in bubble.choices
        )
        body += f'<form method="post" action="{here}"{" class=buttons" if few else ""}>{rows}</form>'
    ticks = ""
    if bubble.ours and bubble.status:  # what the sender would see
        ticks = f' <span class="{bubble.status}" title="{bubble.status}">{TICKS[bubble.status]}</span>'
    react = f'<span class="react">{escape(bubble.reaction)}</span>' if bubble.reaction else ""
    label = f"{bubble.category} template · " if bubble.template else ""
    side = "ours" if bubble.ours else "mine"
    stamp = f"{react}<footer>{label}{_time(bubble.at_s, '%H:%M')}{ticks}</footer>"
    return f'<article class="b {side}">{body}{stamp}</article>'


def choice(chat: Chat, wanted: str) -> dict[str, Any]:
    """What the telephone sends when a button or a row is pressed. Raises GraphError."""
    for bubble in reversed(chat.bubbles):
        for id_, title, description in bubble.choices:
            if id_ == wanted:
                row = len(bubble.choices) > 3 or any(c[2] for c in bubble.choices)
                name = "list_reply" if row else "button_reply"
                part = {"id": id_, "title": title} | ({"description": description} if row else {})
                context = {"id": bubble.id, "from": chat.number}
                return {"type": "interactive", "interactive": {"type": name, name: part}, "context": context}
    raise GraphError(131009, f"nothing on the screen has the id {wanted}")


def media_message(kind: str, media: str, mime: str) -> dict[str, Any]:
    part: dict[str, Any] = {"id": media, "mime_type": mime, "sha256": ""}
    if kind == "audio":
        part["voice"] = True
    return {"type": kind, kind: part}


def _marked(text: str) -> str:
    """WhatsApp's *bold* and _italic_."""
    safe = escape(text)
    safe = re.sub(r"(?<!\w)\*(\S(?:[^*\n]*\S)?)\*(?!\w)", r"<strong>\1</strong>", safe)
    return re.sub(r"(?<!\w)_(\S(?:[^_\n]*\S)?)_(?!\w)", r"<em>\1</em>", safe)


def _time(at_s: float, form: str) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime(form)


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{escape(title)}</title><style>{STYLE}</style></head>'
        f"<body>{body}</body></html>"
    )
