"""The PostgreSQL store waits for the disk and for the standbys, or refuses, or says that it did not."""

import threading

import pytest

from refold.engine.errors import InvalidSetting, OutcomeUnknown, UnsafeDurability
from refold.engine.ports import Appended, NewEvent, Write
from refold.eventstore.postgres import PostgresStore

ONE = Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")])


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"fsync": "off"}, "fsync is off"),
        ({"full_page_writes": "off"}, "full_page_writes is off"),
        ({"synchronous_commit": "off"}, "synchronous_commit is off"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_would_lose_commits_is_refused_unless_that_is_wanted(
    postgres_server, open_postgres, settings, found
):
    open_postgres().append(ONE)
    with postgres_server.configured(**settings):
        with pytest.raises(UnsafeDurability, match=found) as caught:
            open_postgres()
        assert caught.value.setting.startswith(found)
        assert open_postgres(read_only=True).head() == 1
        store = open_postgres(durability="relaxed")
        assert store.append(ONE) == Appended(2, 2)
        described = store.describe()
        assert (described["durability"], described["synchronous_commit"]) == ("relaxed", "off")
        for name, value in settings.items():
            assert described[name] == value
    assert open_postgres().head() == 2


@pytest.mark.parametrize("value", ["on", "remote_write", "remote_apply", "local"])
def test_without_standbys_every_mode_that_waits_for_the_disk_is_accepted(
    postgres_server, open_postgres, value
):
    name = f"mode_{value}"
    postgres_server.schema(name)
    store = open_postgres(postgres_server.url(search_path=name, synchronous_commit=value))
    store.append(ONE)
    assert store.describe()["synchronous_commit"] == value


def test_not_to_wait_for_the_standbys_there_are_is_refused(postgres_server, open_postgres):
    postgres_server.schema("with_standbys")
    url = postgres_server.url(search_path="with_standbys", synchronous_commit="local")
    with (
        postgres_server.configured(synchronous_standby_names="nobody"),
        pytest.raises(UnsafeDurability, match="synchronous_commit is local"),
    ):
        open_postgres(url)


def test_a_mode_that_was_accepted_holds_for_the_session_whatever_the_server_is_told(
    postgres_server, open_postgres
):
    store = open_postgres()
    with postgres_server.configured(synchronous_commit="off"):
        store.append(ONE)
        assert store.describe()["synchronous_commit"] == "on"


def test_a_setting_that_became_unsafe_while_the_store_was_open_is_told(postgres_server, open_postgres):
    store = open_postgres()
    with postgres_server.configured(fsync="off"), pytest.raises(UnsafeDurability, match="fsync is off"):
        store.describe()
    assert store.describe()["fsync"] == "on"


def test_a_durability_that_there_is_not_is_refused(postgres_url):
    with pytest.raises(InvalidSetting, match="use 'full' or 'relaxed'"):
        PostgresStore(postgres_url, durability="fast")


WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'refold'"


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
@pytest.mark.parametrize("batched", [False, True], ids=["append", "batch"])
def test_a_commit_whose_wait_for_standbys_was_cut_short_is_told_apart_from_a_replicated_one(
    postgres_server, open_postgres, until, how, batched
):
    name = f"waits_{how}_{batched}".lower()
    postgres_server.schema(name)
    # What a session wants to hear of must not decide whether the store hears the warning.
    store = open_postgres(postgres_server.url(search_path=name, client_min_messages="error"))
    caught = []

    def appending():
        try:
            if batched:
                with store.batch():
                    store.append(ONE, key="k")
            else:
                store.append(ONE, key="k")
        except OutcomeUnknown as error:
            caught.append((error.key, error.replicated))

    with postgres_server.configured(synchronous_standby_names="nobody"):
        thread = threading.Thread(target=appending)
        thread.start()
        (pid,) = until(lambda: postgres_server.ask(WAITING))
        assert caught == []
        postgres_server.ask(f"SELECT {how}(%s)", pid)
        thread.join()
    assert caught == [(None if batched else "k", False)]
    assert store.settle("k") == Appended(1, 1)
    assert store.append(ONE, key="k") == Appended(1, 1, duplicate=True)
