"""A prompt in another form says the same."""

import re

import pytest

from waterline.evals.prompt_perturbation import PROMPT_OPERATORS, perturb_prompt, sections

PROMPT = """You are the assistant of a bank. Answer with JSON only.

# Task
Classify the message. Choose one of the following intents, and do not invent others:

- pay_bill
- freeze_account
- pin_change

# Rules
Limit: 20 words. If the message is in "Portuguese", write to {{contact}} or help@bank.example.
1. Read it.
2. Answer with the intent.

# Data
{{> handbook}}
"""


@pytest.mark.parametrize("name", PROMPT_OPERATORS)
def test_every_operator_changes_an_ordinary_prompt_and_keeps_what_counts(name: str) -> None:
    for seed in range(6):
        changed = perturb_prompt(PROMPT, name, seed)
        assert changed is not None
        assert changed != PROMPT
        assert changed == perturb_prompt(PROMPT, name, seed)
        for kept in (
            "{{contact}}",
            "{{> handbook}}",
            "help@bank.example",
            '"Portuguese"',
            "20",
            "pay_bill",
            "pin_change",
        ):
            assert changed.count(kept) == PROMPT.count(kept), kept
        assert changed.index("1. ") < changed.index("2. ")  # numbered steps keep their order


@pytest.mark.parametrize("name", ["headings", "section_order", "blank_lines", "indented", "bullets", "list_order"])
def test_form_only_operators_keep_every_word_of_every_line(name: str) -> None:
    changed = perturb_prompt(PROMPT, name, 3)
    assert changed is not None

    def said(text: str) -> list[str]:
        return sorted(re.findall(r"[\w{}>@.]+", text.lower()))

    assert said(changed) == said(PROMPT)


def test_a_prompt_without_anything_to_change_says_so() -> None:
    for name in ("headings", "tags", "section_order", "list_order", "bullets", "separators", "paraphrased"):
        assert perturb_prompt("Be kind.", name, 1) is None
    with pytest.raises(KeyError):
        perturb_prompt("Be kind.", "heading", 1)


def test_headings_in_code_are_no_headings() -> None:
    assert [part.heading for part in sections("Intro\n```\n# not one\n```\nRULES\nbe brief\nData:\nx: 1")] == [
        "", "RULES", "Data",
    ]  # fmt: skip


def test_sections_move_and_the_opening_stays() -> None:
    changed = perturb_prompt(PROMPT, "section_order", 1)
    assert changed is not None
    assert changed.startswith("You are the assistant")
    assert [part.heading for part in sections(changed)] != [part.heading for part in sections(PROMPT)]
    assert sorted(part.heading for part in sections(changed)) == sorted(part.heading for part in sections(PROMPT))


def test_a_paraphrase_is_not_paraphrased_again() -> None:
    assert (
        perturb_prompt("Answer with care. Reply in English.", "paraphrased", 1) == "Reply with care. Answer in English."
    )
