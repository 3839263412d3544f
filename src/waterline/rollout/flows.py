"""flows/*.toml and knowledge/*.md: into the release by value, every mistake named. See docs/reference/flows.md."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from waterline.core.flow import (
    FILLED,
    KINDS_OF_PERSON,
    NOTED,
    READINGS,
    SLOT_KINDS,
    TEXTS,
    Action,
    Flow,
    Grade,
    Lookup,
    Reminder,
    Slot,
    Voice,
)
from waterline.core.release import Route
from waterline.rollout.flow_systems import check_systems
from waterline.rollout.folder import Folder
from waterline.rollout.keys import Key, Keys
from waterline.rollout.reading import Place, did_you_mean, read_table
from waterline.rollout.toml_lines import TomlLines

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
LANGUAGES = ("en", "pt", "es")
_HOLE = re.compile(r"\{([^{}]*)\}")
MAX_HANDBOOK_CHARS = 60_000  # a few pages; more is the knowledge package's

FLOW: Keys = {
    "languages": Key("texts", required=True),
    "facts": Key("texts"),
    "understand": Key("text"),
    "reading": Key("text", choices=READINGS),
    "answer": Key("text"),
    "handbook": Key("text"),
    "tries": Key("whole", low=1, high=10),
    "warnings": Key("whole", low=0, high=10),
    "memory_chars": Key("whole", low=200, high=20_000),
}
SLOT: Keys = {
    "name": Key("text", required=True),
    "kind": Key("text", choices=SLOT_KINDS, required=True),
    "required": Key("yes_no"),
    "asked": Key("yes_no"),
    "take": Key("text", choices=("phone", "email")),
    "of_person": Key("yes_no"),
    "follows": Key("text"),
    "low": Key("whole", low=0, high=25),
    "high": Key("whole", low=0, high=25),
    "options": Key("texts"),
    "stops": Key("yes_no"),
}
GRADE: Keys = {
    "id": Key("text", required=True),
    "ages": Key("table", required=True),  # a list of whole numbers: read below
    "words": Key("texts"),
    "labels": Key("table"),
}
LOOKUP: Keys = {
    "connector": Key("text", required=True),
    "operation": Key("text", required=True),
    "arguments": Key("table"),
    "ahead_days": Key("whole", low=1, high=366),
    "offer": Key("whole", low=1, high=9),
}
ACTION: Keys = {
    "name": Key("text", required=True),
    "connector": Key("text", required=True),
    "operation": Key("text", required=True),
    "when": Key("text", choices=("known", "confirmed", "moved", "cancelled")),
    "needs": Key("texts"),
    "arguments": Key("table"),
    "key": Key("text", required=True),
    "quiet": Key("yes_no"),
}
REMINDER: Keys = {"after_min": Key("whole", low=0, high=1440)}
VOICE: Keys = {"route": Key("text", required=True), "longest_s": Key("whole", low=1, high=600)}
_SUB = ("slot", "grade", "lookup", "action", "reminder", "voice", "texts", "templates")
TEMPLATES: Keys = {"booked": Key("text"), "cancelled": Key("text"), "failed": Key("text")}
TABLES: Mapping[str, Keys] = {
    "": FLOW, "[[slot]]": SLOT, "[[grade]]": GRADE, "[lookup]": LOOKUP, "[[action]]": ACTION, "[reminder]": REMINDER,
    "[voice]": VOICE,
    "[templates]": TEMPLATES,
}  # fmt: skip


def read_flows(
    folder: Folder, routes: Mapping[str, Route], contracts: Mapping[str, Any], connectors: Collection[str]
) -> tuple[dict[str, Flow], list[str]]:
    """Flows by name, and the other files below flows/. `contracts`: of those `connectors` that are declared well."""
    flows: dict[str, Flow] = {}
    others: list[str] = []
    for file in folder.files("flows"):
        if file.count("/") > 1 or not file.endswith(".toml"):
            others.append(file)
            continue
        text = folder.text(file)
        parsed = folder.toml(file, text) if text is not None else None
        if parsed is None:
            continue
        reader = _Reader(folder, file, *parsed)
        flow = reader.flow(file.removeprefix("flows/").removesuffix(".toml"), routes)
        if flow is not None:
            flows[flow.name] = flow
            if connectors:
                check_systems(flow, contracts, connectors, reader.wrong)
            else:
                folder.warnings.append(
                    f"{file}: app.toml declares no [connectors.<name>], so it cannot look up or do anything"
                )
    if len(flows) > 1:
        folder.wrong(
            sorted(f"flows/{n}.toml" for n in flows)[1], 0, "is a second flow", "Keep one: an app has one flow"
        )
    return flows, others


def read_handbooks(folder: Folder) -> dict[str, str]:
    """knowledge/*.md by name without ".md": "handbook", "handbook.pt"."""
    handbooks: dict[str, str] = {}
    for file in folder.files("knowledge"):
        if not file.endswith(".md"):
            folder.warnings.append(f"{file}: not used in this version; handbooks are knowledge/*.md")
            continue
        text = folder.text(file)
        if text is None:
            continue
        if len(text) > MAX_HANDBOOK_CHARS:
            remedy = f"Keep it to a few pages, at most {MAX_HANDBOOK_CHARS} characters"
            folder.wrong(file, 0, f"has {len(text)} characters", remedy)
        elif not re.search(r"(?m)^#+ \S", text):
            folder.wrong(file, 1, "has no sections", 'Begin each section with a line "## Fees"')
        else:
            handbooks[file.removeprefix("knowledge/").removesuffix(".md")] = text.replace("\r\n", "\n")
    return handbooks


class _Reader:
    """One flow file."""

    def __init__(self, folder: Folder, file: str, table: dict[str, Any], lines: TomlLines) -> None:
        self.folder, self.file, self.table, self.lines = folder, file, table, lines
        self.mistakes = len(folder.mistakes)

    def place(self, name: str, *path: str | int) -> Place:
        return Place(self.folder, self.file, name, lambda key: self.lines.line_of(*path, *([key] if key else [])))

    def wrong(self, path: tuple[str | int, ...], problem: str, remedy: str) -> None:
        self.folder.wrong(self.file, self.lines.line_of(*path), problem, remedy)

    def flow(self, name: str, routes: Mapping[str, Route]) -> Flow | None:
        top = read_table(self.place(""), self.table, FLOW, also=_SUB)
        if not NAME.match(name):
            self.folder.wrong(self.file, 0, f'"{name}" is not a name of a flow', "Use small letters, digits and _")
        for language in top.get("languages", ()):
            if language not in LANGUAGES:
                self.wrong(("languages",), f'no flow can speak "{language}" yet', did_you_mean(language, LANGUAGES))
        for key in ("understand", "answer"):
            if top.get(key) and top[key] not in routes:
                self.wrong((key,), f"there is no route [models.{top[key]}]", did_you_mean(top[key], routes))
        if top.get("reading", "code") != "code" and not top.get("understand"):
            self.wrong(("reading",), "no route is named that reads", 'Write understand = "..." beside it')
        slots = [Slot(**v) for v in self._rows("slot", SLOT)]
        grades = self._grades()
        voice = self._one("voice", VOICE, Voice)
        if voice is not None:
            self._voice(voice, routes)
        flow_values = {
            **top,
            "slots": tuple(slots),
            "grades": grades,
            "lookup": self._one("lookup", LOOKUP, Lookup),
            "actions": tuple(Action(**v) for v in self._rows("action", ACTION)),
            "reminder": self._one("reminder", REMINDER, Reminder) or Reminder(),
            "voice": voice,
            "templates": self._one("templates", TEMPLATES, dict) or {},
            "texts": self._texts(top.get("languages", ()), slots),
        }
        if len(self.folder.mistakes) > self.mistakes:
            return None
        flow = Flow(name=name, **flow_values)
        self._check(flow)
        return flow if len(self.folder.mistakes) == self.mistakes else None

    def _voice(self, voice: Voice, routes: Mapping[str, Route]) -> None:
        route = routes.get(voice.route)
        if route is None:
            remedy = did_you_mean(voice.route, routes)
            self.wrong(("voice", "route"), f"there is no route [models.{voice.route}]", remedy)
        elif route.provider not in ("openai", "simulated"):
            problem = f'[models.{voice.route}] is of provider "{route.provider}", which writes down no recordings'
            remedy = 'Write provider = "openai", with base_url for another server that answers /audio/transcriptions'
            self.wrong(("voice", "route"), problem, remedy)
        elif route.prompt or route.embeddings:
            problem = f"[models.{voice.route}] is for texts: it has a prompt, or embeddings"
            self.wrong(("voice", "route"), problem, "Write a route of its own for voice notes")

    def _rows(self, table: str, keys: Keys) -> list[dict[str, Any]]:
        rows = self.table.get(table, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            self.wrong((table,), f"{table} is a list of tables", f"Write [[{table}]] before each")
            return []
        good: list[dict[str, Any]] = []
        seen: set[str] = set()
        for number, row in enumerate(rows):
            before = len(self.folder.mistakes)
            values = read_table(self.place(f"[[{table}]]", table, number), row, keys)
            name = values.get("name", values.get("id", ""))
            if "name" in values and not NAME.match(name):
                self.wrong((table, number, "name"), f'"{name}" is not a good name', "Use small letters, digits and _")
            if name in seen:
                self.wrong((table, number), f'there are two {table}s named "{name}"', "Rename one of them")
            seen.add(name)
            for key, value in values.items():
                if isinstance(value, dict) and not all(isinstance(v, str) for v in value.values()):
                    self.wrong((table, number, key), f"{key} holds texts only", f'Write {key} = {{ a = "..." }}')
            if len(self.folder.mistakes) == before:
                good.append(values)
        return good

    def _one(self, table: str, keys: Keys, kind: Any) -> Any:
        if table not in self.table:
            return None
        if not isinstance(self.table[table], dict):
            self.wrong((table,), f"{table} is a table", f"Write [{table}]")
            return None
        before = len(self.folder.mistakes)
        values = read_table(self.place(f"[{table}]", table), self.table[table], keys)
        return kind(**values) if len(self.folder.mistakes) == before else None

    def _grades(self) -> tuple[Grade, ...]:
        rows = self.table.get("grade", [])
        ages: list[tuple[int, ...]] = []
        plain: list[dict[str, Any]] = []
        for number, row in enumerate(rows if isinstance(rows, list) else []):
            found = row.get("ages") if isinstance(row, dict) else None
            if not (isinstance(found, list) and found and all(type(a) is int and 0 <= a <= 25 for a in found)):
                self.wrong(("grade", number), "a grade has no ages", "Write ages = [4, 5], whole years")
                return ()
            ages.append(tuple(found))
            plain.append({**row, "ages": {}})
        self.table = {**self.table, "grade": plain}
        values = self._rows("grade", GRADE)
        return tuple(Grade(**{**v, "ages": a}) for v, a in zip(values, ages, strict=False))

    def _texts(self, languages: tuple[str, ...], slots: list[Slot]) -> dict[str, dict[str, str]]:
        found = self.table.get("texts", {})
        wanted = list(TEXTS)
        if isinstance(found, dict) and any(NOTED in texts for texts in found.values() if isinstance(texts, dict)):
            wanted.append(NOTED)
        for slot in slots:
            wanted += [f"ask_{slot.name}"] if slot.asked and not slot.follows else []
            wanted += [f"outside_{slot.name}"] if slot.low is not None or slot.high is not None else []
            wanted += [f"{slot.name}_{option}" for option in slot.options]
        for language in languages:
            texts = found.get(language) if isinstance(found, dict) else None
            if not isinstance(texts, dict):
                self.wrong(("texts",), f"there is no table [texts.{language}]", f"Write [texts.{language}]")
                continue
            for name, text in texts.items():
                if not isinstance(text, str) or not text.strip():
                    self.wrong(("texts", language, name), f'"{name}" is no text', f'Write {name} = "..."')
                elif name not in wanted:
                    self.wrong(("texts", language, name), f'no text is named "{name}"', did_you_mean(name, wanted))
            for name in (n for n in wanted if n not in texts):
                self.wrong(("texts", language), f"[texts.{language}] has no {name}", f'Write {name} = "..."')
        for language in found if isinstance(found, dict) else ():
            if language not in languages:
                self.wrong(("texts", language), f'"{language}" is not among languages', "Add it there, or remove it")
        return dict(found) if isinstance(found, dict) else {}

    def _check(self, flow: Flow) -> None:
        names = {slot.name for slot in flow.slots}
        known = {*names, *flow.facts, *FILLED}
        for number, slot in enumerate(flow.slots):
            path = ("slot", number)
            if slot.of_person and slot.kind not in KINDS_OF_PERSON:
                self.wrong((*path, "of_person"), f"a slot of kind {slot.kind} is no fact of a person", "Leave it out")
            follows = flow.slot(slot.follows) if slot.follows else None
            if slot.follows and (follows is None or follows.kind != "age" or slot.kind != "grade"):
                self.wrong((*path, "follows"), "only a grade follows from a slot of kind age", "Name that slot")
            if slot.kind == "grade" and not flow.grades:
                self.wrong(path, "there is no grade in this flow", "Write [[grade]] tables")
            if slot.kind == "choice" and not 2 <= len(slot.options) <= 10:
                self.wrong(path, "a choice has 2 to 10 options", 'Write options = ["a", "b"]')
            if slot.kind == "appointment" and flow.lookup is None:
                self.wrong(path, "nothing says where free appointments come from", "Write [lookup]")
        if sum(slot.kind == "appointment" for slot in flow.slots) > 1:
            self.wrong(("slot",), "there are two appointments", "A flow has at most one")
        for number, action in enumerate(flow.actions):
            for need in action.needs:
                if need not in names:
                    self.wrong(("action", number, "needs"), f'there is no slot "{need}"', did_you_mean(need, names))
            for key, text in (*action.arguments.items(), ("key", action.key)):
                self._holes(("action", number, key), text, known)
        for language, texts in flow.texts.items():
            for name, text in texts.items():
                self._holes(("texts", language, name), text, known)

    def _holes(self, path: tuple[str | int, ...], text: str, known: set[str]) -> None:
        for hole in _HOLE.findall(text):
            if hole not in known:
                self.wrong(path, f"{{{hole}}} is no slot and no fact", did_you_mean(hole, known))
