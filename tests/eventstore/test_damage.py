"""A damaged file never yields a wrong event: what is read is what was written, or an error that says where."""

import random
import shutil
from contextlib import closing

import pytest

from refold.engine.errors import CorruptLog, EventCorrupt, EventMissing, RefoldError
from refold.engine.ports import Body, Column, Given, NewEvent, Upsert, View, Write
from refold.eventstore import SqliteStore

COUNT = 7
BAD = 4
"""The position that is damaged."""


@pytest.fixture
def damaged(store, append, raw):
    """Append events to two streams, then let another program change one in a way the triggers would refuse."""

    def change(statement, *arguments):
        append(store, COUNT - 2, bodies=[Body("b" * 64, b"salt", "{}", b"body")], key="k")
        append(store, 2, stream="refund-b")
        before = list(store.read_all())
        with raw(unguarded=True) as connection:
            assert connection.execute(statement, arguments).rowcount == 1
        return before

    return change


def read_until_error(events):
    found = []
    try:
        for event in events:
            found.append(event)  # noqa: PERF402 - what came before the error counts
    except RefoldError as error:
        return found, error
    return found, None


def flipped(value, bit):
    first = value[0] if isinstance(value, bytes) else ord(value[0])
    return bytes([first ^ 1 << bit]) + (value[1:] if isinstance(value, bytes) else value[1:].encode())


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("column", ["stream", "type", "time", "data", "digest"])
def test_one_flipped_bit_is_found_and_later_events_stay_readable(store, damaged, raw, column, bit):
    kind = "BLOB" if column == "digest" else "TEXT"
    before = damaged(f"UPDATE events SET {column} = {column} WHERE position = {BAD}")
    value = getattr(before[BAD - 1], column)
    with raw() as connection:
        connection.execute(
            f"UPDATE events SET {column} = CAST(? AS {kind}) WHERE position = {BAD}", (flipped(value, bit),)
        )
    found, error = read_until_error(store.read_all())
    assert found == before[: BAD - 1]
    assert isinstance(error, EventCorrupt)
    assert error.position == BAD
    assert list(store.read_all(after=BAD)) == before[BAD:]
    assert list(store.read_stream("refund-b")) == before[COUNT - 2 :]
    found, error = read_until_error(store.read_stream("refund-a"))
    assert found == before[: BAD - 1]
    assert isinstance(error, EventMissing if column == "stream" else EventCorrupt)


@pytest.mark.parametrize(
    ("assignment", "kind"),
    [
        ("version = version + 64", EventCorrupt),
        ("data = CAST(x'7bff7d' AS TEXT)", EventCorrupt),
        ("type = CAST(x'c3' AS TEXT)", EventCorrupt),
        ("stream = CAST(stream || x'ff' AS TEXT)", EventCorrupt),
        ("data = CAST(data AS BLOB)", EventCorrupt),
        ("data = ''", EventCorrupt),
        ("data = data || char(0) || 'x'", EventCorrupt),
        ("time = 1", EventCorrupt),
        ("digest = ''", EventCorrupt),
        ("digest = 5", EventCorrupt),
        ("digest = zeroblob(32)", EventCorrupt),
        ("digest = (SELECT digest FROM events WHERE position = 1)", EventCorrupt),
        ("position = 64", EventMissing),
        ("position = -4", EventMissing),
    ],
)
def test_a_changed_event_is_never_returned(store, damaged, assignment, kind):
    before = damaged(f"UPDATE events SET {assignment} WHERE position = {BAD}")
    found, error = read_until_error(store.read_all())
    assert found == before[: BAD - 1]
    assert type(error) is kind
    found, error = read_until_error(store.read_stream("refund-a"))
    assert found == before[: BAD - 1]
    assert isinstance(error, CorruptLog)
    assert f"{BAD}" in str(error)


