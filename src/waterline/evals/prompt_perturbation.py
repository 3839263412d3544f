"""Seeded changes to a prompt's form, not to what it says: how brittle is the template?

A team that reformats its prompt should not lose quality by it. Every operator keeps the instructions, the
{{placeholders}}, {{> includes}}, code fences, numbers and quoted strings; only scaffolding moves. The range over such
formats can pass 40 points of accuracy: Sclar et al. (2024), "Quantifying Language Models' Sensitivity to Spurious
Features in Prompt Design", arXiv 2310.11324; paraphrases after Mizrahi et al. (2024), arXiv 2401.00595.
"""

import re
from collections.abc import Callable
from random import Random
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")


class PromptOperator(Struct, frozen=True):
    """`change` is given the prompt and its chance; None where it has nothing to change."""

    name: str
    about: str
    change: Callable[[str, Random], str | None]


class Section(Struct, frozen=True):
    """A stretch of a prompt under one heading. `heading` "": the text before the first."""

    heading: str
    style: str  # "markdown", "capitals", "colon"; "" without a heading
    body: str  # lines, without the heading


def perturb_prompt(prompt: str, name: str, seed: int) -> str | None:
    """The prompt in another form, always different; None where this operator has nothing to change. Raises KeyError for
    an unknown name. The same (prompt, name, seed) gives the same text in every process."""
    changed = PROMPT_OPERATORS[name].change(prompt, Random(f"prompt:{seed}:{name}:{prompt}"))
    if changed is None or changed == prompt or _held(changed) != _held(prompt):
        return None  # what must be kept was not: no figure is better than one of another prompt
    return changed


def _held(text: str) -> list[str]:
    """What no operator may lose or alter, in any order: placeholders, numbers, addresses and quoted strings."""
    return sorted(re.findall(r"\{\{[^}]*\}\}|\"[^\"\n]*\"|[\w.+-]+@[\w.-]+\w|\d+(?:[.:,]\d+)*", text))


# ------------------------------------------------------------------------------------------------------- sections

_HEADINGS = (
    ("markdown", re.compile(r"^#{1,6} +(\S.*?)\s*$")),
    ("capitals", re.compile(r"^([A-ZÀ-Ý][A-ZÀ-Ý &/-]{2,40})\s*$")),
    ("colon", re.compile(r"^([A-ZÀ-Ý][\w &/-]{2,40}):\s*$")),
)


def sections(prompt: str) -> list[Section]:
    """Cut at headings (`# Title`, `TITLE` or `Title:` on a line of its own). Put together again they are the prompt, up
    to the style of the headings."""
    found: list[Section] = []
    heading, style, lines, fenced = "", "", list[str](), False
    for line in prompt.split("\n"):
        fenced ^= line.lstrip().startswith("```")
        named = None if fenced else _heading(line)
        if named is None:
            lines.append(line)
            continue
        if heading or any(text.strip() for text in lines):
            found.append(Section(heading, style, "\n".join(lines)))
        heading, style, lines = named[0], named[1], []
    found.append(Section(heading, style, "\n".join(lines)))
    return found


def _heading(line: str) -> tuple[str, str] | None:
    for style, pattern in _HEADINGS:
        if match := pattern.match(line):
            return match.group(1), style
    return None


def _joined(parts: list[Section], title: Callable[[Section], str]) -> str:
    return "\n".join(part.body if not part.heading else f"{title(part)}\n{part.body}" for part in parts)


def _as_written(part: Section) -> str:
    match part.style:
        case "markdown":
            return f"# {part.heading}"
        case "colon":
            return f"{part.heading}:"
        case _:
            return part.heading


# ------------------------------------------------------------------------------------------------------ operators


def _other_headings(prompt: str, rng: Random) -> str | None:
    """Another style for every heading: Markdown, capitals, a colon, bold, or rules of dashes."""
    parts = sections(prompt)
    present = {part.style for part in parts if part.heading}
    if not present:
        return None
    styles: dict[str, Callable[[str], str]] = {
        "markdown": lambda h: f"### {h.capitalize()}", "capitals": str.upper, "colon": lambda h: f"{h.capitalize()}:",
        "bold": lambda h: f"**{h}**", "rule": lambda h: f"--- {h} ---",
    }  # fmt: skip
    free = [name for name in styles if name not in present]
    chosen = styles[free[int(rng.random() * len(free))]]
    return _joined(parts, lambda part: chosen(part.heading))


def _tags(prompt: str, rng: Random) -> str | None:
    """Sections between XML-like tags instead of under headings."""
    parts = sections(prompt)
    if not any(part.heading for part in parts):
        return None
    told = []
    for part in parts:
        name = re.sub(r"\W+", "_", part.heading.lower()).strip("_")
        told.append(f"<{name}>\n{part.body.strip()}\n</{name}>" if name else part.body.strip())
    return "\n\n".join(text for text in told if text)


def _order(prompt: str, rng: Random) -> str | None:
    """Sections in another order; the text before the first heading stays first. Without sections: paragraphs."""
    parts = sections(prompt)
    named = [part for part in parts if part.heading]
    if len(named) > 1:
        return _joined([*(p for p in parts if not p.heading), *_moved(named, rng)], _as_written)
    blocks = re.split(r"\n{2,}", prompt.strip())
    if len(blocks) < 3 or any(re.match(r"\s*\d+[.)]", block) for block in blocks):
        return None
    return "\n\n".join([blocks[0], *_moved(blocks[1:], rng)])


