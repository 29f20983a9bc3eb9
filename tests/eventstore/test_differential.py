"""Whatever is done to them, memory, SQLite and PostgreSQL hold the same log, and answer and refuse alike."""

from functools import partial
from itertools import count

import differential_machine as machine
import pytest

from refold.engine.testing.store_scenery import VIEWS
from refold.eventstore import SqliteStore
from refold.eventstore.postgres import PostgresStore

pytestmark = pytest.mark.no_cover  # counting lines would take most of its time


def test_one_history_gives_identical_logs_answers_and_errors_on_all_stores(
    tmp_path, postgres_server, record_property
):
    files = (tmp_path / f"{number}.db" for number in count())
    tally = machine.histories(
        machine.in_memory,
        lambda: machine.durable(partial(SqliteStore, next(files), views=VIEWS, durability="relaxed")),
        lambda: machine.durable(
            partial(PostgresStore, postgres_server.schema(), views=VIEWS, durability="relaxed")
        ),
    )
    record_property("told", f"histories on three stores: {dict(tally)}")
