"""What the web chat shows: one page with a style and a script of ours, and a snippet that puts it on other pages."""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

import msgspec

from waterline.core.channels import WebchatPolicy
from waterline.core.web import Page
from waterline.store.webchat import Line

STYLE = """
:root{color-scheme:light dark;--b:#fff;--f:#16202a;--o:#eef1f4;--m:#0b5e54;--mi:#fff;--l:#c9d1d8;--s:#5a6772}
@media(prefers-color-scheme:dark){:root{--b:#14191e;--f:#e8edf1;--o:#232b33;--m:#1c7d70;--l:#3b4650;--s:#9aa7b2}}
*{box-sizing:border-box}html,body{height:100%}
body{margin:0;font:16px/1.45 system-ui,sans-serif;background:var(--b);color:var(--f);display:flex;
flex-direction:column;max-width:44rem;margin:0 auto}
h1{font-size:1.1rem;margin:0;padding:.8rem 1rem;border-bottom:1px solid var(--l)}
main{flex:1;overflow-y:auto;padding:1rem;display:flex;flex-direction:column;gap:.5rem}
main p{margin:0;max-width:85%;padding:.5rem .8rem;border-radius:.8rem;white-space:pre-wrap;overflow-wrap:anywhere}
.ours{background:var(--o);align-self:flex-start}.mine{background:var(--m);color:var(--mi);align-self:flex-end}
.mine.waits{opacity:.6}.choices{display:flex;flex-wrap:wrap;gap:.4rem}.note{color:var(--s);font-size:.9rem}
form.write{display:flex;gap:.5rem;padding:.7rem 1rem;border-top:1px solid var(--l)}
input[name=text]{flex:1;min-width:0;font:inherit;padding:.6rem .8rem;border:1px solid var(--l);border-radius:.6rem;
background:var(--b);color:var(--f)}button{font:inherit;min-height:2.75rem;padding:.4rem 1rem;border:1px solid var(--m);
border-radius:.6rem;background:var(--m);color:var(--mi);cursor:pointer}.choices button{background:none;color:var(--f)}
button:focus-visible,input:focus-visible{outline:3px solid #f4a52288;outline-offset:1px}
"""

SCRIPT = """
const main=document.querySelector('main'),form=document.querySelector('form.write'),box=form.elements.text,
base=location.pathname.replace(/\\/$/,''),store='chat:'+base;let token=form.elements.token.value||get(),last=0,
all=1,seen=new Set();
function get(){try{return localStorage.getItem(store)||''}catch(e){return''}}
function put(t){token=t;try{localStorage.setItem(store,t)}catch(e){}}
function add(cls,text){const p=document.createElement('p');p.className=cls;p.textContent=text;main.append(p);
main.scrollTop=main.scrollHeight;return p}
function show(l){if(seen.has(l.id))return;seen.add(l.id);last=Math.max(last,l.n);
document.querySelectorAll('.choices').forEach(e=>e.remove());
add(l.ours?'ours':'mine',l.text);if(l.ours&&l.choices){const d=document.createElement('div');d.className='choices';
for(const[id,title]of l.choices){const b=document.createElement('button');b.type='button';b.textContent=title;
b.onclick=()=>{d.remove();say(title,id)};d.append(b)}main.append(d);main.scrollTop=main.scrollHeight}}
async function say(text,choice){const p=add('mine waits',text),id=crypto.randomUUID();
for(let n=0;n<4;n++){try{const r=await fetch(base+'/messages',{method:'POST',
headers:{'content-type':'application/json'},body:JSON.stringify({token,text,choice:choice||'',id})});
const t=await r.json();
if(r.ok){p.classList.remove('waits');if(!token){all=0;put(t.token);poll()}return}if(r.status==403&&token){put('');continue}
if(r.status<500){p.remove();add('note',t.error);return}}
catch(e){}await new Promise(d=>setTimeout(d,1500*(n+1)))}
add('note','Your message could not be sent. Please try again.')}
let polling=false;async function poll(){if(polling||!token)return;polling=true;let bad=0;while(token){try{
const r=await fetch(base+'/lines?after='+last+(all?'&all=1':''),
{headers:{'x-chat-token':token}});if(r.status==403){put('');break}
const t=await r.json();all=0;(t.lines||[]).forEach(show);bad=0}catch(e){bad=Math.min(bad+1,6);
await new Promise(d=>setTimeout(d,1000*2**bad))}}polling=false}
form.addEventListener('submit',e=>{e.preventDefault();const t=box.value.trim();if(!t)return;box.value='';say(t)});
document.querySelectorAll('.line,.choices').forEach(e=>e.remove());poll();
"""


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def chat(site: str, policy: WebchatPolicy, lines: Sequence[Line], token: str, fresh: str) -> Page:
    here = f"/chat/{quote(site, safe='')}"
    rows = [f'<p class="ours">{escape(policy.greeting)}</p>'] if policy.greeting else []
    for line in lines:
        rows.append(f'<p class="line {"ours" if line.ours else "mine"}">{escape(line.text)}</p>')
    hidden = (
        f'<input type="hidden" name="token" value="{escape(token)}"><input type="hidden" name="id" value="{fresh}">'
    )
    if lines and lines[-1].ours and lines[-1].choices:
        buttons = "".join(
            f'<button name="choice" value="{escape(id_)}">{escape(title)}</button>' for id_, title in lines[-1].choices
        )
        rows.append(f'<form method="post" action="{here}" class="choices">{hidden}{buttons}</form>')
    refresh = "" if not token else f'<form method="post" action="{here}">{hidden}<button>Look again</button></form>'
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{escape(policy.title)}</title><style>{STYLE}</style></head>'
        f'<body><h1>{escape(policy.title)}</h1><main aria-live="polite">{"".join(rows)}</main>'
        f"<noscript>{refresh}</noscript>"
        f'<form class="write" method="post" action="{here}">{hidden}<input name="text" maxlength="4000" '
        f'autocomplete="off" aria-label="Message" placeholder="…"><button>↑</button></form>'
        f"<script>{SCRIPT}</script></body></html>"
    )
    frames = " ".join(("'self'", *policy.origins))
    rules = (
        f"default-src 'none'; style-src 'sha256-{_digest(STYLE)}'; script-src 'sha256-{_digest(SCRIPT)}'; "
        f"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {frames}"
    )
    headers = (
        ("content-security-policy", rules),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    )
    return Page(200, text.encode(), "text/html; charset=utf-8", headers)


