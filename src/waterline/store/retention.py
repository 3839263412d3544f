"""What is kept for how long: bodies go first, rows later. In small batches, so that nobody waits for long."""

from msgspec import Struct

from waterline.store import behaviour, channels, costs, judges, spending
from waterline.store.db import Tx

AT_ONCE = 500


class Swept(Struct, frozen=True):
    bodies: int
    rows: int

    @property
    def more(self) -> bool:
        """Whether this batch was full, so that another one is worth its while."""
        return self.bodies >= AT_ONCE or self.rows >= AT_ONCE


def sweep(tx: Tx, app: str, bodies_before_us: int, rows_before_us: int) -> Swept:
    """One batch of one app: bodies of traces begun before the one moment, whole traces begun before the other, with
    their bodies, index entries, verdicts, feedback and what waits to become a case or to be labelled. An open trace
    stays. Fees of messages go by the whole month, their sums stay. Digests of erased messages go too: nobody delivers
    those again. Call it again while `more`."""
    old = tx.all("retention.old_traces", app=app, before_us=rows_before_us, limit=AT_ONCE)
    for name in ("delete_feedback", "delete_verdicts", "delete_deleted_response"):
        tx.many(f"retention.{name}", [{"id": row["id"]} for row in old])
    tx.many("candidates.forget_of_trace", [{"id": row["id"]} for row in old])
    for row in old:
        judges.forget(tx, judges.of_trace(row["id"]))
    for name in ("delete_trace_bodies", "delete_text", "delete_trace"):
        tx.many(f"retention.{name}", [{"n": row["n"]} for row in old])
    bodies = tx.run("retention.delete_bodies", app=app, before_us=bodies_before_us, limit=AT_ONCE)
    tx.run("conversations.forget_erased", before_us=rows_before_us)
    spending.sweep(tx, app, rows_before_us)
    costs.sweep(tx, app, rows_before_us)
    fees = channels.sweep_fees(tx, app, rows_before_us, AT_ONCE)
    return Swept(bodies, max(len(old), fees, behaviour.sweep(tx, app, bodies_before_us, rows_before_us, AT_ONCE)))
