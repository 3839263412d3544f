"""How fast a number may send, and whose turn it is: branches that share a number take turns, one message each."""

import asyncio
from collections import OrderedDict, deque

from waterline.channels.base import SendFault

MOST_WAITING = 5000  # of one number
PAIR_BURST, PAIR_S = 45, 6.0  # messages to one user at once; then one in so many seconds
MOST_PAIRS = 100_000
DAY_US = 86_400_000_000


class Lane:
    """One number: at most `rate` messages a second. Make and use it inside one event loop."""

    def __init__(self, rate: float) -> None:
        self.most = rate  # what WhatsApp allows
        self.rate = rate  # what we take now: less after it said that we are too fast
        self._next_s = 0.0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, branch: str, patience_s: float) -> None:
        """Returns when this branch may send one message. Raises SendFault when that takes too long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._queues and self._next_s <= now:
            self._next_s = now + 1 / self.rate
            return
        if self.waiting >= MOST_WAITING:
            raise SendFault("later", f"{self.waiting} messages wait for this number already.", retry_after_s=patience_s)
        mine: asyncio.Future[None] = loop.create_future()
        self._queues.setdefault(branch, deque()).append(mine)
        self.waiting += 1
        self._arm(loop)
        try:
            async with asyncio.timeout(patience_s):
                await mine
        except TimeoutError:
            raise SendFault("later", "This number has more to send than it may.", retry_after_s=patience_s) from None
        finally:
            self.waiting -= 1
            mine.cancel()

    def too_fast(self) -> None:
        """WhatsApp said so: half the speed from now on."""
        self.rate = max(1.0, self.rate / 2)
        self._next_s = asyncio.get_running_loop().time() + 1.0

    def went_well(self) -> None:
        """Back to full speed by and by: a hundredth of it a message."""
        self.rate = min(self.most, self.rate + self.most / 100)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None and self._queues:
            self._timer = loop.call_later(max(0.0, self._next_s - loop.time()), self._release)

    def _release(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._queues and self._next_s <= now:
            branch, queue = self._queues.popitem(last=False)
            while queue and queue[0].done():
                queue.popleft()  # gave up
            if queue:
                queue.popleft().set_result(None)
                self._next_s = max(self._next_s, now - 0.05) + 1 / self.rate
            if queue:
                self._queues[branch] = queue  # behind the others
        self._arm(loop)


class Pairs:
    """Messages of one number to one user."""

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # tokens, at
        self._until: dict[tuple[str, str], float] = {}

    def take(self, number: str, to: str, now_s: float) -> None:
        """Raises SendFault when this user has had too many just now."""
        pair = (number, to)
        tokens, at = self._left.pop(pair, (float(PAIR_BURST), now_s))
        tokens = min(float(PAIR_BURST), tokens + (now_s - at) / PAIR_S)
        wait = max(self._until.get(pair, 0.0) - now_s, 0.0 if tokens >= 1 else (1 - tokens) * PAIR_S)
        self._left[pair] = (tokens - 1 if wait == 0 else tokens, now_s)
        if len(self._left) > MOST_PAIRS:
            self._left.popitem(last=False)
        if wait > 0:
            raise SendFault("later", "This user has had many messages just now.", retry_after_s=wait, code=131056)

    def too_fast(self, number: str, to: str, now_s: float, wait_s: float) -> None:
        self._until = {pair: at for pair, at in self._until.items() if at > now_s}
        self._until[number, to] = now_s + wait_s


class Begins:
    """The portfolio's messaging limit: users in 24 hours with whom we begin, over all its numbers and branches.

    Each branch has an equal share that no other can take: all of it while the branch has asked for anything in the last
    day, a quarter of it while it has not. What nobody holds back goes to whoever asks first (max-min fairness, with
    something kept for who comes late)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit  # 0: unlimited
        self._begun: dict[str, tuple[str, int]] = {}  # contact -> branch, when
        self._used: dict[str, int] = {}
        self._asked_us: dict[str, int] = {}

    @property
    def used(self) -> int:
        return len(self._begun)

    def used_by(self, branch: str) -> int:
        return self._used.get(branch, 0)

    def by_branch(self, now_us: int) -> dict[str, int]:
        self._forget(now_us)
        return {branch: used for branch, used in self._used.items() if used}

    def take(self, branch: str, contact: str, branches: int, now_us: int) -> bool:
        """Whether this contact is new, so that `give_back` may undo it. Raises SendFault when there is no room."""
        self._forget(now_us)
        self._asked_us[branch] = now_us
        if not self.limit:
            return False
        if contact in self._begun:
            return False
        share = self.limit / max(1, branches)
        if self.used_by(branch) + 1 > share or self.used >= self.limit:
            others = {*self._asked_us, *self._used} - {branch}
            held = sum(max(0.0, self._held(b, share, now_us) - self.used_by(b)) for b in others)
            held += max(0, branches - 1 - len(others)) * share / 4
            if self.used + 1 + held > self.limit:
                raise SendFault(
                    "later",
                    f'Branch "{branch}" has begun {self.used_by(branch)} conversations in 24 hours, of {self.limit} '
                    "that all branches may begin together; the rest is held for others. It goes on as users leave the "
                    "count; a better quality rating raises the limit.",
                    retry_after_s=1800,
                    code=131064,
                )  # fmt: skip
        self.restore(branch, contact, now_us)
        return True

    def restore(self, branch: str, contact: str, at_us: int) -> None:
        if contact not in self._begun:
            self._begun[contact] = (branch, at_us)
            self._used[branch] = self.used_by(branch) + 1
            self._asked_us[branch] = max(at_us, self._asked_us.get(branch, 0))

    def give_back(self, contact: str) -> None:
        found = self._begun.pop(contact, None)
        if found is not None:
            self._used[found[0]] -= 1

    def _held(self, branch: str, share: float, now_us: int) -> float:
        return share if now_us - self._asked_us.get(branch, 0) < DAY_US else share / 4

    def _forget(self, now_us: int) -> None:
        """Oldest first: a dict keeps the order in which they came."""
        for contact, (_, at_us) in list(self._begun.items()):
            if now_us - at_us < DAY_US:
                return
            self.give_back(contact)
