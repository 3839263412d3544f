"""Settings: where a value comes from, and what somebody who wrote a wrong one is told."""

import base64
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest

import waterline
from waterline.core.release import ProviderKind
from waterline.core.trace import Purpose
from waterline.settings import FIELDS, Settings, data_folder, line_of, load, reference_table
from waterline.settings.master_key import ensure_master_key
from waterline.settings.problems import SettingsError
from waterline.settings.read import PROVIDER_KINDS

KEY = "ab" * 32


def problems(environ: dict[str, str], data: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ, data)
    assert all(p.where and p.problem and p.remedy for p in caught.value.problems)
    return str(caught.value).splitlines()


def write(data: Path, text: str, mode: int = 0o600) -> None:
    data.mkdir(exist_ok=True)
    (data / "waterline.toml").write_text(text, encoding="utf-8")
    (data / "waterline.toml").chmod(mode)


def test_without_any_setting_everything_has_its_default(tmp_path: Path) -> None:
    found = load({"HOME": str(tmp_path)})
    assert found.data == tmp_path / ".local/share/waterline"
    assert found.models_dir == tmp_path / ".cache/waterline/models"
    assert (found.host, found.port, found.database) == ("127.0.0.1", 8400, "sqlite")
    assert found.max_body_bytes == 10 * 1024 * 1024
    assert len(found.master_key) == 32
    assert stat.S_IMODE(found.data.stat().st_mode) == 0o700


def test_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    write(tmp_path, 'port = 1000\nhost = "::1"\n')
    found = load({"WATERLINE_PORT": " 2000 "}, tmp_path)
    assert (found.port, found.host, found.log_level) == (2000, "::1", "info")


def test_an_empty_variable_is_an_unset_one(tmp_path: Path) -> None:
    assert load({"WATERLINE_PORT": "", "WATERLINE_MASTER_KEY": " "}, tmp_path).port == 8400


def test_the_data_option_beats_the_variable_beats_xdg(tmp_path: Path) -> None:
    environ = {"WATERLINE_DATA": str(tmp_path / "v"), "XDG_DATA_HOME": str(tmp_path / "x"), "HOME": str(tmp_path)}
    assert data_folder(environ, tmp_path / "option") == tmp_path / "option"
    assert data_folder(environ) == tmp_path / "v"
    del environ["WATERLINE_DATA"]
    assert data_folder(environ) == tmp_path / "x/waterline"
    environ["XDG_DATA_HOME"] = "relative"  # to be ignored, says the specification
    assert data_folder(environ) == tmp_path / ".local/share/waterline"
    assert list(tmp_path.iterdir()) == []


