"""How alike two texts are, by what is written: the text without case, accents and punctuation, and its shingles.

A meaning in other words is not seen here; that is for embeddings (`evals/near.py`).
"""

import re
import unicodedata
import zlib

SHINGLE = 5  # characters
SKETCH = 8  # of the smallest hashes: two texts that share most of their shingles share one of these, nearly always
LONGEST = 4000  # characters of a text that are looked at
QUOTED = 24  # characters from which on a text inside another one is no accident

_NOT_WORD = re.compile(r"[\W_]+")


def normal(text: str) -> str:
    """`"  Olá,  MUNDO! "` becomes `"ola mundo"`."""
    plain = unicodedata.normalize("NFKD", text[:LONGEST])
    kept = "".join(c for c in plain if not unicodedata.combining(c)) if not plain.isascii() else plain
    return _NOT_WORD.sub(" ", kept.casefold()).strip()


def shingles(normal_text: str) -> frozenset[int]:
    """Hashes of all runs of SHINGLE characters of a normal text; of the text itself where it is shorter."""
    data = normal_text.encode()
    last = max(1, len(data) - SHINGLE + 1)
    return frozenset(zlib.crc32(data[i : i + SHINGLE]) for i in range(last))


def sketch(found: frozenset[int]) -> tuple[int, ...]:
    return tuple(sorted(found)[:SKETCH])


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    """The share of all shingles that both have, 0 to 1 (Broder 1997, "resemblance")."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if shared else 0.0


def quotes(normal_prompt: str, asked: str) -> bool:
    """Whether a prompt has these words in it: an example that gives the answer away."""
    text = normal(asked)
    return len(text) >= QUOTED and f" {text} " in f" {normal_prompt} "
