"""`make story-evidence`: what fails in production becomes a case, blocks the next release until it passes, and is shown
to have been fixed; and a release that only fails under load is taken back by itself.

Every step is a command of Waterline that a user could type. The people and the model are simulated (people.py): the
figures are of the machinery, not of any model. Writes out/story/evidence.md; a run is kept in docs/story-evidence.md.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from people import TOPICS, People, Told, model_script

HERE = Path(__file__).resolve().parent
OUT = HERE.parent.parent / "out" / "story"
WATERLINE = [sys.executable, "-m", "waterline"]
WRAPPING = next(topic for topic in TOPICS if topic.name == "gift").says.values()
FIRST, PILOT, CANARY = 1, 600, 12_000  # seed; customers of the pilot; most that a canary may take


class Story:
    """What is told goes to the screen at once, and to a page at the end."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.began = time.monotonic()

    def chapter(self, title: str) -> None:
        self._add(f"\n## {title}\n")
        print(
            f"\n\033[1m{title}\033[0m  ({time.monotonic() - self.began:.0f} s)" if sys.stdout.isatty() else f"\n{title}"
        )

    def say(self, text: str) -> None:
        self._add(f"{text}\n")
        print("  " + text.replace("\n", "\n  "), flush=True)

    def ran(self, command: str, said: str) -> None:
        """A command, and what it printed."""
        shown = "\n".join(f"    {line}" for line in (f"$ waterline {command}", *said.rstrip().splitlines()))
        self._add(f"{shown}\n")
        print(f"  $ waterline {command}", *said.rstrip().splitlines(), sep="\n    ", flush=True)

    def _add(self, text: str) -> None:
        self.lines.append(text)


class Office:
    """The server, and the people who work with it: each has a key of their own."""

    def __init__(self, story: Story, url: str, owner: str) -> None:
        self._story = story
        self.url = url
        self._owner = owner
        self.keys = {"owner": owner}
        for name, role in (("Dev", "developer"), ("Olga", "operator")):
            self.keys[name] = self.ask("POST", "/api/keys", {"kind": "person", "role": role, "name": name})["key"]

    def site_key(self) -> str:
        """What the shop's site asks with."""
        site = {"kind": "app", "app": "shop", "env": "production", "name": "the shop's site"}
        return str(self.ask("POST", "/api/keys", site)["key"])

    def run(self, who: str, command: str, *expected: int, tell: int = 12, replace: str = "") -> str:
        """One command, typed by somebody. Raises RuntimeError if it ends otherwise than the story needs."""
        environ = {**os.environ, "WATERLINE_URL": self.url, "WATERLINE_KEY": self.keys[who], "COLUMNS": "110"}
        done = subprocess.run(
            [*WATERLINE, *command.split("|")], capture_output=True, text=True, env=environ, cwd=OUT, check=False
        )  # fmt: skip
        said = (done.stdout + done.stderr).strip()
        if done.returncode not in (expected or (0,)):
            raise RuntimeError(f"waterline {command} ended with {done.returncode}, not {expected or (0,)}:\n{said}")
        shown = " ".join(f'"{word}"' if " " in word else word for word in command.split("|"))
        lines = said.splitlines()
        cut = [*lines[:tell], f"... ({len(lines) - tell} more lines)"] if len(lines) > tell else lines
        if tell:
            self._story.ran(f"{shown}        # {who}", "\n".join(cut))
        return said

    def ask(self, method: str, path: str, body: Any = None, who: str = "owner") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.keys[who]}", "content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)


def main() -> int:
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    story = Story()
    with running() as (office_at, origin):
        url, owner = office_at
        tell(story, Office(story, url, owner), origin)
    story.say(f"It took {time.monotonic() - story.began:.0f} s.")
    head = "# The story of a case\n\nMade by `make story-evidence`. The people and the model are simulated.\n"
    (OUT / "evidence.md").write_text(head + "\n".join(story.lines))
    print(f"\nwritten to {OUT / 'evidence.md'}")
    return 0