def test_every_setting_can_be_given_by_variable(tmp_path: Path) -> None:
    given = {
        "WATERLINE_HOST": "0.0.0.0", "WATERLINE_PORT": "0", "WATERLINE_PUBLIC_URL": "https://w.example/",
        "WATERLINE_DATABASE": "sqlite", "WATERLINE_MODELS": str(tmp_path / "m"),
        "WATERLINE_MAX_BODY_BYTES": "2048", "WATERLINE_MIN_FREE_MB": "0",
        "WATERLINE_PURPOSE": "trial", "WATERLINE_REDIRECT_PROVIDERS": "http://127.0.0.1:9/{route}",
        "WATERLINE_REDIRECT_SYSTEMS": "http://127.0.0.1:9",
        "WATERLINE_PROVIDER_URLS": "openai=http://a:1/v1/, anthropic=https://b", "WATERLINE_SESSION_HOURS": "8",
        "WATERLINE_EGRESS_HOSTS": "api.OpenAI.com, *.example.org,::1",
        "WATERLINE_SESSION_IDLE_HOURS": "1", "WATERLINE_LOG_LEVEL": "DEBUG",
        "WATERLINE_MASTER_KEY": KEY, "WATERLINE_DATA": str(tmp_path), "WATERLINE_HEADER_TIMEOUT_S": "7",
        "WATERLINE_BODY_TIMEOUT_S": "9", "WATERLINE_SHED_LAG_MS": "250",
        "WATERLINE_WHATSAPP_URL": "http://127.0.0.1:8790/", "WATERLINE_WHATSAPP_VERSION": "v24.0",
        "WATERLINE_WHATSAPP_TOKEN": "t", "WATERLINE_WHATSAPP_APP_SECRET": "new,old",
        "WATERLINE_WHATSAPP_VERIFY_TOKEN": "v", "WATERLINE_WHATSAPP_ACCOUNTS": "1,2",
        "WATERLINE_WHATSAPP_MOVED": "11=22, 33=44", "WATERLINE_EMAIL_ADDRESS": "office@school.example",
        "WATERLINE_EMAIL_IMAP": "imaps://mail.example", "WATERLINE_EMAIL_SMTP": "smtp://mail.example:587",
        "WATERLINE_EMAIL_USER": "office", "WATERLINE_EMAIL_PASSWORD": "p", "WATERLINE_EMAIL_EVERY_S": "5",
    }  # fmt: skip
    assert set(given) == {field.variable for field in FIELDS if field.in_environment}
    assert load(given) == Settings(
        data=tmp_path, master_key=bytes.fromhex(KEY), models_dir=tmp_path / "m", host="0.0.0.0", port=0,
        public_url="https://w.example", max_body_bytes=2048, min_free_mb=0,
        purpose="trial", redirect_providers="http://127.0.0.1:9/{route}",
        redirect_systems="http://127.0.0.1:9",
        provider_urls={"openai": "http://a:1/v1", "anthropic": "https://b"}, session_hours=8, session_idle_hours=1,
        egress_hosts=("api.openai.com", "*.example.org", "::1"),
        log_level="debug", header_timeout_s=7, body_timeout_s=9, shed_lag_ms=250,
        whatsapp_url="http://127.0.0.1:8790", whatsapp_version="v24.0", whatsapp_token="t",
        whatsapp_app_secret="new,old", whatsapp_verify_token="v", whatsapp_accounts="1,2",
        whatsapp_moved={"11": "22", "33": "44"}, email_address="office@school.example",
        email_imap="imaps://mail.example", email_smtp="smtp://mail.example:587", email_user="office",
        email_password="p", email_every_s=5,
    )  # fmt: skip


def test_secrets_of_channels_are_never_shown_and_never_readable_by_others(tmp_path: Path) -> None:
    shown = str(load({"WATERLINE_WHATSAPP_TOKEN": "abc123", "WATERLINE_EMAIL_PASSWORD": "xyz789"}, tmp_path))
    assert "abc123" not in shown
    assert "xyz789" not in shown
    write(tmp_path, 'whatsapp_token = "abc123"\n', mode=0o644)
    assert any("chmod 600" in line for line in problems({}, tmp_path))


@pytest.mark.parametrize(
    "hosts", ["https://api.openai.com", "a.org:443", "*", "*.*.org", "a.org,,b.org", "a/b", "*.::1", "a b", "."]
)
def test_a_list_of_hosts_has_nothing_in_it_that_would_never_match(tmp_path: Path, hosts: str) -> None:
    assert "WATERLINE_EGRESS_HOSTS" in problems({"WATERLINE_EGRESS_HOSTS": hosts}, tmp_path)[0]


def test_an_empty_list_of_hosts_is_no_way_to_allow_none_or_all(tmp_path: Path) -> None:
    write(tmp_path, "egress_hosts = []\n")
    assert "not a list of hosts" in problems({}, tmp_path)[0]
    write(tmp_path, 'egress_hosts = ["a.org", "10.0.0.1"]\n')
    assert load({}, tmp_path).egress_hosts == ("a.org", "10.0.0.1")


@pytest.mark.parametrize("url", ["http://mail.example", "imaps://u:p@mail.example", "imap://mail.example", "imaps://"])
def test_a_mailbox_is_reached_over_tls_and_its_password_is_not_in_its_address(tmp_path: Path, url: str) -> None:
    assert problems({"WATERLINE_EMAIL_IMAP": url}, tmp_path)


def test_tables_of_the_file_are_read_and_its_secrets_yield_to_the_environment(tmp_path: Path) -> None:
    write(tmp_path, '[provider_urls]\nopenai = "http://a"\n[secrets]\nOPENAI_API_KEY = "from-file"\n')
    found = load({}, tmp_path)
    assert found.provider_urls == {"openai": "http://a"}
    assert found.secret("OPENAI_API_KEY", {}) == "from-file"
    assert found.secret("OPENAI_API_KEY", {"OPENAI_API_KEY": "from-environment"}) == "from-environment"
    assert found.secret("OTHER", {}) is None


