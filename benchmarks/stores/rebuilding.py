"""The rows of rebuilding: all views again from the log, at 10^5 and 10^6 events."""

from __future__ import annotations

import threading
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING
from uuid import uuid4

from refold.engine.ports import Write

from .filled import application_filled, filled
from .measuring import Row, Target, counted, interleaved
from .peer import application, rebuilt
from .refunds import engine, events_of, refund_stream

if TYPE_CHECKING:
    from refold.engine import RefundEngine

    from .filled import Filled
    from .measuring import Contender
    from .place import Place


def rebuild(refunds: RefundEngine) -> int:
    """Rebuild the views and return how many events they were made from: the one call that this row measures."""
    return refunds.rebuild().events


def beside(refunds: RefundEngine) -> str:
    """Append single events while the views are rebuilt, and say how long these took."""
    began, taken = threading.Event(), []
    rebuilding = threading.Thread(target=lambda: (began.set(), refunds.rebuild()))
    rebuilding.start()
    began.wait()
    while rebuilding.is_alive():
        refund_id = uuid4().hex
        at = time.perf_counter()
        refunds.store.append(Write(refund_stream(refund_id), 0, events_of(refund_id)[:1]))
        taken.append(1_000 * (time.perf_counter() - at))
    rebuilding.join()
    return f"{len(taken):,} appends beside a rebuild took {median(taken):.2f} ms, at most {max(taken):.0f} ms"


def _checked(refunds: RefundEngine) -> str:
    """Fold the whole log, digests and all, compare it with the rebuilt views, and say how fast that was."""
    began = time.perf_counter()
    report = refunds.replay()
    if not report.agrees:
        raise SystemExit(f"the replay found {len(report.differences)} differences, {report.set_aside}")
    rate = report.events / (time.perf_counter() - began)
    return f"replay, which checks every digest and compares: {rate:,.0f} events/s, no difference"


def rebuilding(place: Place) -> list[Row]:
    """Rebuild the views of refunds and payments; the limit is one pass of SQLite over the same log."""
    small = filled(place, place.sizes.small)
    saved = application_filled(place, place.sizes.small)
    peer = place.closing(application(saved.copy(place.new_file())))
    row, refunds = _rebuilt("rebuild_refunds", place, small, counted(partial(rebuilt, peer)))
    row.notes.append(
        "peer: its mapper and a policy over its notifications, as its SQLite has no subscriptions"
    )
    row.notes.append("limit: one SELECT that reads every event inside SQLite and writes nothing")
    row.notes.append(_checked(refunds))
    large, many = _rebuilt("rebuild_refunds_at_1e6", place, filled(place, place.sizes.large), None)
    for one, opened in ((row, refunds), (large, many)):
        one.notes.append(beside(opened))
    for one in (row, large):
        one.targets.append(Target(text=">= 1,000,000", reached=median(one.ours), at_least=1e6))
    return [row, large]


def _rebuilt(name: str, place: Place, full: Filled, peer: Contender | None) -> tuple[Row, RefundEngine]:
    refunds = place.closing(engine(f"sqlite:///{full.copy(place.new_file())}"))
    raw = place.raw(full.copy(place.new_file()))
    rates = interleaved(
        place.sizes,
        {"ours": counted(partial(rebuild, refunds)), "peer": peer, "limit": counted(raw.pass_over)},
    )
    return Row(name=name, unit="events/s", notes=[f"{full.events:,} events"], **rates), refunds
