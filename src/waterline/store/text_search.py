"""The text index of traces: redacted text, session and tags. How it is searched is the dialect's affair.

Search through `traces.page(tx, TraceFilter(text="what a person typed"))`.
"""

from collections.abc import Iterable

from waterline.store.db import Tx


def index_batch(tx: Tx, texts: Iterable[tuple[str, str, str, str]]) -> None:
    """(trace id, redacted text, session, tags), of traces that are stored. Idempotent."""
    rows: dict[int, tuple[int, str, str, str]] = {}
    for trace_id, text, session, tags in texts:
        if text or session or tags:
            found = tx.one("traces.without_text", id=trace_id)
            if found is not None:
                rows[found["n"]] = (found["n"], text, session, tags)
    tx.many_tuples("traces.insert_text", rows.values())
