"""The local model's process: what it answers, that it comes back, and that it never outlives us."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from waterline.core.errors import Refused
from waterline.providers import models
from waterline.providers.local_server import LocalModelDown, LocalOptions, LocalProcess, default_threads

HELLO = [{"role": "user", "content": "Write one sentence about the sea."}]
SCHEMA = {
    "type": "object",
    "properties": {"mood": {"enum": ["calm", "rough"]}, "waves": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["mood", "waves"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def smol() -> Path:
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    try:
        return models.resolve("smollm2-135m", models.models_dir(os.environ))
    except Refused as refused:
        pytest.skip(str(refused))


def run_server(smol: Path, *more: str) -> Iterator[str]:
    command = [sys.executable, "-m", "waterline.providers.local_server", "--model", str(smol), "--context", "1024"]
    with subprocess.Popen([*command, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["ready"] is True
        yield ready["address"]
        process.terminate()


@pytest.fixture(scope="module")
def server(smol: Path) -> Iterator[str]:
    yield from run_server(smol)


@pytest.fixture(scope="module")
def reproducible(smol: Path) -> Iterator[str]:
    yield from run_server(smol, "--reproducible")


def post(address: str, path: str = "/v1/chat/completions", **body: Any) -> bytes:
    request = urllib.request.Request(
        address + path, json.dumps(body).encode(), {"content-type": "application/json", "origin": "http://evil.example"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert not response.headers.get("access-control-allow-origin")  # no web page may read it
        answer: bytes = response.read()
    return answer


def chat(address: str, **body: Any) -> Any:
    return json.loads(post(address, messages=HELLO, **{"max_tokens": 12, "temperature": 0, **body}))


def chat_streamed(address: str, **body: Any) -> list[Any]:
    text = post(address, messages=HELLO, **{"max_tokens": 12, "temperature": 0, "stream": True, **body}).decode()
    events = [event.removeprefix("data: ") for event in text.split("\n\n") if event.strip()]
    assert events.pop().strip() == "[DONE]"
    return [json.loads(event) for event in events]


def said(events: list[Any]) -> str:
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])


# What it answers


@pytest.mark.model
def test_a_plain_answer_has_text_usage_and_no_path_of_ours(server: str) -> None:
    answer = chat(server)
    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["usage"]["prompt_tokens"] > 12
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] >= 0
    assert "/" not in answer["model"]


@pytest.mark.model
def test_a_streamed_answer_ends_with_usage_and_done(server: str) -> None:
    events = chat_streamed(server, stream_options={"include_usage": True})
    assert said(events)
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 12
    assert events[-2]["choices"][0]["finish_reason"] == "length"


@pytest.mark.model
def test_a_prefix_seen_before_is_reported_as_cached(server: str) -> None:
    chat(server)
    assert chat(server)["usage"]["prompt_tokens_details"]["cached_tokens"] > 12


@pytest.mark.model
@pytest.mark.parametrize("stream", [False, True])
def test_a_json_schema_is_respected(server: str, stream: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "sea", "strict": True, "schema": SCHEMA}}
    if stream:
        text = said(chat_streamed(server, response_format=form, max_tokens=64))
    else:
        text = chat(server, response_format=form, max_tokens=64)["choices"][0]["message"]["content"]
    found = json.loads(text)
    assert found.keys() == {"mood", "waves"}
    assert found["mood"] in ("calm", "rough")
    assert found["waves"] in range(10)


@pytest.mark.model
def test_logprobs_are_returned_for_every_token(server: str) -> None:
    tokens = chat(server, logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]["content"]
    assert len(tokens) == 12
    assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 2 for token in tokens)


@pytest.mark.model
def test_a_prompt_that_does_not_fit_is_refused_and_not_cut(server: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(server, messages=[{"role": "user", "content": "wave " * 2000}], max_tokens=4)
    with refused.value as error:
        assert error.code == 400
        assert json.load(error)["error"]["type"] == "exceed_context_size_error"


@pytest.mark.model
def test_other_callers_prompts_cannot_be_read(server: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(server + "/slots", timeout=10)
    refused.value.close()
    assert refused.value.code in (403, 404, 501)


@pytest.mark.model
def test_identical_requests_to_a_reproducible_server_give_identical_text(reproducible: str) -> None:
    body: dict[str, Any] = {"max_tokens": 24, "temperature": 0.9, "logprobs": True}
    first = chat(reproducible, **body)
    post(reproducible, messages=[{"role": "user", "content": "Something else between."}], max_tokens=5)
    second = chat(reproducible, **body)
    assert first["choices"] == second["choices"]  # the log-probabilities too, to the last digit
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert said(chat_streamed(reproducible, **body)) == first["choices"][0]["message"]["content"]


@pytest.mark.model
def test_embeddings_are_served_when_asked_for(smol: Path) -> None:
    for address in run_server(smol, "--embeddings"):
        data = json.loads(post(address, "/v1/embeddings", input=["sea", "harbour"]))["data"]
        assert [len(item["embedding"]) for item in data] == [576, 576]


# That it comes back, and goes


@asynccontextmanager
async def running(options: LocalOptions, log: Path, **more: Any) -> AsyncIterator[LocalProcess]:
    local = LocalProcess(options, log, **more)
    try:
        yield local
    finally:
        await local.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 what is watched is another process
            await asyncio.sleep(0.01)


@pytest.mark.model
async def test_a_killed_model_refuses_at_once_then_answers_again_at_the_same_address(
    smol: Path, tmp_path: Path
) -> None:
    async with running(LocalOptions(smol, context=512), tmp_path / "log") as local:
        address = await local.start()
        pid = local.pid
        assert pid is not None
        assert (await asyncio.to_thread(chat, address))["usage"]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not local.alive)
        with pytest.raises(ConnectionError, match="SIGKILL"):
            local.address
        await until(lambda: local.alive)
        assert local.pid != pid
        assert await local.ensure() == address
        assert local.restarts == 1
        assert (await asyncio.to_thread(chat, address))["usage"]


@pytest.mark.model
async def test_a_model_that_cannot_be_loaded_says_what_the_log_says(smol: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    async with running(LocalOptions(broken), tmp_path / "log") as local:
        with pytest.raises(LocalModelDown, match=r"(?s)broken\.gguf.*status 1.*invalid magic"):
            await local.ensure()
        assert not local.alive


@pytest.mark.model
def test_the_model_ends_when_its_parent_is_killed(smol: Path, tmp_path: Path) -> None:
    script = f"""
