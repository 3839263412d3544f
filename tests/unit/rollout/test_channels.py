"""[channels.*] of app.toml: what is declared arrives in the environment record; what is wrong is told with its line."""

from pathlib import Path

import pytest
from app_folders import APP, checked, good, mistakes

DECLARED = """
[channels.whatsapp]
opt_out_words = ["chega"]
usd_per_month = 50
usd_per_branch_month = 5.5
reserve = {"n1" = "n2"}
prices = {"351/utility" = 0.02, "351/service" = 0}

[channels.webchat]
origins = ["https://school.example", "http://localhost:3000"]

[channels.email]
ignore = ["@spam.example"]
"""


def test_channels_are_in_the_environment_record_and_not_in_the_release(tmp_path: Path) -> None:
    plain = checked(good(tmp_path / "a"))
    found = checked(good(tmp_path / "b", **{"app.toml": APP + DECLARED}))
    assert found.release == plain.release
    whatsapp = found.spec.channels.whatsapp
    assert whatsapp is not None
    assert (whatsapp.nano_usd_per_month, whatsapp.nano_usd_per_branch_month) == (50 * 10**9, 5_500_000_000)
    assert whatsapp.prices == {"351/utility": 20_000_000, "351/service": 0}
    assert whatsapp.reserve == {"n1": "n2"}
    assert found.spec.channels.webchat is not None
    assert found.spec.channels.email is not None
    assert plain.spec.channels.whatsapp is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[channels.telegram]\n", 'there is no channel "telegram"'),
        ('[channels.whatsapp]\ntoken = "x"\n', "would put a secret into the folder"),
        ('[channels.whatsapp]\nlist_button = "far too long for a button"\n', "list_button has 25 characters"),
        ('[channels.whatsapp]\nreserve = {"n1" = "n1"}\n', '"n1" is not replaced by another number'),
        ('[channels.whatsapp]\nprices = {"351/gifts" = 1}\n', "is not a calling code and a category"),
        ('[channels.whatsapp]\nprices = {"351/utility" = "free"}\n', "is not an amount of USD"),
        ('[channels.webchat]\norigins = ["https://a.example/chat"]\n', "is not an origin"),
    ],
)
def test_a_mistake_in_a_channel_is_told(tmp_path: Path, text: str, problem: str) -> None:
    found = mistakes(good(tmp_path, **{"app.toml": APP + "\n" + text}))
    assert any(problem in m.problem for m in found), found
    assert all(m.line > 0 and m.remedy for m in found)
