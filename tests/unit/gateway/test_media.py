"""Images, recordings and files are counted from the decoded parts, so that no way of writing them hides one from a
budget; and never as less than their provider's published formula says."""

import json
import struct
from base64 import b64encode
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from waterline.core.app_spec import Limits
from waterline.core.errors import BudgetExceeded
from waterline.core.money import NANO, Price, Usage, cost_nano_usd, worst_case_nano_usd
from waterline.core.release import Route
from waterline.core.request import Request, decode_request
from waterline.gateway.budget import Budget
from waterline.gateway.media import media_bound, prompt_tokens
from waterline.gateway.media_formulas import AUDIO_TOKENS_PER_S, FILE_TOKENS, IMAGE_TOKENS, LOW_IMAGE_TOKENS
from waterline.gateway.media_sizes import audio_seconds, image_size

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
TEXT = {"type": "text", "text": "what is [this]?"}
UNKNOWN = Route(provider="openai", model="somebody-s-model", base_url="http://localhost:8000/v1")
GPT = Route(provider="openai", model="gpt-4o-2024-08-06")
CLAUDE = Route(provider="anthropic", model="claude-haiku-4-5-20251001")
GEMINI = Route(provider="gemini", model="gemini-2.5-flash")
PIXELS = st.integers(1, 20_000)


def written(*contents: object) -> bytes:
    return json.dumps([{"role": "user", "content": content} for content in contents]).encode()


def counted(*contents: object, route: Route = UNKNOWN) -> int:
    """Beyond the bytes of the body; 0: those are the bound."""
    body = written(*contents)
    bound = media_bound(body, Raw(body), route)
    return bound - len(body) if bound else 0


# --- what counts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["hello", "an image [1] of [2]", None, [TEXT], [TEXT, "a [text]"], [],
     [{"type": "text", "text": '{"type":"image_url"}'}]],
)  # fmt: skip
def test_text_is_bounded_by_its_bytes(content: object) -> None:
    assert counted(content) == 0


def test_every_image_of_every_message_counts() -> None:
    assert counted([TEXT, IMAGE], "between", [IMAGE, {"type": "image", "source": {}}]) == 3 * IMAGE_TOKENS


URL = '"url": "https://example.com/a.png"'


@pytest.mark.parametrize(
    ("image", "tokens"),
    [
        ('{%s, "detail": "low"}', LOW_IMAGE_TOKENS),
        ('{%s, "detail": "high"}', IMAGE_TOKENS),
        ('{%s, "detail": "low", "detail": "high"}', IMAGE_TOKENS),
        (r'{%s, "detail": "low", "d\u0065tail": "high"}', IMAGE_TOKENS),
        ('{%s}, "detail": "low"', IMAGE_TOKENS),
        ('{%s, "detail": null}', IMAGE_TOKENS),
        ('"https://example.com/a.png"', IMAGE_TOKENS),
    ],
)
def test_an_image_of_low_detail_is_reserved_as_one_unless_it_could_be_read_otherwise(image: str, tokens: int) -> None:
    part = '{"type": "image_url", "image_url": ' + (image % URL if "%s" in image else image) + "}"
    messages = ('[{"role": "user", "content": [' + part + "]}]").encode()
    assert media_bound(messages, Raw(messages), UNKNOWN) - len(messages) == tokens
    assert max(2_833, 4_784) <= LOW_IMAGE_TOKENS  # OpenAI's base; Anthropic's dearest


def test_an_image_inside_a_tools_result_counts() -> None:
    assert counted([{"type": "tool_result", "tool_use_id": "t", "content": [TEXT, IMAGE]}]) == IMAGE_TOKENS