def _list_order(prompt: str, rng: Random) -> str | None:
    """The lines of each bulleted list in another order. Numbered lists are steps and stay."""

    def shuffled(match: re.Match[str]) -> str:
        return "\n".join(_moved(match.group().split("\n"), rng))

    changed = re.sub(r"^[-*•] .*(?:\n[-*•] .*)+", shuffled, prompt, flags=re.MULTILINE)
    return changed if changed != prompt else None


def _moved(items: list[T], rng: Random) -> list[T]:
    """Another order than the one given, where there is one."""
    ranked = [item for _, _, item in sorted((rng.random(), place, item) for place, item in enumerate(items))]
    return ranked if ranked != items else [*items[1:], items[0]]


def _bullets(prompt: str, rng: Random) -> str | None:
    marks = [mark for mark in ("- ", "* ", "• ", "-- ") if not re.search(rf"^{re.escape(mark)}", prompt, re.MULTILINE)]
    mark = marks[int(rng.random() * len(marks))]
    changed = re.sub(r"^([ \t]*)(?:[-*•]|--) (?=\S)", lambda m: m.group(1) + mark, prompt, flags=re.MULTILINE)
    return changed if changed != prompt else None


def _blank_lines(prompt: str, rng: Random) -> str | None:
    """Blank lines between all lines, or none at all."""
    if re.search(r"\n\s*\n", prompt) and rng.random() < 0.5:
        return re.sub(r"\n\s*\n+", "\n", prompt)
    return re.sub(r"\n+", "\n\n", prompt.rstrip("\n")) if "\n" in prompt.strip() else f"\n{prompt}\n\n"


def _indented(prompt: str, rng: Random) -> str | None:
    """As a text in the middle of a program is: indented, with blanks at the ends of lines."""
    step = " " * (2 + 2 * int(rng.random() * 2))
    return "\n".join(f"{step}{line}  " if line.strip() else line for line in prompt.split("\n"))


def _colons(prompt: str, rng: Random) -> str | None:
    """`Name: value` as `Name - value`, `Name = value` or `Name:: value` (Sclar et al., separators)."""
    mark = (" - ", " = ", " :: ", ":\t")[int(rng.random() * 4)]
    changed = re.sub(r"(?m)^([ \t]*(?:[-*•] )?[A-Za-zÀ-ÿ][\w ]{0,30}): (?=\S)", lambda m: m.group(1) + mark, prompt)
    return changed if changed != prompt else None


_PHRASES: tuple[tuple[str, str], ...] = (
    (r"\bYou are (?=an? |the )", "Act as "),
    (r"\bDo not\b", "Never"),
    (r"\bdo not\b", "don't"),
    (r"\bAnswer (?=with|in|only|every|the)", "Reply "),
    (r"\bReply (?=with|in|only)", "Answer "),
    (r"\bUse only\b", "Use nothing but"),
    (r"\bonly use\b", "use nothing but"),
    (r"\bIf (?=[a-z])", "Whenever "),
    (r"\bClassify\b", "Sort"),
    (r"\bChoose\b", "Pick"),
    (r"\bReturn\b", "Give back"),
    (r"\bWrite\b(?= (?:in|one|the|a)\b)", "Phrase your answer"),
    (r"\bone of the following\b", "exactly one of these"),
    (r"\bmust\b", "have to"),
    (r"\bVocê é (?=um|uma|o|a)", "Aja como "),
    (r"\bResponda\b", "Dê a resposta"),
    (r"\bNão (?=use|invente|diga|responda)", "Nunca "),
    (r"\bSe (?=[a-zà-ÿ])", "Caso "),
    (r"\bEres (?=un|una|el|la)", "Actúa como "),
    (r"\bResponde\b", "Da la respuesta"),
    (r"\bNo (?=uses|inventes|digas|respondas)", "Nunca "),
    (r"\bSi (?=[a-zà-ÿ])", "Cuando "),
)


def _paraphrased(prompt: str, rng: Random) -> str | None:
    """The stock phrases of instructions in other words of the same meaning. Text within quotes stays."""
    pieces = re.split(r"(\"[^\"\n]*\"|\{\{[^}]*\}\}|```.*?```)", prompt, flags=re.DOTALL)
    for place in range(0, len(pieces), 2):
        pieces[place] = _rephrased(pieces[place])
    changed = "".join(pieces)
    return changed if changed != prompt else None


def _rephrased(text: str) -> str:
    """All phrases in one pass, so that no replacement is itself replaced."""
    whole = re.compile("|".join(f"({pattern})" for pattern, _ in _PHRASES))

    def other(match: re.Match[str]) -> str:
        return _PHRASES[(match.lastindex or 1) - 1][1]

    return whole.sub(other, text)


def _polite(prompt: str, rng: Random) -> str | None:
    lines = ("Please follow these instructions carefully.", "Read the following instructions before you answer.",
             "Below are your instructions.")  # fmt: skip
    return f"{lines[int(rng.random() * len(lines))]}\n\n{prompt}"


PROMPT_OPERATORS: dict[str, PromptOperator] = {
    operator.name: operator
    for operator in (
        PromptOperator("headings", "headings in another style", _other_headings),
        PromptOperator("tags", "sections between tags instead of under headings", _tags),
        PromptOperator("section_order", "sections in another order", _order),
        PromptOperator("list_order", "bulleted lists in another order", _list_order),
        PromptOperator("bullets", "another mark for bullets", _bullets),
        PromptOperator("separators", "another separator between a name and its value", _colons),
        PromptOperator("blank_lines", "more or fewer blank lines", _blank_lines),
        PromptOperator("indented", "indented, with blanks at the ends of lines", _indented),
        PromptOperator("paraphrased", "the stock phrases of instructions in other words", _paraphrased),
        PromptOperator("opening", "one more sentence at the start", _polite),
    )
}
