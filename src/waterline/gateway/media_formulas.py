"""What providers say that an image, a recording and a whole prompt may have, in tokens, each with its source.

A model is known by its whole name (and a date behind it), never by a beginning: its successor may count otherwise.
Where a formula is rounded or told in words, the larger reading is taken.
"""

import re
from collections.abc import Callable
from math import ceil
from typing import NamedTuple

Size = tuple[int, int] | None  # width and height; None: unknown

# The dearest published: gpt-4o-mini bills 2,833 tokens, and 5,667 for each of up to eight tiles
# (https://platform.openai.com/docs/guides/images-vision). Others bill a tenth of that.
IMAGE_TOKENS = 2_833 + 8 * 5_667
# With "detail": "low" only OpenAI's base is billed (2,833); who does not know the word bills as ever, a tenth of the
# above at most (Anthropic: 4,784 for its largest, https://platform.claude.com/docs/en/build-with-claude/vision).
LOW_IMAGE_TOKENS = IMAGE_TOKENS // 10
# A file has any number of words, and no provider bounds them; but none bills more than its model's window. The largest
# that is published by the three: 2 million (https://ai.google.dev/gemini-api/docs/long-context).
FILE_TOKENS = 2_097_152
AUDIO_TOKENS_PER_S = 32  # Gemini (https://ai.google.dev/gemini-api/docs/audio); OpenAI has 10
AUDIO_TOKENS = 64  # around a recording
_M = 1_048_576


class Formula(NamedTuple):
    """`image`: tokens at most of one image, in full or in low detail. `window`: the most that is billed of a prompt."""

    image: Callable[[Size, bool], int]
    window: int


def formula(provider: str, model: str, elsewhere: bool) -> Formula | None:
    """None: the model is not known, or another server than its maker's answers under its name."""
    if elsewhere:
        return None
    for maker, name, found in _KNOWN:
        if maker == provider and name.fullmatch(model):
            return found
    return None


def _tiles(base: int, each: int) -> Callable[[Size, bool], int]:
    """Scaled into 2048 by 2048, then to a shortest side of 768; tiles of 512. Whether a small one is scaled up is not
    said: we take it that it is."""

    def tokens(size: Size, low: bool) -> int:
        if low:
            return base
        if size is None:
            return base + 8 * each
        longest, shortest = max(size), min(size)
        scaled = min(2048, ceil(768 * longest / shortest))
        return base + min(8, 2 * ceil(scaled / 512)) * each

    return tokens


def _patches(times: float) -> Callable[[Size, bool], int]:
    """Patches of 32 pixels, 1,536 at most, times a factor of the model."""

    def tokens(size: Size, low: bool) -> int:
        patches = 1536 if size is None else min(1536, ceil(size[0] / 32) * ceil(size[1] / 32))
        return ceil(patches * times) + 1

    return tokens


def _claude(size: Size, low: bool) -> int:
    """Patches of 28 pixels, or width * height / 750 as it was told before; 4,784 for the largest that is not scaled."""
    if size is None:
        return 4_784
    wide, high = size
    return min(4_784, max(ceil(wide / 28) * ceil(high / 28), ceil(wide * high / 750)))


def _gemini(size: Size, low: bool) -> int:
    """258 up to 384 pixels; else 258 a tile, tiles of 768 or of two thirds of the shorter side, at least 256
    (https://ai.google.dev/gemini-api/docs/image-understanding). Newer ones: 2,240 at the highest resolution."""
    if size is None:
        return IMAGE_TOKENS
    tile = min(768, max(256, int(min(size) / 1.5)))
    tiles = ceil(size[0] / tile) * ceil(size[1] / tile)
    return max(2_240, 258 * tiles)


def _known(provider: str, names: str, image: Callable[[Size, bool], int], window: int) -> list[
    tuple[str, re.Pattern[str], Formula]
]:  # fmt: skip
    return [
        (provider, re.compile(re.escape(name) + r"(?:-latest|[-@]\d{4}-?\d{2}-?\d{2})?"), Formula(image, window))
        for name in names.split()
    ]


# Windows: https://platform.openai.com/docs/models, https://platform.claude.com/docs/en/about-claude/models/overview,
# https://ai.google.dev/gemini-api/docs/models. Claude's million of some models is taken for all.
_KNOWN = [
    *_known("openai", "gpt-4o", _tiles(85, 170), 128_000),
    *_known("openai", "gpt-4.1", _tiles(85, 170), 1_047_576),
    *_known("openai", "gpt-4o-mini", _tiles(2_833, 5_667), 128_000),
    *_known("openai", "gpt-5 gpt-5-chat", _tiles(70, 140), 400_000),
    *_known("openai", "o1 o1-pro o3", _tiles(75, 150), 200_000),
    *_known("openai", "gpt-4.1-mini", _patches(1.62), 1_047_576),
    *_known("openai", "gpt-5-mini", _patches(1.62), 400_000),
    *_known("openai", "gpt-4.1-nano", _patches(2.46), 1_047_576),
    *_known("openai", "gpt-5-nano", _patches(2.46), 400_000),
    *_known("openai", "o4-mini", _patches(1.72), 200_000),
    *_known(
        "anthropic",
        "claude-opus-4-8 claude-opus-4-7 claude-opus-4-6 claude-opus-4-5 claude-opus-4-1 claude-opus-4"
        " claude-sonnet-4-6 claude-sonnet-4-5 claude-sonnet-4 claude-haiku-4-5 claude-3-7-sonnet claude-3-5-sonnet"
        " claude-3-5-haiku claude-3-haiku",
        _claude, _M,
    ),
    *_known("gemini", "gemini-2.0-flash gemini-2.0-flash-lite gemini-2.5-pro gemini-2.5-flash gemini-2.5-flash-lite"
            " gemini-3-pro-preview gemini-3-flash-preview", _gemini, _M),
]  # fmt: skip
