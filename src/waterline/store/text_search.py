"""The text index of traces: redacted text, session and tags. How it is searched is the dialect's affair.

Search through `traces.page(tx, TraceFilter(text="what a person typed"))`.
"""

from collections.abc import Iterable
from typing import Any

from waterline.store.db import Tx


def index_batch(tx: Tx, texts: Iterable[tuple[str, str, str, str]]) -> None:
    """(trace id, redacted text, session, tags), of traces that are stored. Idempotent."""
    rows: list[dict[str, Any]] = [
        {"id": trace_id, "text": text, "session": session, "tags": tags}
        for trace_id, text, session, tags in texts
        if text or session or tags
    ]
    tx.many("traces.insert_text", rows)
