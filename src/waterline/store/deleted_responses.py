"""Responses that their owners have deleted: no longer readable through the API."""

from waterline.store.db import Tx


def add(tx: Tx, trace_id: str, at_us: int, key: str) -> None:
    """Deleting twice changes nothing."""
    tx.run("deleted_responses.add", trace_id=trace_id, at_us=at_us, key=key)


def known(tx: Tx, trace_id: str) -> bool:
    return tx.one("deleted_responses.known", trace_id=trace_id) is not None