import asyncio, pathlib
from waterline.providers.local_server import LocalOptions, LocalProcess
async def main():
    options = LocalOptions(pathlib.Path({str(smol)!r}), context=512)
    local = LocalProcess(options, pathlib.Path({str(tmp_path / "log")!r}))
    print(await local.ensure(), local.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            address, pid = parent.stdout.readline().split()
            assert chat(address)["usage"]
        finally:
            parent.kill()
    deadline = time.monotonic() + 10
    while is_running(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(int(pid))
    with pytest.raises(OSError):  # refused, or reset while the kernel still takes the process apart
        chat(address)


def is_running(pid: int) -> bool:
    """Whether a process that is not our child runs; a zombie that nobody collected does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return state != "" and not state.startswith("Z")


# The handle alone, with a stand-in for the server


def stand_in(tmp_path: Path, script: str) -> str:
    path = tmp_path / "stand-in"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (4, 3)])
def test_a_core_is_left_for_the_gateway(cores: int, threads: int) -> None:
    assert default_threads(cores) == threads


READY = """echo '{"ready":true,"address":"http://127.0.0.1:1"}'"""


async def test_many_callers_at_once_start_one_process(tmp_path: Path) -> None:
    python = stand_in(tmp_path, f"echo started >> {tmp_path}/starts; sleep 0.2; {READY}; exec sleep 600")
    async with running(LocalOptions(Path("m.gguf")), tmp_path / "log", python=python) as local:
        addresses = await asyncio.gather(*(local.ensure() for _ in range(20)))
        assert set(addresses) == {"http://127.0.0.1:1"}
        assert (tmp_path / "starts").read_text() == "started\n"


async def test_a_caller_who_gives_up_does_not_stop_the_start(tmp_path: Path) -> None:
    python = stand_in(tmp_path, f"sleep 0.3; {READY}; exec sleep 600")
    async with running(LocalOptions(Path("m.gguf")), tmp_path / "log", python=python) as local:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(local.ensure(), 0.1)
        assert await local.ensure() == "http://127.0.0.1:1"
        assert local.restarts == 0


async def test_a_start_that_takes_too_long_is_ended_and_told(tmp_path: Path) -> None:
    python = stand_in(tmp_path, "echo loading for ever >&2; exec sleep 600")
    async with running(LocalOptions(Path("m.gguf")), tmp_path / "log", python=python, start_deadline_s=0.2) as local:
        with pytest.raises(LocalModelDown, match=r"(?s)not ready within 0\.2 s.*loading for ever"):
            await local.ensure()
        assert local.pid is None


async def test_a_model_that_keeps_failing_is_not_started_in_a_loop(tmp_path: Path) -> None:
    python = stand_in(tmp_path, f"echo started >> {tmp_path}/starts; exit 3")
    async with running(LocalOptions(Path("m.gguf")), tmp_path / "log", python=python) as local:
        for _ in range(50):
            with pytest.raises(LocalModelDown, match="status 3"):
                await local.ensure()
        assert (tmp_path / "starts").read_text() == "started\n"


async def test_a_crash_is_followed_by_a_start_without_anyone_asking(tmp_path: Path) -> None:
    python = stand_in(tmp_path, f"echo started >> {tmp_path}/starts; {READY}; sleep 0.05; kill -SEGV $$")
    async with running(LocalOptions(Path("m.gguf")), tmp_path / "log", python=python) as local:
        await local.ensure()
        await until(lambda: local.restarts == 2)
        await until(lambda: not local.alive)
        with pytest.raises(LocalModelDown, match="SIGSEGV"):
            local.address


async def test_a_stopped_model_is_gone_and_may_be_started_again(tmp_path: Path) -> None:
    python = stand_in(tmp_path, f"{READY}; exec sleep 600")
    async with running(LocalOptions(Path("m.gguf")), tmp_path / "log", python=python) as local:
        await local.ensure()
        pid = local.pid
        assert pid is not None
        await local.stop()
        await local.stop()
        assert not is_running(pid)
        with pytest.raises(ConnectionError, match="was stopped"):
            local.address
        await local.ensure()
        assert local.pid != pid


async def test_the_child_sees_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("WATERLINE_MASTER_KEY", "secret")
    python = stand_in(tmp_path, f"env > {tmp_path}/env; {READY}; exec sleep 600")
    async with running(LocalOptions(Path("m.gguf")), tmp_path / "log", python=python) as local:
        await local.ensure()
    assert "secret" not in (tmp_path / "env").read_text()
    assert "PATH=" in (tmp_path / "env").read_text()
