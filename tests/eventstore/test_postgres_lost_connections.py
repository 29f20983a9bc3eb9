"""The PostgreSQL store when its connection breaks: an append is never called a failure unless the server said so."""

import os
import socket
import threading
from contextlib import suppress

import pytest
from psycopg_pool.base import AttemptWithBackoff

from refold.engine.errors import OutcomeUnknown, StoreBusy, StoreError, StoreUnavailable
from refold.engine.ports import Appended, NewEvent, Write
from refold.eventstore.postgres import PostgresStore

ONE = Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")])
REFOLD = "SELECT pid FROM pg_stat_activity WHERE application_name = 'refold'"


@pytest.fixture
def through(postgres_server, proxy, open_postgres):
    """Open a store through the proxy; its calls are prepared, so that each is one request and one answer."""
    name = f"proxied_{proxy.folder.name[-8:]}"
    postgres_server.schema(name)
    return open_postgres(postgres_server.url(host=proxy.folder, search_path=name))


@pytest.mark.parametrize("arrives", [0, 1, 20, -6, -1], ids="{} bytes of the answer".format)
def test_an_append_whose_answer_is_cut_off_is_of_unknown_outcome_and_settled_by_its_key(
    through, proxy, arrives
):
    through.append(ONE)
    proxy.cut = arrives
    with pytest.raises(OutcomeUnknown) as caught:
        through.append(ONE, key="k")
    assert (caught.value.key, caught.value.replicated) == ("k", None)
    assert through.settle("k") == Appended(2, 2)
    assert through.append(ONE) == Appended(3, 3)


def test_an_append_cut_off_before_it_reached_the_server_is_of_unknown_outcome_and_settled_as_absent(
    through, proxy, append
):
    through.append(ONE)
    proxy.cut = "unsent"
    with pytest.raises(OutcomeUnknown):
        through.append(ONE, key="k")
    assert through.settle("k") is None
    assert through.append(ONE, key="k") == Appended(2, 2)


def test_a_batch_whose_commit_is_cut_off_is_of_unknown_outcome(through, proxy):
    def cut_commit():
        with through.batch():
            through.append(ONE, key="k")
            # What follows the advance of the head is the commit.
            execute = through._writer._connection.execute

            def executed(statement, *arguments):
                if statement == "COMMIT":
                    proxy.cut = 0
                return execute(statement, *arguments)

            through._writer._connection.execute = executed

    through.append(ONE)
    with pytest.raises(OutcomeUnknown):
        cut_commit()
    assert through.settle("k") == Appended(2, 2)


def test_a_batch_cut_off_before_its_commit_is_not_stored(through, proxy):
    through.append(ONE)

    def cut_inside():
        with through.batch():
            through.append(ONE, key="k")
            proxy.cut = "unsent"
            through.append(ONE)

    with pytest.raises(StoreUnavailable):
        cut_inside()
    assert through.settle("k") is None
    assert through.append(ONE) == Appended(2, 2)


def test_a_batch_that_lost_its_connection_takes_nothing_more(through, proxy):
    def go_on():
        with through.batch():
            through.append(ONE)
            proxy.cut = "unsent"
            with pytest.raises(StoreUnavailable):
                through.append(ONE)
            with pytest.raises(StoreUnavailable, match="repeat all of it"):
                through.append(ONE)

    with pytest.raises(StoreUnavailable, match="repeat all of it"):
        go_on()
    assert through.head() == 0


def test_a_batch_that_lost_its_connection_moves_no_checkpoint(through, proxy):
    def go_on():
        with through.batch():
            proxy.cut = "unsent"
            with pytest.raises(StoreUnavailable):
                through.append(ONE)
            with pytest.raises(StoreUnavailable, match="repeat all of it"):
                through.advance("a", expected=None, position=0)

    with pytest.raises(StoreUnavailable, match="repeat all of it"):
        go_on()
    assert through.checkpoint_of("a") is None


def test_a_read_that_is_cut_off_is_unavailable_and_the_next_one_works(through, proxy):
    through.append(ONE)
    proxy.cut = 1
    with pytest.raises(StoreUnavailable):
        through.head()
    assert through.head() == 1


def end_backends(postgres_server, until):
    """End every session of refold, also one that the pool began while others were being ended."""

    def ended():
        postgres_server.ask(f"SELECT count(pg_terminate_backend(pid)) FROM ({REFOLD}) AS each")
        return postgres_server.ask(REFOLD) is None

    until(ended)


def test_connections_that_the_server_ended_between_calls_are_replaced(open_postgres, postgres_server, until):
    store = open_postgres()
    store.append(ONE, key="k")
    for _ in range(3):
        end_backends(postgres_server, until)
        assert store.settle("k") == Appended(1, 1)
        end_backends(postgres_server, until)
        store.append(ONE)
    assert store.head() == 4


def test_a_batch_begins_on_a_new_connection_where_the_server_ended_the_old_one(
    open_postgres, postgres_server, until
):
    store = open_postgres()
    store.append(ONE)
    end_backends(postgres_server, until)
    with store.batch():
        store.append(ONE)
    assert store.head() == 2


