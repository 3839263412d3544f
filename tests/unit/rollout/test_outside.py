"""`waterline check` where the operator has a list of hosts: each address that is not in it, with file and line."""

from pathlib import Path

import pytest
from app_folders import DIGESTS, DRILLS, GOOD, write

from waterline.cli.building import built_or_die
from waterline.core.egress import Egress
from waterline.core.errors import AppFolderError
from waterline.rollout.check import check

OPENAI = {"openai": "https://api.openai.com/v1"}
JUDGE = """\
+++
question = "Is it polite?"
provider = "openai"
model = "gpt-4o-mini-2024-07-18"
base_url = "https://judges.example.net/v1"
+++
Polite? {{answer}}
"""


def told(folder: Path, *hosts: str) -> list[str]:
    try:
        check(folder, model_digests=DIGESTS, known_drills=DRILLS, egress=Egress(hosts), addresses=OPENAI)
    except AppFolderError as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


def test_without_a_list_every_configured_host_is_allowed(tmp_path: Path) -> None:
    assert told(write(tmp_path, {**GOOD, "judges/tone.md": JUDGE})) == []


def test_a_route_without_an_address_is_at_its_providers_own(tmp_path: Path) -> None:
    folder = write(tmp_path, GOOD)
    assert told(folder, "api.openai.com") == told(folder, "*.openai.com") == []
    (mistake,) = told(folder, "models.example.org")
    assert mistake.startswith("app.toml:9: [models.main] ")
    assert '"api.openai.com"' in mistake
    assert "models.example.org" in mistake
    assert 'add "api.openai.com"' in mistake


def test_an_address_of_a_route_and_one_of_a_judge_are_both_told(tmp_path: Path) -> None:
    app = GOOD["app.toml"].replace('model = "gpt-4o-mini"\n', 'model = "m"\nbase_url = "http://10.0.0.9:8000/v1"\n', 1)
    folder = write(tmp_path, {**GOOD, "app.toml": app, "judges/tone.md": JUDGE})
    first, second = told(folder, "api.openai.com")
    assert first.startswith("app.toml:11: [models.main] ")
    assert '"10.0.0.9"' in first
    assert second.startswith("judges/tone.md")
    assert '"judges.example.net"' in second
    assert told(folder, "10.0.0.9", "*.example.net") == []


def test_where_a_cloud_hands_out_credentials_is_a_mistake_without_any_list(tmp_path: Path) -> None:
    app = GOOD["app.toml"].replace('model = "gpt-4o-mini"\n', 'model = "m"\nbase_url = "http://2852039166/v1"\n', 1)
    (mistake,) = told(write(tmp_path, {**GOOD, "app.toml": app}))
    assert "credentials" in mistake


def test_the_command_reads_the_list_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "app", GOOD)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "waterline.toml").write_text('port = "wrong"\negress_hosts = ["models.example.org"]\n')
    monkeypatch.setenv("WATERLINE_DATA", str(tmp_path / "data"))
    with pytest.raises(SystemExit):
        built_or_die(folder, as_json=True)
    assert "api.openai.com" in capsys.readouterr().out
    assert built_or_die(folder, data=tmp_path / "another").app == "school", "the list is another server's"
    monkeypatch.setenv("WATERLINE_EGRESS_HOSTS", "api.openai.com")
    assert built_or_die(folder).app == "school"
    monkeypatch.setenv("WATERLINE_EGRESS_HOSTS", "https://api.openai.com/v1")
    with pytest.raises(SystemExit):
        built_or_die(folder)
    assert "no scheme" in capsys.readouterr().err
    assert list((tmp_path / "data").iterdir()) == [tmp_path / "data" / "waterline.toml"]