def test_the_client_variables_of_the_command_line_do_not_disturb(tmp_path: Path) -> None:
    load({"WATERLINE_URL": "http://x", "WATERLINE_KEY": "wl-x", "PATH": "/bin"}, tmp_path)


def test_an_unknown_variable_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    (line,) = problems({"WATERLINE_PROT": "8401"}, tmp_path)
    assert line.startswith("WATERLINE_PROT: is no setting; did you mean 'WATERLINE_PORT'?")


def test_everything_wrong_is_reported_at_once_with_file_and_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        '# mine\nport = "many"\n\nhots = "x"\nmaster_key = "s3cret"\nlog_level = "debgu"\n'
        '[provider_url]\nopenai = "a"\n',
    )
    found = problems({"WATERLINE_MIN_FREE_MB": "-1"}, tmp_path)
    path = tmp_path / "waterline.toml"
    expected = [
        (f"{path}:2: port: 'many' is not a whole number", "from 0 to 65535"),
        (f"{path}:4: 'hots' is no setting; did you mean 'host'?", "Known: host"),
        (f"{path}:5: 'master_key' cannot be set in this file", "WATERLINE_MASTER_KEY"),
        (f"{path}:6: log_level: 'debgu' is not a choice; did you mean 'debug'?", "One of: debug, info"),
        (f"{path}:7: 'provider_url' is no setting; did you mean 'provider_urls'?", "Known"),
        ("WATERLINE_MIN_FREE_MB: '-1' is not a whole number", "from 0 to"),
    ]
    assert len(found) == len(expected)
    for line, (start, remedy) in zip(found, expected, strict=True):
        assert line.startswith(start)
        assert remedy in line
    assert "s3cret" not in "".join(found)


