"""Does an answer have the JSON shape that was asked for?"""

from typing import Any

import pytest

from waterline.core.json_shape import misfit

SCHEMA = {
    "type": "object",
    "properties": {
        "age": {"type": ["integer", "null"]},
        "grade": {"enum": ["kindergarten", "none"]},
        "names": {"type": "array", "items": {"type": "string"}},
        "open": {"type": "boolean"},
    },
    "required": ["age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("text", ['{"age": 5}', '{"age": null, "grade": "none", "names": ["a"], "open": true}'])
def test_what_fits_fits(text: str) -> None:
    assert misfit(text, SCHEMA) == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Sure! {}", "not JSON"),
        ('```json\n{"age": 5}\n```', "not JSON"),
        ("[]", "not of type object"),
        ("{}", "age is missing"),
        ('{"age": "5"}', "age is not of type integer or null"),
        ('{"age": true}', "age is not of type"),
        ('{"age": 1.5}', "age is not of type"),
        ('{"age": 5, "grade": "7"}', "grade is none of the allowed"),
        ('{"age": 5, "names": ["a", 1]}', "names[1] is not of type string"),
        ('{"age": 5, "more": 1}', "more is not in the schema"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_does_not_fit_is_named(text: str, says: str) -> None:
    assert says in misfit(text, SCHEMA)


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"unheard_of": 1}])
def test_what_a_schema_does_not_ask_for_is_not_checked(schema: dict[str, Any]) -> None:
    assert misfit('{"anything": [1, null]}', schema) == ""