@pytest.mark.parametrize(
    ("block", "tokens"),
    [
        ({"type": "thinking", "thinking": "hm", "signature": "cw=="}, 0),
        ({"type": "tool_use"}, 0),
        ({"type": "web_search_tool_result", "content": []}, 0),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, IMAGE_TOKENS),
        ({"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}, FILE_TOKENS),
        ({"type": "something new"}, FILE_TOKENS),
        (7, 0),
    ],
)
def test_a_block_of_a_messages_request_counts_as_what_it_is(block: object, tokens: int) -> None:
    assert counted([{"type": "anthropic", "anthropic": block}]) == tokens


@pytest.mark.parametrize("kind", ["file", "document", "input_file", "something new", "", 7, None])
def test_files_and_kinds_that_are_not_known_count_as_files(kind: object) -> None:
    assert counted([{"type": kind}]) == FILE_TOKENS


@pytest.mark.parametrize(
    "part",
    [rb'{"type":"image\u005furl"}', rb'{"typ\u0065":"image_url"}', rb'{ "type" : "\u0069mage_url" }'],
)
def test_an_image_behind_json_escapes_counts(part: bytes) -> None:
    messages = b'[{"role":"user","c\\u006fntent":[' + part + b"]}]"
    assert media_bound(messages, Raw(messages), UNKNOWN) - len(messages) == IMAGE_TOKENS


# --- files: no more than the model's window ---------------------------------------------------------------------------


def test_a_file_is_bounded_by_the_window_of_a_known_model_or_by_the_declared_one() -> None:
    pdf = [{"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}]
    body = written(pdf * 3)
    assert media_bound(body, Raw(body), GPT) == 128_000
    assert counted(pdf * 3) == FILE_TOKENS, "no prompt has more than a window, however many files"
    assert counted(pdf, route=Route(provider="simulated", model="m", context=8_000)) == 8_000


def test_no_known_model_is_reserved_more_than_its_window() -> None:
    body = written([{"type": "text", "text": "word " * 60_000}, IMAGE])
    assert media_bound(body, Raw(body), GPT) == 128_000


# --- images: the published formulas -----------------------------------------------------------------------------------


def png(wide: int, high: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", wide, high) + b"\x08\x02\0\0\0" + b"\0" * 50


def jpeg(wide: int, high: int) -> bytes:
    exif = b"\xff\xe1" + struct.pack(">H", 9_002) + b"\xff\xc0\0\x11\x08\0\1\0\1" + b"x" * 8_991  # a thumbnail in it
    return b"\xff\xd8" + exif + b"\xff\xff\xc2\0\x11\x08" + struct.pack(">HH", high, wide) + b"\3" + b"\0" * 60


def webp_lossy(wide: int, high: int) -> bytes:
    return b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\x30\1\0\x9d\x01\x2a" + struct.pack("<HH", wide, high) + b"\0" * 20


def webp_lossless(wide: int, high: int) -> bytes:
    return b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", wide - 1 | (high - 1) << 14) + b"\0" * 20


def webp_extended(wide: int, high: int) -> bytes:
    sides = struct.pack("<I", wide - 1)[:3] + struct.pack("<I", high - 1)[:3]
    return b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + sides + b"\0" * 20


MAKERS = [png, jpeg, webp_lossy, webp_lossless, webp_extended]


def base64(data: bytes) -> str:
    return b64encode(data).decode()


@given(st.sampled_from(MAKERS), st.integers(1, 16_383), st.integers(1, 16_383))
def test_the_size_of_an_image_is_read_from_its_first_bytes(make, wide: int, high: int) -> None:  # type: ignore[no-untyped-def]
    assert image_size(base64(make(wide, high))) == (wide, high)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"RIFF\0\0\0\0WEBPVP8X", b"\x89PNG\r\n\x1a\n"]))
def test_no_bytes_make_the_readers_fail(junk: bytes, begin: bytes) -> None:
    size = image_size(base64(begin + junk))
    assert size is None or min(size) > 0
    for form in ("wav", "mp3", "flac", None):
        seconds = audio_seconds(base64(b"RIFF\0\0\0\0WAVEfmt " + junk), form)
        assert seconds is None or seconds > 0


@pytest.mark.parametrize("spoil", ["-", " ", "\n", "=", "\\", "é"])
def test_base64_that_others_may_read_otherwise_tells_no_size(spoil: str) -> None:
    data = base64(png(100, 100))
    assert image_size(data[:20] + spoil + data[20:]) is None
    assert image_size("") is None


def tiles(wide: float, high: float, up: bool) -> int:
    """OpenAI's words: into 2048 by 2048, then the shortest side 768."""
    fit = min(1.0, 2048 / max(wide, high))
    wide, high = wide * fit, high * fit
    if up or min(wide, high) > 768:
        wide, high = (side * 768 / min(wide, high) for side in (wide, high))
    return min(8, ceil(round(wide) / 512) * ceil(round(high) / 512))


@given(st.sampled_from([png, jpeg, webp_extended]), PIXELS, PIXELS)
def test_the_bound_is_never_below_a_published_formula(make, wide: int, high: int) -> None:  # type: ignore[no-untyped-def]
    data = base64(make(wide, high))
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}

    def bound(part: object, route: Route) -> int:
        body = written([TEXT, part])
        return media_bound(body, Raw(body), route) - (len(body) - len(data))

    assert bound(url, GPT) >= 85 + 170 * max(tiles(wide, high, up) for up in (False, True))
    patches = min(1536, ceil(wide / 32) * ceil(high / 32))
    assert bound(url, Route(provider="openai", model="gpt-5-nano")) >= ceil(patches * 2.46)
    claude = max(min(1_600, wide * high / 750), min(4_784, ceil(wide / 28) * ceil(high / 28)))
    for part in (url, block):
        assert bound(part, CLAUDE) >= claude
        assert bound(part, CLAUDE) <= 4_784
    assert bound(url, GEMINI) >= (258 if max(wide, high) <= 384 else 258 * ceil(wide / 768) * ceil(high / 768))