def test_a_missing_event_in_the_middle_is_a_gap_in_the_log_and_in_its_stream(store, damaged):
    before = damaged(f"DELETE FROM events WHERE position = {BAD}")
    for events, stream in ((store.read_all(), None), (store.read_stream("refund-a"), "refund-a")):
        found, error = read_until_error(events)
        assert found == before[: BAD - 1]
        assert (type(error), error.number, error.stream) == (EventMissing, BAD, stream)
    assert list(store.read_all(after=BAD)) == before[BAD:]
    assert list(store.read_stream("refund-b")) == before[COUNT - 2 :]


def test_a_missing_event_at_the_end_is_noticed(store, damaged):
    before = damaged(f"DELETE FROM events WHERE position = {COUNT}")
    found, error = read_until_error(store.read_all())
    assert found == before[:-1]
    assert (type(error), error.number) == (EventMissing, COUNT)


LOST = {
    "nothing": ("UPDATE bodies SET salt = salt", None),
    "the last": (f"DELETE FROM events WHERE position = {COUNT}", COUNT),
    "the tail": (f"DELETE FROM events WHERE position >= {BAD}", BAD),
    "one in the middle": (f"DELETE FROM events WHERE position = {BAD}", BAD),
    "two in the middle": ("DELETE FROM events WHERE position IN (3, 5)", 3),
    "the first": ("DELETE FROM events WHERE position = 1", 1),
    "all": ("DELETE FROM events", 1),
    "one below the first": (f"UPDATE events SET position = -4 WHERE position = {BAD}", BAD),
    "one above the last": (f"UPDATE events SET position = 99 WHERE position = {BAD}", BAD),
    "the last that is 0": (f"UPDATE events SET position = 0 WHERE position = {COUNT}", COUNT),
    "the counter's": ("UPDATE sqlite_sequence SET seq = 10000", COUNT + 1),
    "the key's": (f"UPDATE keys SET last = {COUNT + 3}", COUNT + 1),
}


@pytest.mark.parametrize(("statement", "missing"), LOST.values(), ids=LOST.keys())
def test_the_first_position_that_is_missing_is_found(store, append, raw, statement, missing):
    assert store.first_missing() is None
    append(store, COUNT, bodies=[Body("b" * 64, b"salt", "{}", b"body")], key="k")
    with raw(unguarded=True) as connection:
        assert connection.execute(statement).rowcount > 0
    assert store.first_missing() == missing
    with store.batch():
        assert store.first_missing() == missing


def test_a_tail_is_missed_by_its_key_where_the_counter_was_changed_too(store, append, raw):
    append(store, COUNT, key="k")
    with raw(unguarded=True) as connection:
        connection.execute(f"DELETE FROM events WHERE position >= {BAD}")
        connection.execute(f"UPDATE sqlite_sequence SET seq = {BAD - 1}")
    assert store.first_missing() == BAD


def test_a_key_with_a_damaged_position_is_no_complete_log(store, append, raw):
    append(store, key="k")
    with raw() as connection:
        connection.execute("UPDATE keys SET last = 9223372036854775807")
    assert store.first_missing() == 2
    with raw() as connection:
        connection.execute("UPDATE keys SET last = 'x'")
    with pytest.raises(CorruptLog, match="a number of the log is damaged: 'x'"):
        store.first_missing()


def test_a_key_whose_events_are_gone_is_no_duplicate(store, append, raw):
    append(store, 3)
    append(store, 2, stream="refund-b", key="k", content="c")
    append(store, 1, stream="refund-c", key="l", content="c")
    with raw(unguarded=True) as connection:
        connection.execute("DELETE FROM events WHERE position = 5")
    for content in ("c", "other"):
        with pytest.raises(EventMissing) as caught:
            append(store, 2, stream="refund-b", key="k", content=content)
        assert caught.value.number == 5
    with pytest.raises(EventMissing):
        store.settle("k")
    assert append(store, 1, stream="refund-c", key="l", content="c").duplicate
    assert store.head() == 6


