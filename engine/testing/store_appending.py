"""The event store contract: appending, idempotency keys and message bodies."""

from __future__ import annotations

from hashlib import sha256

from ..errors import InvalidInput, KeyReuse, MessageNotFound, VersionConflict
from ..ports import Appended, NewEvent, Write
from .store_scenery import UNICODE, Failing, Interrupted, StoreScenery, body, event, raised, snapshot, total


class Appending(StoreScenery):
    """What one append stores, and what it refuses."""

    def test_positions_are_dense_over_all_streams_and_versions_in_each(self) -> None:
        """Count from 1, one by one."""
        for stream in ("refund-a", "refund-b", "refund-a", "payment-a", "refund-b"):
            self.store.append(Write(stream, None, [event(), event()]))
        found = list(self.store.read_all())
        assert [each.position for each in found] == list(range(1, 11))
        for stream, count in (("refund-a", 4), ("refund-b", 4), ("payment-a", 2)):
            versions = [each.version for each in found if each.stream == stream]
            assert versions == list(range(1, count + 1))
            assert self.store.version(stream) == count
        assert self.store.head() == 10

    def test_an_append_tells_its_first_and_last_position(self) -> None:
        """Over all its writes."""
        assert self.store.append(Write("refund-a", 0, [event()])) == Appended(1, 1, duplicate=False)
        writes = (Write("refund-a", 1, [event(), event()]), Write("payment-a", 0, [event()]))
        assert self.store.append(*writes) == Appended(2, 4, duplicate=False)

    def test_an_event_is_stored_exactly_as_given(self) -> None:
        """Stream, type, time and data come back as they were, blanks and order of keys included."""
        given = NewEvent("evidence.success", "2026-01-02T03:04:05Z", '{ "b":1,  "a":2.50 }')
        self.store.append(Write("refund-R/1:x~", 0, [given]))
        (found,) = self.store.read_all()
        assert (found.stream, found.type, found.time, found.data) == ("refund-R/1:x~", *given)

    def test_unicode_data_comes_back_exactly(self) -> None:
        """No normalisation, and nothing dropped."""
        self.store.append(Write("refund-a", 0, [event(UNICODE)]))
        (found,) = self.store.read_stream("refund-a")
        assert found.data == UNICODE

    def test_each_digest_can_be_computed_by_anyone(self) -> None:
        """SHA-256 over position, stream, version, type, time and data, framed as the codec documents."""
        self.store.append(Write("refund-a", 0, [event(UNICODE), event()]), Write("payment-a", 0, [event()]))
        for found in self.store.read_all():
            header = ["refold event 1", found.position, found.stream, found.version, found.type, found.time]
            framed = "".join(f"{line}\n" for line in header) + found.data
            assert found.digest == sha256(framed.encode("utf-8")).digest()

    def test_several_streams_are_appended_to_at_once(self) -> None:
        """In the order of the writes."""
        self.store.append(Write("payment-a", 0, [event()]), Write("refund-a", 0, [event(), event()]))
        streams = [(each.stream, each.version) for each in self.store.read_all()]
        assert streams == [("payment-a", 1), ("refund-a", 1), ("refund-a", 2)]

    def test_a_wrong_version_in_the_second_write_leaves_nothing(self) -> None:
        """No event, body, key or view change of the append stays."""
        self.store.append(Write("refund-b", 0, [event()]), changes=[total("t", 1)])
        before = snapshot(self.store)
        writes = (Write("refund-a", 0, [event()]), Write("refund-b", 7, [event()]))
        raised(
            VersionConflict,
            self.store.append,
            *writes,
            key="k",
            bodies=[body(1)],
            changes=[total("t", 5)],
        )
        assert snapshot(self.store) == before
        assert self.store.version("refund-a") == 0
        assert self.store.settle("k") is None
        raised(MessageNotFound, self.store.body, body(1).digest)

    def test_a_failure_after_the_events_leaves_nothing(self) -> None:
        """Whether it strikes among the bodies or among the view changes."""
        self.store.append(Write("refund-b", 0, [event()]), changes=[total("t", 1)])
        before = snapshot(self.store)
        write = Write("refund-a", 0, [event()])
        bodies, changes = Failing([body(1)]), Failing([total("t", 5)])
        raised(Interrupted, self.store.append, write, key="k", bodies=bodies)
        raised(Interrupted, self.store.append, write, key="k", bodies=[body(1)], changes=changes)
        assert snapshot(self.store) == before
        assert self.store.settle("k") is None
        raised(MessageNotFound, self.store.body, body(1).digest)
        assert self.store.append(write, key="k") == Appended(2, 2)

    def test_a_version_conflict_names_stream_expected_and_actual_version(self) -> None:
        """As attributes, and in the message."""
        self.store.append(Write("refund-a", 0, [event()] * 5))
        error = raised(VersionConflict, self.store.append, Write("refund-a", 3, [event()]))
        assert (error.stream, error.expected, error.actual) == ("refund-a", 3, 5)
        assert str(error) == "wrong expected version: 3 (stream: refund-a, stream version: 5)"

    def test_a_version_that_is_ahead_is_a_conflict_too(self) -> None:
        """A stream that does not exist is at version 0."""
        error = raised(VersionConflict, self.store.append, Write("refund-a", 1, [event()]))
        assert (error.expected, error.actual) == (1, 0)
        assert self.store.head() == 0

    def test_expecting_none_accepts_any_version(self) -> None:
        """The writer does not care who was first."""
        for _ in range(3):
            self.store.append(Write("refund-a", None, [event()]))
        assert self.store.version("refund-a") == 3

    def test_an_empty_write_only_guards(self) -> None:
        """It refuses where its stream moved, and stores nothing itself."""
        self.store.append(Write("payment-a", 0, [event()]))
        self.store.append(Write("payment-a", 1), Write("refund-a", 0, [event()]))
        assert (self.store.version("payment-a"), self.store.version("refund-a")) == (1, 1)
        moved = (Write("payment-a", 0), Write("refund-a", 1, [event()]))
        assert raised(VersionConflict, self.store.append, *moved).stream == "payment-a"
        assert self.store.version("refund-a") == 1

    def test_an_append_without_events_is_refused(self) -> None:
        """There would be no position to answer with."""
        for writes in ((), (Write("refund-a", 0),), (Write("refund-a", 0, []), Write("refund-b", 0, []))):
            raised(InvalidInput, self.store.append, *writes, key="k")
        assert self.store.settle("k") is None

    def test_one_stream_twice_in_one_append_is_refused(self) -> None:
        """Which of the two versions would count?"""
        writes = (Write("refund-a", 0, [event()]), Write("refund-a", 1, [event()]))
        raised(InvalidInput, self.store.append, *writes)
        assert self.store.head() == 0

    def test_names_that_cannot_be_hashed_apart_are_refused(self) -> None:
        """Stream names are `category-id` without blanks or control characters; types and times hold none either."""
        long = "refund-" + "x" * 300
        for name in (
            "",
            "refund",
            "refund-",
            "-a",
            "Refund-a",
            "refund-a b",
            "refund-a\n",
            "refund-\u00e9",
            long,
        ):
            raised(InvalidInput, self.store.append, Write(name, 0, [event()]))
        for bad in (
            NewEvent("", "t", ""),
            NewEvent("a\n", "t", ""),
            NewEvent("a", "", ""),
            NewEvent("a", "t\n", ""),
        ):
            raised(InvalidInput, self.store.append, Write("refund-a", 0, [event(), bad]))
        assert self.store.head() == 0

    def test_text_that_not_every_store_can_hold_is_refused(self) -> None:
        """A lone surrogate is no UTF-8, and PostgreSQL has no NUL."""
        for text in ("\ud800", "a\0b"):
            raised(InvalidInput, self.store.append, Write("refund-a", 0, [event(text)]))
            write = Write("refund-a", 0, [event()])
            raised(InvalidInput, self.store.append, write, key=text)
            raised(InvalidInput, self.store.append, write, key="k", content=text)
            raised(InvalidInput, self.store.append, write, bodies=[body(1)._replace(headers=text)])
        assert self.store.head() == 0


