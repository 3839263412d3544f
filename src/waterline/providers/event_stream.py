"""Server-sent events, cut out of the bytes of a stream at whatever split they come: what every reader has in common.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from waterline.core.money import Usage
from waterline.providers.base import ProviderFault, line_feeds

MAX_EVENT_BYTES = 4 << 20


class EventStream:
    """A `StreamReader` but for `_read`, which understands one event and puts what the caller gets into `_out`."""

    def __init__(self) -> None:
        self._rest = b""
        self._held = b""  # a CR at the end of what came
        self._out: list[bytes] = []
        self.began = False
        self.finished = False
        self.done = False
        self.finish_reason = ""
        self.usage: Usage | None = None
        self.chunks = 0
        self.text: list[str] = []

    @property
    def pending(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def feed(self, data: bytes) -> bytes:
        if self._held:
            data, self._held = self._held + data, b""
        if b"\r" in data:
            data, self._held = line_feeds(data)
        if self._rest:
            data = self._rest + data
        large = len(data) > MAX_EVENT_BYTES
        end = data.rfind(b"\n\n")
        if end < 0:
            self._rest = data
            if large:
                raise _too_large()
            return b""
        self._rest = data[end + 2 :]
        for event in data[:end].split(b"\n\n"):
            if self.done:
                break  # nothing counts after the provider's own end
            if large and len(event) > MAX_EVENT_BYTES:
                raise _too_large()
            self._read(event)
        if large and len(self._rest) > MAX_EVENT_BYTES:
            raise _too_large()
        return self.pending

    def end(self) -> bytes:
        return b""

    def _read(self, event: bytes) -> None:
        raise NotImplementedError


def data_of(event: bytes) -> bytes:
    """The data of an event, as the standard joins it; empty for a comment."""
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)


def _too_large() -> ProviderFault:
    return ProviderFault("garbage", f"an event of the stream is larger than {MAX_EVENT_BYTES} bytes")
