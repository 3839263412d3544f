"""What happens between requests: drain the spool into the store, look at what came, forget what is past its time."""

import logging
import threading
import time
from collections.abc import Callable

from waterline.core.errors import WaterlineError
from waterline.store.drain import Drainer

log = logging.getLogger("waterline.worker")

IDLE_S = 0.2
BATCH = 2000
TROUBLE_S = 1.0
RETAIN_EVERY_S = 600.0
LOOK_EVERY_S = 1.0
LATEST_LOOK_S = 10.0  # under any load: a bad canary is rolled back then, too


class Worker:
    """One thread. A slow or locked database makes it late, never lossy: the spool keeps what it has not stored."""

    def __init__(self, drainer: Drainer, retain: Callable[[], bool], look: Callable[[], bool] = lambda: False) -> None:
        self._drainer = drainer
        self._retain = retain  # deletes a bounded batch; True: there is more
        self._look = look  # at a bounded batch of what was stored; True: there is more
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self.trouble = ""  # why the last round failed, or ""

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when everything is stored, or when the store refuses it (then the next start does it)."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        retained_s = looked_s = time.monotonic()
        while True:
            stopping = self._stopping.is_set()
            try:
                moved = self._drainer.drain_once(BATCH)
                self.trouble = ""
                if not stopping and time.monotonic() - retained_s > RETAIN_EVERY_S and not self._retain():
                    retained_s = time.monotonic()
                waited_s = time.monotonic() - looked_s
                due = waited_s > LATEST_LOOK_S or (moved < BATCH and waited_s > LOOK_EVERY_S)
                if not stopping and due and not self._look():
                    looked_s = time.monotonic()
            except (WaterlineError, OSError) as error:
                moved = 0
                if str(error) != self.trouble:
                    log.warning("the store cannot take traces now; the spool keeps them: %s", error)
                self.trouble = str(error)
                if not stopping:
                    self._stopping.wait(TROUBLE_S)
            if stopping and moved == 0:
                return
            if moved < BATCH:
                self._wake.wait(IDLE_S)
                self._wake.clear()
