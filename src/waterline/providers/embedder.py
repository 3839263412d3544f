"""Sentence embeddings by wordllama (extra `semantic`), from the weights inside its package: nothing is downloaded.

About 40 µs a sentence, on the caller's thread; loading takes about a second, so a server does that in a thread.
"""

import hashlib
import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

from waterline.core.errors import WaterlineError

log = logging.getLogger("waterline.embedder")
WIDTH = 256


class NoEmbedder(WaterlineError):
    """The extra is not installed, or its weights are not there."""


class Embedder:
    """`digest`: SHA-256 of the weights."""

    def __init__(self, model: Any, digest: str) -> None:
        self._model = model
        self.digest = digest

    def embed(self, text: str) -> Any:
        """A float32 vector of WIDTH numbers and length 1 (numpy)."""
        vector = self._model.embed([text])[0]
        length = float((vector @ vector) ** 0.5)
        return vector / length if length else vector

    def embed_many(self, texts: Sequence[str]) -> Any:
        """A float32 matrix, a row of length 1 for each text; of zeros where there is nothing in it."""
        found = self._model.embed(list(texts))
        lengths = ((found * found).sum(axis=1, keepdims=True)) ** 0.5
        lengths[lengths == 0.0] = 1.0
        return found / lengths


def weights() -> Path:
    """Raises NoEmbedder."""
    found = find_spec("wordllama")
    if found is None or found.origin is None:
        raise NoEmbedder('The semantic cache needs the extra "semantic": pip install "waterline[semantic]".')
    file = Path(found.origin).parent / "weights" / f"l2_supercat_{WIDTH}.safetensors"
    if not file.is_file():
        raise NoEmbedder(f"wordllama is installed, but {file} is not there. Install it again.")
    return file


def weights_digest() -> str:
    """What a calibration is bound to. Raises NoEmbedder."""
    return hashlib.sha256(weights().read_bytes()).hexdigest()


def load() -> Embedder:
    """Raises NoEmbedder."""
    file = weights()
    from wordllama import WordLlama

    model = WordLlama.load(dim=WIDTH, cache_dir=file.parent.parent, disable_download=True)
    return Embedder(model, weights_digest())


class LazyEmbedder:
    """Loaded in a thread when it is first asked for; until then, and if it cannot be, there is none."""

    def __init__(self) -> None:
        self._loaded: Embedder | None = None
        self._thread: Thread | None = None

    def ready(self) -> Embedder | None:
        if self._loaded is None and self._thread is None:
            self._thread = Thread(target=self._load, name="embedder", daemon=True)
            self._thread.start()
        return self._loaded

    def _load(self) -> None:
        try:
            self._loaded = load()
        except (NoEmbedder, ImportError, OSError, ValueError) as error:
            log.error("the semantic cache is off: %s", error)