class Keys(StoreScenery):
    """A key makes an append happen once."""

    def test_the_same_key_and_content_return_the_first_result_and_store_nothing_again(self) -> None:
        """Neither events nor bodies nor view changes; the expected version may have moved on."""
        write = Write("refund-a", 0, [event(), event()])
        first = self.store.append(write, key="k", changes=[total("t", 5)])
        self.store.append(Write("refund-a", 2, [event()]))
        again = self.store.append(write, key="k", bodies=[body(1)], changes=[total("t", 5)])
        assert first == Appended(1, 2, duplicate=False)
        assert again == Appended(1, 2, duplicate=True)
        assert self.store.head() == 3
        assert self.rows() == [{"id": "t", "kind": None, "total": 5, "rank": None}]
        raised(MessageNotFound, self.store.body, body(1).digest)

    def test_the_same_key_with_other_content_is_refused_with_both_digests(self) -> None:
        """And stores nothing."""
        self.store.append(Write("refund-a", 0, [event("1")]), key="k")
        before = snapshot(self.store)
        error = raised(KeyReuse, self.store.append, Write("refund-a", 1, [event("2")]), key="k")
        assert error.key == "k"
        assert error.stored != error.given
        for digest in (error.stored, error.given):
            assert len(digest) == 64
            assert digest == digest.lower()
            assert bytes.fromhex(digest)
        assert snapshot(self.store) == before
        assert self.store.settle("k") == Appended(1, 1)

    def test_every_part_of_an_event_is_part_of_the_content(self) -> None:
        """Stream, type, time, data, number of events and their distribution over streams."""
        first = NewEvent("a", "t", "12")
        self.store.append(Write("refund-a", 0, [first, first]), key="k")
        for other in (
            [Write("refund-b", 0, [first, first])],
            [Write("refund-a", 0, [first])],
            [Write("refund-a", 0, [first]), Write("refund-b", 0, [first])],
            [Write("refund-a", 0, [first, first._replace(type="b")])],
            [Write("refund-a", 0, [first, first._replace(time="u")])],
            [Write("refund-a", 0, [first, first._replace(data="13")])],
            [Write("refund-a", 0, [first._replace(data="1"), first._replace(data="212")])],
        ):
            raised(KeyReuse, self.store.append, *other, key="k")

    def test_content_stands_for_the_writes_where_it_is_given(self) -> None:
        """Two tries of one message differ in time and salt."""
        self.store.append(Write("refund-a", 0, [event("1")]), key="k", content="message 1")
        again = self.store.append(Write("refund-b", 0, [event("2")]), key="k", content="message 1")
        assert again == Appended(1, 1, duplicate=True)
        assert self.store.head() == 1
        same_write = Write("refund-a", 0, [event("1")])
        raised(KeyReuse, self.store.append, same_write, key="k", content="message 2")
        raised(KeyReuse, self.store.append, same_write, key="k")

    def test_another_key_is_another_append(self) -> None:
        """So is none."""
        write = Write("refund-a", None, [event()])
        for key in ("k", "K", "k ", None, None):
            assert not self.store.append(write, key=key).duplicate
        assert self.store.head() == 5

    def test_settle_tells_whether_a_key_was_appended(self) -> None:
        """None where it was not, also where the append was refused."""
        assert self.store.settle("k") is None
        raised(VersionConflict, self.store.append, Write("refund-a", 4, [event()]), key="k")
        assert self.store.settle("k") is None
        self.store.append(Write("refund-a", 0, [event(), event()]), key="k")
        assert self.store.settle("k") == Appended(1, 2)


