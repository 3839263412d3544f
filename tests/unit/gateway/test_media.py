"""Images and files are counted from the decoded parts, so that no way of writing them hides one from a budget."""

import json

import pytest
from msgspec import Raw

from waterline.gateway.media import FILE_TOKENS, IMAGE_TOKENS, LOW_IMAGE_TOKENS, media_tokens

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
TEXT = {"type": "text", "text": "what is [this]?"}


def counted(*contents: object) -> int:
    messages = json.dumps([{"role": "user", "content": content} for content in contents]).encode()
    return media_tokens(b'{"messages":' + messages + b"}", Raw(messages))


@pytest.mark.parametrize(
    "content",
    ["hello", "an image [1] of [2]", None, [TEXT], [TEXT, "a [text]"], [], [{"type": "input_audio", "input_audio": {}}],
     [{"type": "text", "text": '{"type":"image_url"}'}]],
)  # fmt: skip
def test_text_and_inline_audio_are_bounded_by_their_bytes(content: object) -> None:
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
    assert media_tokens(messages, Raw(messages)) == tokens
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
    assert media_tokens(messages, Raw(messages)) == IMAGE_TOKENS


def test_the_bound_covers_the_dearest_image_that_a_provider_bills() -> None:
    """gpt-4o-mini: 2,833 tokens, and 5,667 a tile of 512 pixels after scaling into 2048 by 768: eight at most."""
    tiles = (2048 // 512) * -(-768 // 512)
    assert 2_833 + 5_667 * tiles == IMAGE_TOKENS