def test_the_bound_covers_the_dearest_image_that_a_provider_bills() -> None:
    """gpt-4o-mini: 2,833 tokens, and 5,667 a tile of 512 pixels after scaling into 2048 by 768: eight at most."""
    tiles_at_most = (2048 // 512) * -(-768 // 512)
    assert tiles_at_most * 5_667 + 2_833 == IMAGE_TOKENS
    assert counted([IMAGE], route=Route(provider="openai", model="gpt-4o-mini")) == IMAGE_TOKENS
    assert (
        counted([IMAGE], route=Route(provider="openai", model="gpt-4o-mini-2031-01-01", base_url="x")) == IMAGE_TOKENS
    )
    assert counted([IMAGE], route=Route(provider="openai", model="gpt-4o-next")) == IMAGE_TOKENS, "not known"


def test_a_large_inline_image_is_not_reserved_as_a_megabyte_of_text_where_its_model_is_known() -> None:
    data = base64(jpeg(1024, 1024) + bytes(1 << 20))
    part = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
    body = written([TEXT, part, part])
    assert media_bound(body, Raw(body), GPT) < 2_000
    assert media_bound(body, Raw(body), UNKNOWN) > 2 * len(data), "a server that is not known may read it as text"


def test_an_image_that_was_left_out_of_the_prompt_is_no_reason_to_reserve_less_for_its_text() -> None:
    data = base64(png(64, 64) + bytes(3_000))
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    sent = written([TEXT], "words [" * 600)
    assert media_bound(sent, Raw(written([TEXT, part])), GPT) >= len(sent)


@pytest.mark.parametrize(
    "image",
    ['{"url": "%s", "url": "https://example.com/huge.png"}', '{"url": "https://example.com/huge.png", "url": "%s"}',
     '{"url": "%s"}, "image_url": {"url": "https://example.com/huge.png"}', r'{"url": "%s", "\u0075rl": "x"}'],
)  # fmt: skip
def test_an_image_that_could_be_read_as_another_is_reserved_as_the_largest(image: str) -> None:
    data = base64(png(10, 10))
    part = '{"type": "image_url", "image_url": ' + image.replace("%s", f"data:image/png;base64,{data}") + "}"
    body = ('[{"role": "user", "content": [' + part + "]}]").encode()
    assert media_bound(body, Raw(body), GPT) >= len(body) - len(data) + 85 + 8 * 170


# --- recordings ----------------------------------------------------------------------------------------------------


def wav(seconds: float, rate: int = 8_000, channels: int = 1, bits: int = 16, form: int = 1) -> bytes:
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", form, channels, rate, rate * block, block, bits)
    samples = bytes(int(seconds * rate) * block)
    return b"RIFF\0\0\0\0WAVELIST\4\0\0\0INFOfmt \x10\0\0\0" + fmt + b"data" + struct.pack("<I", len(samples)) + samples


@given(st.floats(0, 20), st.sampled_from([1, 50, 8_000, 44_100]), st.sampled_from([1, 2]), st.sampled_from([8, 16, 32]))
def test_a_wav_is_never_taken_for_shorter_than_it_is(seconds: float, rate: int, channels: int, bits: int) -> None:
    data = wav(seconds if rate < 44_100 else seconds / 20, rate, channels, bits)
    whole = int((seconds if rate < 44_100 else seconds / 20) * rate) / rate
    found = audio_seconds(base64(data), "wav")
    assert found is not None
    assert found >= whole
    for route in (UNKNOWN, GPT):
        assert recorded(data, "wav", route) >= whole * AUDIO_TOKENS_PER_S


def recorded(data: bytes, form: str, route: Route) -> int:
    body = written([{"type": "input_audio", "input_audio": {"data": base64(data), "format": form}}])
    return media_bound(body, Raw(body), route) - (len(body) - len(base64(data)))


def test_a_wav_whose_header_contradicts_itself_is_as_long_as_its_slowest_reading() -> None:
    honest = wav(10.0)
    told = honest.replace(struct.pack("<I", 16_000), struct.pack("<I", 160_000_000), 1)
    assert audio_seconds(base64(told), "wav") == pytest.approx(10.0, abs=0.1)
    assert audio_seconds(base64(wav(1.0, form=17)), "wav") is None, "compressed: its bytes say nothing"
    assert audio_seconds(base64(wav(1.0) + b"fmt "), "wav") is None


def test_an_mp3_is_as_long_as_its_lowest_bit_rate_allows() -> None:
    frame = bytes([0xFF, 0xFB, 0x90, 0x00])
    tag = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    for begin in (frame, tag + frame):
        data = begin + bytes(30_000)
        assert audio_seconds(base64(data), "mp3") == pytest.approx(len(data) / 1000, rel=0.01)
    assert recorded(frame + bytes(30_000), "mp3", GEMINI) < 1_100


@pytest.mark.parametrize(
    ("data", "form"),
    [(b"fLaC" + bytes(100), "mp3"), (b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + b"fLaC" + bytes(100), "mp3"),
     (b"fLaC" + bytes(100), "flac"), (b"RIFF\0\0\0\0WAVE", "wav"), (b"", "wav"), (bytes([0xFF, 0xFB, 0x00]), "mp3")],
)  # fmt: skip
def test_a_recording_of_unknown_length_is_bounded_by_the_window(data: bytes, form: str) -> None:
    assert recorded(data, form, GEMINI) >= 1_048_576 - 200
    assert recorded(data, form, UNKNOWN) >= FILE_TOKENS


# --- money ----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from(MAKERS), st.integers(1, 9_000), st.integers(1, 9_000)), min_size=1, max_size=4),
    st.sampled_from([GPT, CLAUDE, GEMINI, Route(provider="openai", model="gpt-5-mini"), UNKNOWN]),
    st.integers(0, 10**9),
)
def test_no_budget_is_passed_because_of_an_image(images, route: Route, limit: int) -> None:  # type: ignore[no-untyped-def]
    """What a provider bills by the published formulas, with every byte of the text as a token, is never more than what
    was reserved; and where that does not fit, nothing is sent."""
    body = written([TEXT, *({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64(make(w, h))}"}}
                            for make, w, h in images)])  # fmt: skip
    billed = len(TEXT["text"]) + sum(published(route, w, h) for _, w, h in images)
    price = Price(
        input=3 * NANO, output=15 * NANO, cached_input=0, cache_write=0, reasoning=15 * NANO, audio_input=0,
        audio_output=0, version="t",
    )  # fmt: skip
    budget = Budget("a", Limits(nano_usd_per_day=limit))
    tab = budget.open("t", 0, "", "k", "")
    try:
        hold = budget.reserve(tab, price, "m", media_bound(body, Raw(body), route), 100, 1, 64)
    except BudgetExceeded:
        assert worst_case_nano_usd(price, media_bound(body, Raw(body), route), 64) > limit
        return
    assert hold.settle(cost_nano_usd(Usage(input=billed, output=hold.max_tokens or 0), price)) == 0
    assert tab.spent <= limit


