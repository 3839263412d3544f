"""The text index of traces: redacted text, session and tags. How it is searched is the dialect's affair.

Search through `traces.page(tx, TraceFilter(text="what a person typed"))`.
"""

from collections.abc import Iterable

from waterline.store.db import Tx


def index_batch(tx: Tx, texts: Iterable[tuple[int, str, str, str]]) -> None:
    """(the trace's number, redacted text, session, tags), each trace once: `traces.insert_batch` says which are new."""
    tx.insert("traces.insert_text", [found for found in texts if any(found[1:])])
