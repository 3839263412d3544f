"""Which texts are alike: by what is written (shingles), and by meaning where an embedder is installed.

A text has a sketch, its smallest shingle hashes; texts that share two are compared exactly. That misses few pairs above
the threshold, and of a crowd that shares a hash only some are compared.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from waterline.core.nearness import jaccard, normal, shingles, sketch

Embed = Callable[[Sequence[str]], Any]  # texts -> a float32 matrix with rows of length 1

SAME_COSINE, SAME_JACCARD = 0.9, 0.6  # from here on two texts are one question for leak control
COVERED_COSINE, COVERED_JACCARD = 0.6, 0.3  # from here on a case speaks of what was asked
MOST_COMPARED = 24  # of those that share a hash
BLOCK = 512  # rows of a comparison by meaning


class Hit(Struct, frozen=True):
    """`row`: which of the index's texts. `likeness` 0 to 1: a cosine, or the share of shingles."""

    row: int
    likeness: float


class Index:
    """Texts to be compared with. Memory: about a kilobyte a text, one more with an embedder."""

    def __init__(self, texts: Sequence[str], embed: Embed | None = None) -> None:
        self._normal: list[str] = []
        self._exact: dict[str, int] = {}  # the first one of each
        self._sketches: dict[int, list[int]] = {}
        self._embed = embed
        self._vectors: list[Any] = []
        self.add(texts)

    def __len__(self) -> int:
        return len(self._normal)

    @property
    def by_meaning(self) -> bool:
        return self._embed is not None

    def add(self, texts: Sequence[str]) -> None:
        for text in texts:
            row, plain = len(self._normal), normal(text)
            self._normal.append(plain)
            self._exact.setdefault(plain, row)
            for mark in sketch(shingles(plain)):
                self._sketches.setdefault(mark, []).append(row)
        if self._embed is not None and texts:
            self._vectors.append(self._embed(list(texts)))
            if len(self._vectors) > 16:
                self._vectors = [self._matrix()]

    def same(self, text: str) -> list[Hit]:
        """Every text that is the same question, the most alike first."""
        plain = normal(text)
        best = {self._exact[plain]: 1.0} if plain in self._exact else {}
        mine = shingles(plain)
        for row in self._sharing(mine):
            found = jaccard(mine, shingles(self._normal[row]))
            if found >= SAME_JACCARD:
                best[row] = found
        if self._embed is not None and self._normal:
            cosines = self._matrix() @ self._embed([text])[0]
            for row in (cosines >= SAME_COSINE).nonzero()[0]:
                best[int(row)] = max(best.get(int(row), 0.0), float(cosines[row]))
        return [Hit(row, value) for row, value in sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))]

    def nearest(self, texts: Sequence[str]) -> list[Hit | None]:
        """For each text the most alike one; None where there is nothing to compare with."""
        if not self._normal:
            return [None] * len(texts)
        if self._embed is None:
            return [self._nearest_written(text) for text in texts]
        out: list[Hit | None] = []
        matrix = self._matrix()
        for at in range(0, len(texts), BLOCK):
            cosines = self._embed(list(texts[at : at + BLOCK])) @ matrix.T
            rows = cosines.argmax(axis=1)
            out += [Hit(int(row), float(cosines[i, row])) for i, row in enumerate(rows)]
        return out

    def clusters(self) -> list[list[int]]:
        """The texts in groups, so that no two of different groups are the same question. The largest first."""
        joined = _Joined(len(self._normal))
        for row, text in enumerate(self._normal):
            joined.join(row, self._exact[text])
            mine = shingles(text)
            for other in self._sharing(mine, before=row):
                if not joined.one(row, other) and jaccard(mine, shingles(self._normal[other])) >= SAME_JACCARD:
                    joined.join(row, other)
        if self._embed is not None and self._normal:
            self._join_by_meaning(joined)
        return joined.groups()

    def leaders(self, least: float) -> list[list[int]]:
        """The texts in groups, each begun by the one that has the most others near it, which comes first. The largest
        first. For a few thousand texts: all are compared with all."""
        near = self._all_near(least)
        left = set(range(len(self._normal)))
        out = []
        for row in sorted(left, key=lambda row: (-len(near[row]), row)):
            if row in left:
                group = [row, *(other for other in near[row] if other in left and other != row)]
                left.difference_update(group)
                out.append(group)
        return sorted(out, key=lambda rows: (-len(rows), rows[0]))

    def _all_near(self, least: float) -> list[list[int]]:
        if not self._normal:
            return []
        if self._embed is not None:
            cosines = self._matrix() @ self._matrix().T
            return [[int(other) for other in (row >= least).nonzero()[0]] for row in cosines]
        all_of = [shingles(text) for text in self._normal]
        return [[i for i, other in enumerate(all_of) if jaccard(mine, other) >= least] for mine in all_of]

    def _join_by_meaning(self, joined: "_Joined") -> None:
        import numpy as np

        matrix = self._matrix()
        groups = np.arange(len(matrix))  # of each text one of its group, so that a crowd is joined by a few steps
        for at in range(0, len(matrix), BLOCK):
            end = min(at + BLOCK, len(matrix))
            near = (matrix[at:end] @ matrix[:end].T) >= SAME_COSINE
            for row in range(at, end):
                for other in np.unique(groups[:row][near[row - at, :row]]):
                    joined.join(row, int(other))
                groups[row] = joined.find(row)
            groups[:end] = [joined.find(row) for row in range(end)]

    def _nearest_written(self, text: str) -> Hit:
        mine = shingles(normal(text))
        found = [(jaccard(mine, shingles(self._normal[row])), -row) for row in self._sharing(mine)]
        likeness, row = max(found, default=(0.0, 0))
        return Hit(-row, likeness)

    def _sharing(self, mine: frozenset[int], before: int | None = None) -> list[int]:
        """Texts that have two hashes of the sketch in common (one, of very short ones), the nearest rows of each crowd;
        `before`: of the rows before this one. Two that are alike have most of them in common."""
        marks = sketch(mine)
        seen: Counter[int] = Counter()
        for mark in marks:
            crowd = self._sketches.get(mark, [])
            end = len(crowd) if before is None else bisect_left(crowd, before)
            seen.update(crowd[max(0, end - MOST_COMPARED) : end])
            seen.update(crowd[: min(MOST_COMPARED, max(0, end - MOST_COMPARED))])
        enough = min(2, len(marks))
        return [row for row, n in seen.items() if n >= enough]

    def _matrix(self) -> Any:
        if len(self._vectors) != 1:
            import numpy as np

            self._vectors = [np.concatenate(self._vectors)]
        return self._vectors[0]


class _Joined:
    """Groups that grow together (Tarjan 1975, with path halving)."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def find(self, a: int) -> int:
        parent = self._parent
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        return a

    def one(self, a: int, b: int) -> bool:
        return self.find(a) == self.find(b)

    def join(self, a: int, b: int) -> None:
        a, b = self.find(a), self.find(b)
        if a != b:
            self._parent[max(a, b)] = min(a, b)

    def groups(self) -> list[list[int]]:
        found: dict[int, list[int]] = {}
        for row in range(len(self._parent)):
            found.setdefault(self.find(row), []).append(row)
        return sorted(found.values(), key=lambda rows: (-len(rows), rows[0]))


@lru_cache(1)
def embedder() -> Embed | None:
    """Sentence embeddings, None where the extra `semantic` is missing. Loading them takes about a second."""
    from waterline.providers import embedder as installed

    try:
        return installed.load().embed_many
    except installed.NoEmbedder:
        return None
