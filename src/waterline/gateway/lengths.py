"""What a route's answers have taught us about tokens."""

from collections import deque

from waterline.core.money import Usage

FIRST_GUESS_P99 = 64
FIRST_GUESS_DENSITY = 0.5  # tokens a byte of a rendered prompt; English has half of that, a bound is 1
LEARN_FROM = 50
MEMORY = 1000  # answers


class Most:
    """The largest of the last 1,000 values at least, and of 2,000 at most."""

    __slots__ = ("_before", "_now", "_seen")

    def __init__(self, first: float) -> None:
        self._before = first
        self._now = 0.0
        self._seen = 0

    def learn(self, value: float) -> None:
        if value > self._now:
            self._now = value
        self._seen += 1
        if self._seen >= MEMORY:
            self._before, self._now, self._seen = self._now, 0.0, 0

    @property
    def value(self) -> float:
        """The first guess holds until something larger is seen, or until enough was."""
        return max(self._before, self._now)


class AnswerLengths:
    """The learned p99 of a route's answer length, over its last 1,000 answers, and how text becomes tokens there."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=MEMORY)
        self._p99 = FIRST_GUESS_P99
        self._since = 0
        self._density = Most(FIRST_GUESS_DENSITY)
        self._per_chunk = Most(1.0)
        self._thought = Most(0.0)

    def learn(self, tokens: int) -> None:
        self._recent.append(tokens)
        self._since += 1
        if self._since >= LEARN_FROM:
            self._since = 0
            ordered = sorted(self._recent)
            self._p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    def learn_tokens(self, said: Usage, prompt_bytes: int, chunks: int) -> None:
        """From what a provider said of a complete answer. `chunks`: of a stream, else 0."""
        if prompt_bytes:
            self._density.learn(min(1.0, said.total_input / prompt_bytes))
        if chunks:
            self._per_chunk.learn((said.output + said.audio_output) / chunks)
        if said.reasoning:
            self._thought.learn(said.reasoning)

    @property
    def p99(self) -> int:
        return self._p99

    @property
    def per_chunk(self) -> float:
        """Tokens that a streamed piece of an answer may stand for."""
        return self._per_chunk.value

    @property
    def thought(self) -> int:
        """Hidden reasoning that may come before an answer. Unit: tokens."""
        return int(self._thought.value)

    def prompt(self, body: bytes) -> int:
        """Input tokens that a rendered prompt may have."""
        return int(len(body) * self._density.value + 0.999)