def tell(story: Story, office: Office, origin: str) -> None:
    story.chapter("1. A demo that passes")
    folder(origin)
    first = build(office, "the demo")
    office.run("Dev", "cases|import|shop|main|app/cases", tell=2)
    office.run("Dev", f"eval|shop|--cases|main|--release|{first}", tell=8)
    why = "the pilot begins; nothing is live to compare with"
    office.run("owner", f"promote|shop|{first}|--to|production|--override|{why}", tell=1)

    story.chapter("2. Production")
    people = People(office.url, office.site_key(), FIRST)
    met, asked = people.come(PILOT), time.monotonic()
    story.say(f"{met.sessions} customers asked: {share(met.helped, met.sessions)} of them were helped.")
    story.say(table(met))
    settled(office, met)
    office.run("Dev", "cases|coverage|shop|--set|main", tell=14)

    story.chapter("3. What failed becomes cases")
    office.run("Dev", "harvest|shop|--by|feedback|--by|far|--basis|legitimate_interest|--most|200", tell=12)
    accepted, rejected = review(office)
    story.say(
        f"Olga's colleague reviews the queue: {accepted} accepted with what a good answer has, {rejected} rejected."
    )
    office.run("Dev", "cases|split|shop|main|--held-out|0.5", tell=4)
    office.run("Dev", "cases|check|shop|main", tell=3)
    office.run("Dev", f"eval|shop|--cases|main|--release|{first}", 0, 1, 2, tell=8)

    time.sleep(max(0.0, 65 - (time.monotonic() - asked)))  # a session ends when nothing has happened for a minute
    office.run("Olga", "sessions|off-rails|shop|--since|7d", tell=2)

    story.chapter("4. A release that has to earn its place")
    prompt = OUT / "app" / "prompts" / "agent.md"
    before = prompt.read_text()
    prompt.write_text(before + "Presents are wrapped.\n")
    attempt = build(office, "it knows of presents")
    office.run("Dev", f"eval|shop|--cases|main|--release|{attempt}|--against|{first}", 0, 1, 2, tell=6)
    office.run("Olga", f"promote|shop|{attempt}|--to|production", 1, tell=12)
    prompt.write_text(before + "Gift wrapping costs 3 EUR.\n")
    fixed = build(office, "it knows of gift wrapping, and the price")
    office.run("Dev", f"eval|shop|--cases|main|--release|{fixed}|--against|{first}", tell=14)
    office.run("Dev", f"approve|shop|{fixed}|--to|production", 1, tell=6)
    office.run("Olga", f"approve|shop|{fixed}|--to|production|--note|read the diff and the lost cases", tell=3)

    story.say(
        "What this release does not pass yet are slips of the keyboard that its model cannot read: they stay in the "
        "set, and the next release is measured by them."
    )

    story.chapter("5. The canary")
    office.run("Olga", f"canary|start|shop|{fixed}", tell=4)
    met = people.come(CANARY, lambda: ended(office))
    told_of_canary(story, office, met)

    story.chapter("6. A release that only fails under load")
    app = OUT / "app" / "app.toml"
    app.write_text(app.read_text().replace("steady", "cheap"))
    cheap = build(office, "a model at a fifth of the price")
    office.run("Dev", f"eval|shop|--cases|main|--release|{cheap}|--against|{fixed}|--at-once|1", tell=14)
    office.run("Olga", f"approve|shop|{cheap}|--to|production|--note|same answers, a fifth of the price", tell=2)
    office.run("Olga", f"canary|start|shop|{cheap}", tell=3)
    met = people.come(CANARY, lambda: ended(office))
    told_of_canary(story, office, met)
    office.run("Olga", "incident|list|shop", tell=6)
    office.run("Olga", f"promote|shop|{cheap}|--to|production", 1, tell=10)

    story.chapter("7. Was the machinery itself right?")
    after = people.come(300)
    story.say(f"{after.sessions} customers afterwards: {share(after.helped, after.sessions)} helped.")
    story.say(table(after))
    office.run("Olga", "canary|aa|shop|--runs|300|--hours|48", tell=6)
    office.run("Olga", "audit|verify", tell=2)