def snippet(site: str) -> Page:
    """<script src="https://.../chat/<site>/snippet.js" async></script>: a button that opens the chat in a frame."""
    name = msgspec.json.encode(f"/chat/{quote(site, safe='')}").decode()
    text = (
        f"(()=>{{const at=new URL({name},document.currentScript.src).href,b=document.createElement('button'),"
        "f=document.createElement('iframe');b.textContent='\\u{1F4AC}';b.setAttribute('aria-label','Chat');"
        "b.style.cssText='position:fixed;right:16px;bottom:16px;width:56px;height:56px;border:0;border-radius:28px;"
        "font-size:26px;background:#0b5e54;color:#fff;cursor:pointer;z-index:2147483000';f.title='Chat';"
        "f.style.cssText='position:fixed;right:16px;bottom:84px;width:min(380px,calc(100vw - 32px));"
        "height:min(560px,calc(100vh - 120px));border:1px solid #8886;border-radius:12px;background:#fff;"
        "z-index:2147483000';f.hidden=true;b.onclick=()=>{f.src||(f.src=at);f.hidden=!f.hidden};"
        "document.body.append(f,b)})()\n"
    )
    headers = (("cache-control", "max-age=300"), ("x-content-type-options", "nosniff"))
    return Page(200, text.encode(), "text/javascript; charset=utf-8", headers)


def error(status: int, text: str) -> Page:
    page = f'<!doctype html><meta charset="utf-8"><title>Chat</title><p>{escape(text)}</p>'
    rules = (("content-security-policy", "default-src 'none'"), ("cache-control", "no-store"))
    return Page(status, page.encode(), "text/html; charset=utf-8", rules)


def problem(status: int, text: str) -> Page:
    headers = (("retry-after", "60"),) if status == 429 else ()
    return Page(status, msgspec.json.encode({"error": text}), "application/json", headers)


def allowed_methods() -> tuple[tuple[str, str], ...]:
    return (
        ("access-control-allow-methods", "GET, POST"),
        ("access-control-allow-headers", "content-type, x-chat-token"),
        ("access-control-max-age", "600"),
    )


def shared(page: Page, origin: str) -> Page:
    """The same for a declared origin."""
    more = (("access-control-allow-origin", origin), ("vary", "origin"))
    return Page(page.status, page.body, page.content_type, (*page.headers, *more))