def test_a_mistake_leaves_nothing_behind(tmp_path: Path) -> None:
    problems({"WATERLINE_PORT": "x"}, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("PORT", "65536", "from 0 to 65535"),
        ("PORT", "8_400", "whole number"),
        ("PORT", "9" * 5000, "whole number"),
        ("HOST", "http://x", "not an address"),
        ("PUBLIC_URL", "waterline.example", "not a URL"),
        ("PUBLIC_URL", "https://x:99999999", "not a URL"),
        ("REDIRECT_PROVIDERS", "http://x/", "exactly one {route}"),
        ("REDIRECT_PROVIDERS", "http://x/{route}/{model}", "exactly one {route}"),
        ("PROVIDER_URLS", "opnai=http://x", "did you mean 'openai'"),
        ("PROVIDER_URLS", "http://x", "kind=url"),
        ("DATABASE", "postgresql://u:pa55@h/d", "not available yet in this version"),
        ("DATABASE", "mysql://u:pa55@h/d", "not available in this version"),
        ("PROVIDER_URLS", "openai=http://u:pa55@h/v1", "Secrets belong"),
        ("MASTER_KEY", "pa55", "32 bytes"),
        ("MASTER_KEY", "ab" * 31, "32 bytes"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_remedy_and_no_secret(
    tmp_path: Path, variable: str, value: str, says: str
) -> None:
    (line,) = problems({f"WATERLINE_{variable}": value}, tmp_path)
    assert line.startswith(f"WATERLINE_{variable}: ")
    assert says in line
    assert "pa55" not in line
    assert ("ab" * 31) not in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port = [", ":1: is not TOML"),
        ("port = 1\nport = 2\n", ":2: is not TOML"),
        ("port = true", "whole number"),
        ("port = 84.5", "whole number"),
        ("host = 7", "not text"),
        ('provider_urls = "x"', "kind=url"),
        ("provider_urls = 7", "not a table"),
        ("[secrets]\nA = 1", "table of texts"),
        ("[[port]]\nx = 1", "whole number"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    write(tmp_path, text)
    (line,) = problems({}, tmp_path)
    assert line.startswith(f"{tmp_path / 'waterline.toml'}:")
    assert says in line


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "waterline.toml").write_bytes(b'host = "\xff"')
    (line,) = problems({}, tmp_path)
    assert "not UTF-8" in line


def test_secrets_that_others_may_read_are_refused(tmp_path: Path) -> None:
    write(tmp_path, 'port = 1\n[secrets]\nOPENAI_API_KEY = "sk-123456"\n', mode=0o644)
    (line,) = problems({}, tmp_path)
    assert f"waterline.toml:2: others may read the secrets in this file. Run: chmod 600 {tmp_path}" in line
    assert "sk-123456" not in line


def test_no_secret_is_in_any_printed_form(tmp_path: Path) -> None:
    write(tmp_path, '[secrets]\nOPENAI_API_KEY = "sk-123456"\n')
    found = load({"WATERLINE_MASTER_KEY": KEY}, tmp_path)
    for shown in (repr(found), str(found), f"{found}", str(found.shown()), str(found.__rich_repr__())):
        assert KEY not in shown
        assert repr(found.master_key) not in shown
        assert "sk-123456" not in shown
        assert "OPENAI_API_KEY" in shown


def test_a_data_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        (line,) = problems({}, folder)
        assert line.startswith(f"--data: data folder {folder} is not a folder")
        with pytest.raises(SettingsError, match="WATERLINE_DATA: data folder"):
            load({"WATERLINE_DATA": str(folder)})


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere; act as nobody for a moment, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unwritable_data_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o500)
    with unprivileged():
        (line,) = problems({}, tmp_path / "data")
    assert line.startswith(f"--data: data folder {tmp_path / 'data'} cannot be used: Permission denied")
    assert "may write to" in line


def test_the_master_key_is_made_once_for_its_user_only(tmp_path: Path) -> None:
    key = load({}, tmp_path).master_key
    file = tmp_path / "master.key"
    assert file.read_bytes() == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load({}, tmp_path).master_key == key
    assert [p.name for p in tmp_path.iterdir()] == ["master.key"]


@pytest.mark.parametrize("text", [KEY, KEY.upper(), base64.b64encode(bytes.fromhex(KEY)).decode(),
                                  base64.urlsafe_b64encode(bytes.fromhex(KEY)).decode().rstrip("=")])  # fmt: skip
def test_a_master_key_in_the_environment_is_used_and_none_is_written(tmp_path: Path, text: str) -> None:
    assert load({"WATERLINE_MASTER_KEY": text}, tmp_path).master_key == bytes.fromhex(KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_or_open_master_key_is_reported_and_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    file.write_bytes(b"short")
    file.chmod(0o600)
    (line,) = problems({}, tmp_path)
    assert "has 5 bytes instead of 32" in line
    assert file.read_bytes() == b"short"
    file.write_bytes(bytes(32))
    file.chmod(0o640)
    (line,) = problems({}, tmp_path)
    assert f"others may read the master key. Run: chmod 600 {file}" in line


def test_starts_at_the_same_instant_agree_on_one_master_key(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    keys: list[bytes] = []

    def start() -> None:
        barrier.wait()
        keys.append(ensure_master_key(tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_the_line_of_a_key_is_found_in_the_ways_toml_can_be_written() -> None:
    text = '# port = 1\n"host" = "x"\n  port=2\n[ provider_urls ]\nopenai = "x"\n[[a.b]]\nc.d = 1\n'
    assert [line_of(text, key) for key in ("host", "port", "provider_urls", "a", "c")] == [2, 3, 4, 6, 7]


def test_settings_and_core_name_the_same_providers_and_purposes() -> None:
    """They are one layer and must not import each other, so the names stand twice."""
    assert get_args(ProviderKind) == PROVIDER_KINDS
    assert {"live", "trial", "eval"} <= set(get_args(Purpose))


def test_every_setting_is_used() -> None:
    source = Path(waterline.__file__).parent
    text = "".join(p.read_text() for p in source.rglob("*.py") if p.parent.name != "settings")
    by_method = {"secrets": "secret", "connectors": "connector"}
    refused = {"database"}  # only its default is taken, so that PostgreSQL gets an answer
    for name in set(Settings.__struct_fields__) - refused:
        assert re.search(rf"settings\.{by_method.get(name, name)}\b", text), f"nothing reads the setting {name}"


def test_the_reference_page_holds_every_setting() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert reference_table() in page, "copy waterline.settings.reference_table() into docs/reference/settings.md"