def folder(origin: str) -> None:
    """The app as the demo left it, with cases of what everybody thinks of."""
    shutil.copytree(HERE / "app", OUT / "app")
    app = OUT / "app" / "app.toml"
    app.write_text(app.read_text().replace("{origin}", origin))
    (OUT / "app" / "cases").mkdir()
    cases = [
        {"id": f"{topic.name}-{n}", "input": question, "expect": {"contains": [topic.says["en"]]}, "tags": ["demo"]}
        for topic in TOPICS if topic.name != "gift"
        for n, question in enumerate(topic.asks["en"], 1)
    ]  # fmt: skip
    (OUT / "app" / "cases" / "demo.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))


def build(office: Office, message: str) -> str:
    said = json.loads(office.run("Dev", f"release|build|app|-m|{message}|--json", tell=0))
    release: str = said["id"][:12]
    return release


def review(office: Office) -> tuple[int, int]:
    """A person who knows the answers goes through the queue: what was asked about decides."""
    done = {"accept": 0, "reject": 0}
    while rows := office.ask("GET", "/api/candidates?app=shop&set=main")["rows"]:
        for row in rows:
            case = row["case"]
            text = (case.get("input") or case["messages"][-1]["content"]).lower()
            good, readable = good_answer(text)
            said: dict[str, Any] = {"decision": "reject", "revision": row["revision"], "reason": "nobody can read it"}
            if good:
                tags = ["regression"] if good in WRAPPING and readable else []
                changed = {**case, "expect": {"contains": [good]}, "tags": tags}
                said = {"decision": "accept", "revision": row["revision"], "case": changed, "auto_side": True}
            office.ask("POST", f"/api/candidates/{row['n']}/decision", said, "Dev")
            done[said["decision"]] += 1
    return done["accept"], done["reject"]


def good_answer(text: str) -> tuple[str, bool]:
    """What a colleague would have said, who reads past slips of the keyboard ("": nobody could read it), and whether
    there was none to read past."""
    asked = [(words(question), topic.says[language])
             for topic in TOPICS for language in topic.asks for question in topic.asks[language]]  # fmt: skip
    likeness, answer = max((SequenceMatcher(None, question, words(text)).ratio(), answer) for question, answer in asked)
    return (answer if likeness > 0.6 else ""), likeness == 1


def words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def ended(office: Office) -> bool:
    return office.ask("GET", "/api/apps/shop/canary")["head"]["ended_us"] is not None


def told_of_canary(story: Story, office: Office, met: Told) -> None:
    if not ended(office):
        raise RuntimeError(f"after {met.sessions} customers the canary is still undecided")
    story.say(f"{met.sessions} customers came meanwhile; {met.failed} of them got an error.")
    office.run("Olga", "canary|status|shop", tell=24)


def settled(office: Office, met: Told) -> None:
    """Until the worker has looked at all of them."""
    for _ in range(300):
        seen = json.loads(office.run("Olga", "sessions|off-rails|shop|--since|7d|--json", tell=0))
        if counted(seen) >= met.sessions:
            return
        time.sleep(0.5)
    raise RuntimeError(f"of {met.sessions} sessions {counted(seen)} were looked at after 150 s")


def counted(seen: Any) -> int:
    return int(seen["share"]["n"])


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


def table(met: Told) -> str:
    rows = [f"{name:10} {helped:5} of {asked:5} helped" for name, (helped, asked) in sorted(met.by_topic.items())]
    return "\n".join(rows)


@contextlib.contextmanager
def running() -> Iterator[tuple[tuple[str, str], str]]:
    """The simulated model and a server: ((its address, the owner's key), the model's address)."""
    script = OUT / "model.json"
    script.write_text(json.dumps(model_script()))
    model = subprocess.Popen(
        [sys.executable, "-m", "waterline.providers.simulated", "--port", "0", "--script", str(script)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    server = subprocess.Popen(
        [*WATERLINE, "up", "--data", str(OUT / "data"), "--port", "0", "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert model.stdout is not None
        assert server.stdout is not None
        origin = json.loads(model.stdout.readline())["address"]
        ready = json.loads(server.stdout.readline())
        yield (ready["url"], ready["key"]), origin
    finally:
        for process in (server, model):
            process.terminate()
            process.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(main())