class Bodies(StoreScenery):
    """Message bodies lie apart from the events."""

    def test_a_body_comes_back_byte_for_byte(self) -> None:
        """With its salt and headers."""
        self.store.append(Write("refund-a", 0, [event()]), bodies=[body(1), body(2)])
        assert self.store.body(body(1).digest) == body(1)
        assert self.store.body(body(2).digest) == body(2)

    def test_a_body_is_stored_once_by_its_digest(self) -> None:
        """The first one stays."""
        self.store.append(Write("refund-a", 0, [event()]), bodies=[body(1)])
        self.store.append(Write("refund-a", 1, [event()]), bodies=[body(2)._replace(digest=body(1).digest)])
        assert self.store.body(body(1).digest) == body(1)

    def test_a_body_nobody_stored_is_not_found(self) -> None:
        """The error names the digest."""
        assert raised(MessageNotFound, self.store.body, "f" * 64).digest == "f" * 64

    def test_an_erased_body_is_gone_and_every_digest_still_verifies(self) -> None:
        """Erasing tells whether there was something to erase, and leaves other bodies alone."""
        self.store.append(Write("refund-a", 0, [event(), event()]), bodies=[body(1), body(2)])
        before = list(self.store.read_all())
        assert self.store.erase_body(body(1).digest) is True
        assert self.store.erase_body(body(1).digest) is False
        raised(MessageNotFound, self.store.body, body(1).digest)
        assert self.store.body(body(2).digest) == body(2)
        assert list(self.store.read_all()) == before
