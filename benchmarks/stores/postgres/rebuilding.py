"""The row of rebuilding on PostgreSQL: all views again from the log, at 10^5 events."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..measuring import Row, counted, interleaved
from ..peer import rebuilt
from ..rebuilding import rebuild
from ..refunds import engine
from . import contenders
from .filled import application_filled, filled

if TYPE_CHECKING:
    from refold.engine import RefundEngine

    from ..place import Place


def rebuilding(place: Place) -> Row:
    """Rebuild the views of refunds and payments; the limit is one pass of PostgreSQL over the same log."""
    full, server = filled(place, place.sizes.small), place.server()
    refunds: RefundEngine = place.closing(engine(server.url(full.copy(place))))
    raw = contenders.raw_reader(place, full.bare(place))
    saved = application_filled(place, place.sizes.small)
    app = place.closing(contenders.application(server, saved.copy(place)))
    rates = interleaved(
        place.sizes,
        {
            "ours": counted(partial(rebuild, refunds)),
            "peer": counted(partial(rebuilt, app, contenders.FILL)),
            "limit": counted(raw.pass_over),
        },
    )
    row = Row(name="rebuild_refunds_postgres", unit="events/s", **rates)
    row.notes.append(f"{full.events:,} events")
    row.notes.append(
        "peer: its mapper and a policy over its notifications; its projections commit each event"
    )
    row.notes.append("limit: one SELECT that reads every event inside PostgreSQL and writes nothing")
    return row