@pytest.mark.parametrize("lost", ["position = 2", "true"], ids=["the last event", "all events"])
def test_views_of_an_older_definition_outlive_a_log_that_is_not_complete(
    store, append, raw, open_store, lost
):
    older, newer = (View("v", (Column("id", str), Column(name, int)), ("id",)) for name in ("old", "new"))
    append(store, 1, key="k-1")
    append(store, 1, key="k-2")
    with closing(open_store(views=[older])) as writer:
        writer.rebuild(Given([older], [Upsert(older, ("a", 1))]))
    with raw(unguarded=True) as connection:
        connection.execute(f"DELETE FROM events WHERE {lost}")
        connection.execute("UPDATE sqlite_sequence SET seq = 0")
    assert open_store(views=[newer]).views_stale is True
    with raw() as connection:
        assert connection.execute("SELECT * FROM v").fetchall() == [("a", 1)]


def test_swapped_events_are_found(store, damaged, raw):
    damaged("UPDATE events SET position = 99 WHERE position = 2")
    with raw() as connection:
        connection.execute("UPDATE events SET position = 2 WHERE position = 3")
        connection.execute("UPDATE events SET position = 3 WHERE position = 99")
    found, error = read_until_error(store.read_all())
    assert len(found) == 1
    assert (type(error), error.position) == (EventCorrupt, 2)


def test_an_event_that_was_put_in_is_found(store, damaged, raw):
    damaged("UPDATE events SET data = data WHERE position = 1")
    with raw() as connection:
        connection.execute(
            f"INSERT INTO events SELECT {COUNT + 1}, 'refund-x', 1, type, time, data, digest FROM events LIMIT 1"
        )
    found, error = read_until_error(store.read_all())
    assert len(found) == COUNT
    assert (type(error), error.position) == (EventCorrupt, COUNT + 1)


@pytest.mark.parametrize("seq", [0, 3, "NULL"])
def test_a_counter_that_is_too_low_hides_no_event_and_lets_none_be_overwritten(store, damaged, append, seq):
    before = damaged(f"UPDATE sqlite_sequence SET seq = {seq} WHERE name = 'events'")
    assert list(store.read_all()) == before
    assert append(store).first == COUNT + 1
    assert list(store.read_all())[:COUNT] == before


def test_a_counter_that_is_too_high_is_a_gap(store, damaged, append):
    before = damaged("UPDATE sqlite_sequence SET seq = 10000 WHERE name = 'events'")
    found, error = read_until_error(store.read_all())
    assert found == before
    assert (type(error), error.number) == (EventMissing, COUNT + 1)
    assert append(store).first == 10_001


def test_a_counter_that_is_no_number_stops_all_that_needs_it(store, damaged, append):
    damaged("UPDATE sqlite_sequence SET seq = 'x' WHERE name = 'events'")
    for call in (store.head, store.read_all, lambda: append(store)):
        with pytest.raises(CorruptLog, match="a number of the log is damaged: 'x'"):
            call()
    assert store.version("refund-a") == COUNT - 2


@pytest.mark.parametrize(
    "assignment",
    ["content = 'text'", "content = 5", "headers = x'00'", "headers = CAST(x'ff' AS TEXT)", "salt = 'text'"],
)
def test_a_body_of_another_kind_than_was_stored_is_damaged(store, damaged, assignment):
    damaged(f"UPDATE bodies SET {assignment}")
    with pytest.raises(CorruptLog):
        store.body("b" * 64)


def test_after_a_damaged_text_the_next_one_is_looked_at_as_closely(store, damaged, raw):
    damaged(f"UPDATE events SET data = CAST(x'ff' AS TEXT) WHERE position = {BAD}")
    with raw() as connection:
        connection.execute("UPDATE bodies SET headers = CAST(x'ff' AS TEXT)")
    with pytest.raises(EventCorrupt):
        list(store.read_all())
    with pytest.raises(CorruptLog, match="no UTF-8"):
        store.body("b" * 64)


