"""`similar`: close in meaning to one of these texts, by sentence embeddings (extra `semantic`).

The cosine of two sentences on one topic is high whatever they say of it: "yes" and "no" are near. Use it beside
`contains`, and choose `least` by looking at good and bad answers.
"""

from functools import lru_cache
from typing import Any

from waterline.core.case import Case
from waterline.evals.scorers.base import Given, Part
from waterline.providers import embedder

_CHARACTERS = 4000


def score(case: Case, given: Given) -> list[Part]:
    """Raises NoEmbedder where the extra is missing."""
    wanted = case.expect.similar
    if wanted is None:
        return []
    said = _embedder().embed(given.text[:_CHARACTERS])
    found = max(float(said @ _embedder().embed(text)) for text in wanted.to)
    held = found >= wanted.least
    return [Part("similar", held, "" if held else f"similarity {found:.2f}, at least {wanted.least:.2f}")]


def embed(text: str) -> Any:
    """A numpy vector of length 1. Raises NoEmbedder where the extra is missing."""
    return _embedder().embed(text[:_CHARACTERS])


def ready() -> None:
    """Raises NoEmbedder where the extra is missing."""
    _embedder()


@lru_cache(1)
def _embedder() -> embedder.Embedder:
    return embedder.load()
