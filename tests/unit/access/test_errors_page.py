"""docs/reference/errors.md against the error tree."""

import re
from pathlib import Path

import pytest

from waterline.core.errors import request_errors

PAGE = Path(__file__).parents[3] / "docs/reference/errors.md"
ROW = re.compile(r"^\| `([a-z_]+)` \| (\d{3}) \| (yes|no) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def rows() -> dict[str, tuple[str, ...]]:
    found = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len({code for code, *_ in found}) == len(found), "a code stands twice"
    return {code: tuple(rest) for code, *rest in found}


def test_the_page_has_every_code_and_no_other() -> None:
    assert set(rows()) == set(request_errors())


@pytest.mark.parametrize("code", sorted(request_errors()))
def test_the_page_tells_status_retry_meaning_and_remedy_of_each_code(code: str) -> None:
    status, retry, meaning, remedy = rows()[code]
    error = request_errors()[code]
    assert int(status) == error.status
    assert (retry == "yes") is error.retryable
    assert meaning.endswith(".")
    assert remedy.endswith(".")


def test_the_page_is_in_order_of_status() -> None:
    statuses = [int(status) for status, *_ in rows().values()]
    assert statuses == sorted(statuses)