def published(route: Route, wide: int, high: int) -> int:
    if route is CLAUDE:
        return max(min(1_600, ceil(wide * high / 750)), min(4_784, ceil(wide / 28) * ceil(high / 28)))
    if route is GEMINI:
        return 258 if max(wide, high) <= 384 else 258 * ceil(wide / 768) * ceil(high / 768)
    if route.model == "gpt-5-mini":
        return ceil(1.62 * min(1536, ceil(wide / 32) * ceil(high / 32)))
    return 85 + 170 * tiles(wide, high, up=True)


# --- tokens a minute --------------------------------------------------------------------------------------------------


def asked(*contents: object, route: Route = GPT, tpm: int | None = 1) -> tuple[int, Request]:
    body = json.dumps({"model": "main", "messages": json.loads(written(*contents))}).encode()
    request = decode_request("chat", "/v1/chat/completions", body, 0)
    return prompt_tokens(request, route, tpm), request


def picture(size: int) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64(png(512, 512) + b"\0" * size)}}


def test_an_inline_image_counts_by_its_formula_in_a_limit_of_tokens_a_minute() -> None:
    small, large = asked([TEXT, picture(3_000)])[0], asked([TEXT, picture(900_000)])[0]
    assert small == large
    assert 255 <= small <= 85 + 8 * 170 + 100
    assert asked([TEXT, picture(900_000)], route=UNKNOWN)[0] <= IMAGE_TOKENS + 100
    assert asked([TEXT, picture(300)], route=UNKNOWN)[0] < 300, "a small one is not the dearest there is"
    assert asked([TEXT, IMAGE], route=UNKNOWN)[0] >= LOW_IMAGE_TOKENS, "its bytes are elsewhere"


