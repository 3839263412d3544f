"""What a route's answers have taught us about their length."""

from collections import deque

FIRST_GUESS_P99 = 64
LEARN_FROM = 50


class AnswerLengths:
    """The learned p99 of a route's answer length, over its last 1,000 answers. Unit: tokens."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=1000)
        self._p99 = FIRST_GUESS_P99
        self._since = 0

    def learn(self, tokens: int) -> None:
        self._recent.append(tokens)
        self._since += 1
        if self._since >= LEARN_FROM:
            self._since = 0
            ordered = sorted(self._recent)
            self._p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    @property
    def p99(self) -> int:
        return self._p99