@pytest.mark.parametrize("assignment", ["digest = 'text'", "digest = 5", "first = 'x'", "last = 1.5"])
def test_a_key_of_another_kind_than_was_stored_is_damaged(store, damaged, assignment):
    damaged(f"UPDATE keys SET {assignment}")
    with pytest.raises(CorruptLog):
        store.append(Write("refund-a", None, [NewEvent("a", "t", "{}")]), key="k")
    with pytest.raises(CorruptLog):
        store.settle("k")
    assert store.head() == COUNT


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A store with many pages of everything, folded back into one file; and all its events."""
    path = tmp_path_factory.mktemp("template") / "log.db"
    with closing(SqliteStore(path)) as store:
        for number in range(60):
            event = NewEvent("refund.requested", "2026-01-02T03:04:05Z", f'{{"n":{number},"x":"{"é" * 60}"}}')
            store.append(Write(f"refund-{number % 5}", None, [event, event]), key=f"k{number}")
        events = list(store.read_all())
    return path, events


def check_reads(path, events):
    """Read all there is in every way; return whether nothing was found wrong."""
    streams = {event.stream for event in events}
    sound = True
    try:
        store = SqliteStore(path, create=False)
    except RefoldError:
        return False
    with closing(store):
        reads = [(store.read_all, events), (lambda: store.read_category("refund"), None)]
        for stream in sorted(streams):
            mine = [event for event in events if event.stream == stream]
            reads.append((lambda stream=stream: store.read_stream(stream), mine))
        for read, expected in reads:
            try:
                found, error = read_until_error(read())
            except RefoldError:
                sound = False
                continue
            assert all(event in events for event in found)
            if error is not None:
                sound = False
            elif expected is not None:
                assert found == expected
    return sound


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_flipped_bit_anywhere_in_the_file_never_yields_a_wrong_event(tmp_path, template):
    path, events = template
    content = path.read_bytes()
    seeded = random.Random(20260102)
    copy = tmp_path / "log.db"
    unnoticed = 0
    for _ in range(150):
        place, bit = seeded.randrange(len(content)), seeded.randrange(8)
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        for file in tmp_path.iterdir():
            file.unlink()
        copy.write_bytes(damaged)
        unnoticed += check_reads(copy, events)
    assert 0 < unnoticed < 150


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_page_full_of_noise_never_yields_a_wrong_event(tmp_path, template):
    path, events = template
    content = path.read_bytes()
    seeded = random.Random(20260103)
    for page in range(0, len(content), 4096):
        copy = tmp_path / f"{page}.db"
        copy.write_bytes(content[:page] + seeded.randbytes(4096) + content[page + 4096 :])
        check_reads(copy, events)


def test_a_file_that_was_cut_short_never_yields_a_wrong_event(tmp_path, template):
    path, events = template
    content = path.read_bytes()
    for size in range(16, len(content), 4099):
        copy = tmp_path / f"{size}.db"
        copy.write_bytes(content[:size])
        check_reads(copy, events)


def test_a_damaged_write_ahead_log_yields_an_older_state_or_an_error(tmp_path, store, append):
    """SQLite's own checksums end the write-ahead log at the first frame that is damaged."""
    for _ in range(10):
        append(store, 2)
    events = list(store.read_all())
    files = [tmp_path / "log.db", tmp_path / "log.db-wal"]
    content = files[1].read_bytes()
    seeded = random.Random(20260104)
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(files[0], folder)
        damaged = bytearray(content)
        damaged[seeded.randrange(len(content))] ^= 1 << seeded.randrange(8)
        (folder / "log.db-wal").write_bytes(damaged)
        try:
            copied = SqliteStore(folder / "log.db", create=False)
        except RefoldError:
            continue
        with closing(copied):
            found, error = read_until_error(copied.read_all())
            assert found == events[: len(found)]
            assert error is None
            assert len(found) % 2 == 0