def test_text_alone_and_an_app_without_such_a_limit_count_as_ever() -> None:
    for contents in (["hello"], ["a [1] of [2]", [TEXT]], [[TEXT, TEXT]]):
        found, request = asked(*contents)
        assert found == len(request.body) // 4
    found, request = asked([picture(9_000)], tpm=None)
    assert found == len(request.body) // 4
    embeddings = decode_request("embeddings", "/v1/embeddings", b'{"model":"main","input":["a",["b"]]}', 0)
    assert prompt_tokens(embeddings, GPT, 1) == len(embeddings.body) // 4


PARTS = st.sampled_from(
    [TEXT, IMAGE, picture(0), picture(50_000), {"type": "file", "file": {"file_data": "JVBERi0" * 2_000}},
     {"type": "input_audio", "input_audio": {"data": "AAAA" * 900, "format": "mp3"}}, {"type": "new", "x": "y" * 5_000},
     {"type": "image", "source": {"type": "base64", "data": base64(jpeg(900, 700))}}, {"type": 7}, [], "text", None]
)  # fmt: skip


@given(st.lists(st.lists(PARTS, max_size=5), min_size=1, max_size=4), st.sampled_from([GPT, CLAUDE, GEMINI, UNKNOWN]))
def test_what_counts_is_never_more_than_what_is_bounded_and_never_negative(
    contents: list[list[object]], route: Route
) -> None:
    found, request = asked(*contents, route=route)
    bound = media_bound(request.body, request.fields["messages"], route) or len(request.body)
    assert 0 <= found <= bound
