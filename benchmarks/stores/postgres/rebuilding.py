"""The rows of rebuilding on PostgreSQL: all views again from the log, at 10^5 and 10^6 events."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..measuring import Row, counted, interleaved
from ..peer import rebuilt
from ..rebuilding import beside, rebuild
from ..refunds import engine
from . import contenders
from .filled import application_filled, filled

if TYPE_CHECKING:
    from ..measuring import Contender
    from ..place import Place
    from .filled import Filled


def rebuilding(place: Place) -> list[Row]:
    """Rebuild the views of refunds and payments; the limit is one pass of PostgreSQL over the same log."""
    small, server = filled(place, place.sizes.small), place.server()
    saved = application_filled(place, place.sizes.small)
    app = place.closing(contenders.application(server, saved.copy(place)))
    contenders.peer(place)  # which says how it waits for the disk
    row = _rebuilt("rebuild_refunds_postgres", place, small, counted(partial(rebuilt, app, contenders.FILL)))
    row.notes.append(
        "peer: its mapper and a policy over its notifications; its projections commit each event"
    )
    row.notes.append("limit: one SELECT that reads every event inside PostgreSQL and writes nothing")
    large = filled(place, place.sizes.large)
    return [row, _rebuilt("rebuild_refunds_postgres_at_1e6", place, large, None)]


def _rebuilt(name: str, place: Place, full: Filled, peer: Contender | None) -> Row:
    database = full.copy(place)
    contenders.ours(place, database)  # which says how it waits for the disk
    refunds = place.closing(engine(place.server().url(database)))
    raw = contenders.raw_reader(place, full.bare(place))
    rates = interleaved(
        place.sizes,
        {"ours": counted(partial(rebuild, refunds)), "peer": peer, "limit": counted(raw.pass_over)},
    )
    return Row(name=name, unit="events/s", notes=[f"{full.events:,} events", beside(refunds)], **rates)
