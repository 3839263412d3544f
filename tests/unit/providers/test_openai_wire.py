"""The OpenAI wire format: forwarded untouched, understood exactly, at every split of the bytes."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.core.money import Usage
from waterline.providers.base import ProviderFault
from waterline.providers.openai import OpenAI
from waterline.providers.openai_wire import WireUsage, exclusive


def chunk(content: str | None = None, finish: str | None = None, **more: object) -> bytes:
    delta = {"content": content} if content is not None else {}
    body = {"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


USAGE = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = chunk("") + chunk("Olá") + chunk(" mundo") + chunk(None, "stop") + USAGE + DONE


def read(data: bytes, cuts: list[int], forward_usage: bool = False):
    stream = OpenAI().stream(forward_usage=forward_usage)
    out, at = b"", 0
    for cut in [*sorted(cuts), len(data)]:
        out += stream.feed(data[at:cut])
        at = cut
    return stream, out


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_every_split_of_a_stream_reads_the_same(cuts):
    stream, out = read(WHOLE, cuts)
    assert out == chunk("") + chunk("Olá") + chunk(" mundo") + chunk(None, "stop")
    assert (stream.done, stream.finished, stream.finish_reason) == (True, True, "stop")
    assert "".join(stream.text) == "Olá mundo"
    assert stream.usage == Usage(input=10, output=2)


def test_usage_event_is_forwarded_to_a_caller_who_asked_for_it():
    _, out = read(WHOLE, [], forward_usage=True)
    assert USAGE in out


def test_usage_null_that_we_asked_for_is_stripped_again():
    plain = chunk("hi")
    with_null = plain[:-3] + b',"usage":null}\n\n'
    _, out = read(with_null + DONE, [])
    assert out == plain


def test_text_that_looks_like_a_usage_field_is_left_alone():
    tricky = chunk('say ,"usage":null please')
    _, out = read(tricky + DONE, [])
    assert out == tricky


def test_role_only_chunk_is_not_content():
    stream, _ = read(b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n', [])
    assert not stream.began


def test_stream_with_two_choices_is_finished_when_both_are():
    def choice(index: int, finish: str | None) -> bytes:
        body = {"choices": [{"index": index, "delta": {"content": "x"}, "finish_reason": finish}]}
        return b"data: " + json.dumps(body).encode() + b"\n\n"

    stream, _ = read(choice(0, None) + choice(1, None) + choice(0, "stop"), [])
    assert not stream.finished
    stream.feed(choice(1, "stop"))
    assert stream.finished


@pytest.mark.parametrize("bad", [b"data: {\n\n", b"data: [1]\n\n", b'data: {"choices":3}\n\n', b"data: \xff\xfe\n\n"])
def test_malformed_event_is_a_fault_and_what_came_before_is_kept(bad):
    stream = OpenAI().stream(forward_usage=False)
    with pytest.raises(ProviderFault) as caught:
        stream.feed(chunk("a") + bad)
    assert caught.value.kind == "garbage"
    assert stream.pending == chunk("a")


def test_error_event_is_a_fault():
    stream = OpenAI().stream(forward_usage=False)
    with pytest.raises(ProviderFault) as caught:
        stream.feed(b'data: {"error":{"message":"boom","code":500}}\n\n')
    assert caught.value.kind == "unavailable"


def test_crlf_and_comments_are_understood():
    stream, out = read(b": ping\r\n\r\n" + chunk("a").replace(b"\n", b"\r\n") + DONE, [])
    assert out == chunk("a")
    assert stream.done


@settings(max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_read_or_refused_never_a_crash(data, cut):
    stream = OpenAI().stream(forward_usage=False)
    try:
        stream.feed(data[:cut])
        stream.feed(data[cut:] + b"\n\n")
    except ProviderFault:
        pass


def test_buckets_exclude_each_other():
    wire = json.dumps(
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 5},
        }
    )
    usage = exclusive(msgspec.json.decode(wire, type=WireUsage))
    assert usage == Usage(input=30, cached_input=60, audio_input=10, output=15, reasoning=30, audio_output=5)
    assert usage.total_input == 100
    assert usage.total_output == 50


def test_answer_without_usage_is_not_usage_zero():
    body = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
    assert OpenAI().answer(body).usage is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"choices":[]}', b'{"choices":"x"}', b"[" * 100_000])
def test_garbage_answer_is_a_fault(body):
    with pytest.raises(ProviderFault) as caught:
        OpenAI().answer(body)
    assert caught.value.kind == "garbage"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b'{"error":{"message":"slow"}}', "rate_limited"),
        (500, b"oops", "unavailable"),
        (401, b'{"error":{"message":"bad key"}}', "refused_key"),
        (400, b'{"error":{"message":"no","code":"context_length_exceeded"}}', "context_length"),
        (400, b'{"error":{"message":"no","code":400,"type":"exceed_context_size_error"}}', "context_length"),
        (400, b'{"error":{"message":"no"}}', "invalid"),
        (302, b"", "garbage"),
    ],
)
def test_fault_kinds(status, body, kind):
    assert OpenAI().fault(status, [(b"retry-after", b"2")], body).kind == kind


# Found by tests/fuzz.


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n"])
@pytest.mark.parametrize("between", [1, 2, 3])
def test_every_kind_of_line_end_reads_the_same_at_every_split(end, between):
    data = b": hello\n\n".replace(b"\n", end) + chunk("a").strip().replace(b"\n", end) + end * (1 + between)
    data += chunk("b", "stop") + DONE
    expected = chunk("a") + chunk("b", "stop")
    assert read(data, [])[1] == expected
    for at in range(len(data)):
        assert read(data, [at])[1] == expected, at
    assert read(data, list(range(len(data))))[1] == expected


def test_a_cr_before_a_line_end_splits_no_event_differently():
    data = chunk("a")[:-2] + b"\r\r\n" + chunk("b", "stop")
    assert {read(data, [at])[1] for at in range(len(data))} == {chunk("a") + chunk("b", "stop")}


def test_an_empty_finish_reason_is_none_so_that_a_cut_stream_is_not_whole():
    stream, _ = read(chunk("half an", "") + chunk(" answer", ""), [])
    assert not stream.finished
    stream, _ = read(chunk("half an", "") + chunk(" answer", "stop"), [])
    assert stream.finished


def test_bytes_that_are_no_utf_8_are_garbage_even_where_we_do_not_look():
    bad = chunk("a")[:-3] + b',"x":"\xff"}\n\n'
    with pytest.raises(ProviderFault, match="not a chunk"):
        read(bad, [])
    with pytest.raises(ProviderFault, match="utf-8"):
        OpenAI().answer(b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"\xff":1}')


def test_an_error_event_that_cannot_be_read_is_still_an_error_event():
    with pytest.raises(ProviderFault) as caught:
        read(b'data: {"error":{"message":"over\\ud800loaded"}}\n\n', [])
    assert caught.value.kind in ("unavailable", "garbage")