@pytest.fixture
def broken_off(open_postgres, postgres_server, postgres_url, until):
    """Break an append off while it waits for the head; return the store, and what the append raised."""

    def broken(function):
        store, raised = open_postgres(), []
        store.append(ONE)

        def appending():
            try:
                store.append(ONE, key="k")
            except StoreError as error:
                raised.append(error)

        with postgres_server.connect(postgres_url) as other, other.transaction():
            other.execute("SELECT FROM head FOR UPDATE")
            thread = threading.Thread(target=appending)
            thread.start()
            (pid,) = until(lambda: postgres_server.ask(f"{REFOLD} AND wait_event_type = 'Lock'"))
            postgres_server.ask(f"SELECT {function}(%s)", pid)
            thread.join()
        (error,) = raised
        return store, error

    return broken


def test_a_session_ended_inside_of_the_call_is_of_unknown_outcome(broken_off):
    store, error = broken_off("pg_terminate_backend")
    assert isinstance(error, OutcomeUnknown)
    assert error.key == "k"
    assert store.settle("k") is None


def test_a_statement_that_was_cancelled_has_stored_nothing(broken_off):
    store, error = broken_off("pg_cancel_backend")
    assert isinstance(error, StoreUnavailable)
    assert "canceling statement due to user request" in str(error)
    assert store.settle("k") is None
    store.append(ONE)


def test_a_server_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(StoreUnavailable, match=r"host=.*nowhere") as caught:
        PostgresStore(f"postgresql://someone:hunter2@/db?host={tmp_path}/nowhere", timeout_s=1)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StoreUnavailable, match="nowhere"):
        PostgresStore(
            f"postgresql://someone:hunter2@/db?host={tmp_path}/nowhere", timeout_s=0.1, read_only=True
        )


def test_reads_go_on_soon_after_a_server_that_was_gone_is_back(
    open_postgres, postgres_server, monkeypatch, until
):
    monkeypatch.setattr(AttemptWithBackoff, "INITIAL_DELAY", 3600)  # as after an outage of an hour
    store = open_postgres(timeout_s=0.2)
    postgres_server.stop()
    with pytest.raises(StoreUnavailable):
        store.head()
    postgres_server.start()

    def reads():
        with suppress(StoreBusy):
            return store.head() == 0

    assert until(reads)


def test_no_error_of_psycopg_leaks_from_a_store_whose_server_is_gone(postgres_server, proxy):
    name = f"gone_{proxy.folder.name[-8:]}"
    postgres_server.schema(name)
    store = PostgresStore(postgres_server.url(host=proxy.folder, search_path=name), timeout_s=0.2)
    store.append(ONE)
    proxy.close_door()
    for call in (store.head, lambda: store.append(ONE), lambda: store.settle("k"), store.describe):
        with pytest.raises(StoreUnavailable, match=r"failed|lost|closed"):
            call()
    store.close()


# ---- what the server goes on with after its client is gone


def hang_up(store):
    """Let the server lose the client that waits for its append."""
    with socket.socket(fileno=os.dup(store._writer._connection.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def orphaned(postgres_server, until):
    """Append under the key `k`, and lose the connection while the server is at it."""

    def appended(store, waits_for):
        caught = []

        def appending():
            with pytest.raises(OutcomeUnknown) as error:
                store.append(ONE, key="k")
            caught.append(error.value.key)

        thread = threading.Thread(target=appending)
        thread.start()
        until(lambda: postgres_server.ask(f"{REFOLD} AND wait_event = %s", waits_for))
        hang_up(store)
        thread.join()
        assert caught == ["k"]

    return appended


@pytest.mark.parametrize("settled_by", ["the same store", "another one"])
def test_a_key_is_not_settled_as_absent_while_a_lost_append_waits_for_its_turn(
    open_postgres, postgres_server, postgres_url, orphaned, until, settled_by
):
    store, settled = open_postgres(timeout_s=60), []
    store.append(ONE)
    asked = store if settled_by == "the same store" else open_postgres(timeout_s=60)
    with postgres_server.connect(postgres_url) as other, other.transaction():
        other.execute("SELECT FROM head FOR UPDATE")
        orphaned(store, "transactionid")
        thread = threading.Thread(target=lambda: settled.append(asked.settle("k")))
        thread.start()
        until(lambda: settled or postgres_server.ask(f"{REFOLD} AND wait_event = 'relation'"))
    thread.join()
    assert settled == [Appended(2, 2)]


def test_a_key_is_not_settled_as_absent_while_a_lost_append_waits_for_standbys(
    open_postgres, postgres_server, orphaned
):
    store = open_postgres(timeout_s=0.2)
    store.append(ONE)
    with postgres_server.configured(synchronous_standby_names="nobody"):
        orphaned(store, "SyncRep")
        with pytest.raises(StoreBusy):
            store.settle("k")
    patient = open_postgres(timeout_s=60)
    assert patient.settle("k") == Appended(2, 2)


def test_a_key_that_no_server_works_on_is_settled_as_absent_at_once(open_postgres):
    store = open_postgres()
    store.append(ONE)
    assert store.settle("k") is None
    with store.batch():
        assert store.settle("k") is None
    assert open_postgres(read_only=True).settle("k") is None
