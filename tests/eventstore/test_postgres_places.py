"""Where a PostgreSQL store lies: its address, its schema, and a server or role that only reads."""

import pytest
from totals import TOTALS

from refold.engine.errors import (
    InvalidSetting,
    SchemaTooNew,
    StoreReadOnly,
    StoreUnavailable,
)
from refold.engine.ports import Column, Given, NewEvent, Upsert, View, Write
from refold.eventstore.postgres import PostgresStore
from refold.eventstore.postgres.address import Address
from refold.eventstore.postgres.ddl import MIGRATIONS

ONE = Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")])


# ---- the address

SECRETS = ["hunter2", "p%40ss%2Fword"]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_password_is_shown(postgres_server, secret, caplog):
    postgres_server.schema("with_password")
    url = postgres_server.url(search_path="with_password").replace("postgres@", f"postgres:{secret}@")
    store = PostgresStore(url, timeout_s=1)
    shown = [repr(store), str(store.describe()), repr(vars(store)), repr(store._address)]
    store.close()
    wrong = url.replace("/postgres?", "/absent?")
    with pytest.raises(StoreUnavailable, match="absent") as caught:
        PostgresStore(wrong, timeout_s=1)
    with pytest.raises(StoreUnavailable, match="absent") as read:
        PostgresStore(wrong, timeout_s=0.1, read_only=True)
    error = caught.value
    shown += [
        str(error),
        repr(error),
        str(error.__cause__),
        str(read.value),
        str(read.value.__cause__),
        caplog.text,
    ]
    for text in (secret, "p@ss/word"):
        assert not [each for each in shown if text in each]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2/3@host/db",
        "postgresql://user:12/hunter2@host/db",
        "postgresql://user:hunter2@host:port/db",
        "postgresql://user:hunter2@host/db?nonsense=1",
        "postgresql://user:hunter2@[host/db",
        "postgresql://user:hunter2%zz@host/db",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_showing_it(url):
    with pytest.raises(InvalidSetting, match="percent-encoded") as caught:
        PostgresStore(url)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.__cause__)


def test_an_address_shows_host_port_database_and_user():
    address = Address("postgresql://me:hunter2@one:5433,two:5434/refunds?sslmode=require", timeout_s=5)
    assert str(address) == "host=one,two port=5433,5434 dbname=refunds user=me"
    assert "hunter2" in address.conninfo


# ---- the schema


def test_a_schema_from_a_newer_refold_is_refused(open_postgres, postgres_server, postgres_url):
    open_postgres().append(ONE)
    with postgres_server.connect(postgres_url) as other:
        other.execute("INSERT INTO migrations VALUES (99)")
    for read_only in (False, True):
        with pytest.raises(SchemaTooNew) as caught:
            open_postgres(read_only=read_only)
        assert (caught.value.found, caught.value.known) == (99, len(MIGRATIONS))


def test_a_missing_store_is_made_only_where_that_is_wanted(open_postgres):
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(StoreUnavailable, match="there is no store"):
            open_postgres(**options)
    open_postgres().append(ONE)
    assert open_postgres(create=False).head() == 1


def test_a_schema_that_is_not_there_is_told(postgres_server):
    with pytest.raises(StoreUnavailable, match="CREATE SCHEMA"):
        PostgresStore(postgres_server.url(search_path="nowhere"))


@pytest.mark.parametrize("table", ["events (id int)", "migrations (id int)", "totals (id text)"])
def test_a_table_of_something_else_is_left_alone(postgres_server, postgres_url, open_postgres, table):
    with postgres_server.connect(postgres_url) as other:
        other.execute(f"CREATE TABLE {table}")
        with pytest.raises(StoreUnavailable, match="search_path"):
            open_postgres(views=[TOTALS])
        tables = other.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(current_schema())"
        ).fetchall()
        assert tables == [(table.partition(" ")[0],)]


@pytest.mark.parametrize("first", ["beside", "before"])
def test_tables_in_other_schemas_of_the_search_path_are_left_alone(postgres_server, open_postgres, first):
    """Those of somebody else, and those of another store; also in a rebuild, and with another definition."""
    own, others = f"own_{first}", f"others_{first}"
    neighbour = PostgresStore(postgres_server.schema(others), views=[TOTALS])
    neighbour.append(ONE, changes=[Upsert(TOTALS, ("theirs", 7))])
    postgres_server.schema(own)
    with postgres_server.connect(postgres_server.url(search_path=others)) as other:
        other.execute("CREATE TABLE totals__new AS SELECT 1 AS mine; GRANT SELECT ON totals TO PUBLIC")
        url = postgres_server.url(search_path=f"{own},{others}")
        if first == "before":
            PostgresStore(postgres_server.url(search_path=own), views=[TOTALS]).close()
        store = open_postgres(url, views=[TOTALS])
        store.rebuild(Given([TOTALS], [Upsert(TOTALS, ("ours", 1))]))
        more = View("totals", (*TOTALS.columns, Column("kind", str)), ("id",))
        again = open_postgres(url, views=[more])
        again.rebuild(Given([more], [Upsert(more, ("ours", 1, "x"))]))
        assert [row["id"] for row in again.rows(more)] == ["ours"]
        assert other.execute("SELECT mine FROM totals__new").fetchall() == [(1,)]
        (acl,) = other.execute(
            "SELECT relacl FROM pg_class WHERE oid = %s::regclass", (f"{own}.totals",)
        ).fetchone()
        assert acl is None
    assert [dict(row) for row in neighbour.rows(TOTALS)] == [{"id": "theirs", "total": 7}]
    neighbour.append(ONE, changes=[Upsert(TOTALS, ("theirs", 1))])
    assert neighbour.row(TOTALS, ("theirs",))["total"] == 8
    neighbour.close()


@pytest.mark.parametrize("name", ["Refold", "my schema", "a.b", 'a"b', "select", "ünï"])
def test_a_schema_may_have_any_name(postgres_server, open_postgres, name):
    postgres_server.schema(name)
    quoted = '"' + name.replace('"', '""') + '"'
    url = postgres_server.url(search_path=quoted.replace(" ", "\\ "))
    store = open_postgres(url, views=[TOTALS])
    store.append(ONE, changes=[Upsert(TOTALS, ("t", 1))])
    assert store.rebuild(Given([TOTALS], [Upsert(TOTALS, ("t", 1))])) == []
    assert store.wait_for(1, timeout_s=10)
    assert open_postgres(url, views=[TOTALS]).views_stale is False
    assert postgres_server.ask(
        "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE relname = 'totals' AND nspname = %s",
        name,
    ) == (name,)


def test_a_database_in_another_encoding_is_refused(postgres_server):
    postgres_server.ask("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreUnavailable, match="encoding is LATIN1"):
        PostgresStore(postgres_server.url().replace("/postgres?", "/latin?"))


# ---- read-only


def test_a_store_opened_for_reading_refuses_every_write(open_postgres):
    open_postgres().append(ONE)
    store = open_postgres(read_only=True)
    assert store.head() == 1
    for call in (lambda: store.append(ONE), lambda: store.erase_body("0"), lambda: store.release(1)):
        with pytest.raises(StoreReadOnly):
            call()
    assert store.describe()["events"] == "1"


def test_a_server_that_accepts_reads_only_is_read_and_not_written(postgres_server, open_postgres):
    postgres_server.schema("only_read")
    url = postgres_server.url(search_path="only_read")
    open_postgres(url).append(ONE)
    read_only = postgres_server.url(search_path="only_read", default_transaction_read_only="on")
    with pytest.raises(StoreReadOnly):
        open_postgres(read_only)
    assert open_postgres(read_only, read_only=True).head() == 1


def test_a_server_that_becomes_read_only_is_told_as_such(postgres_server, open_postgres):
    store = open_postgres()
    store.append(ONE)
    with postgres_server.configured(default_transaction_read_only="on"):
        with pytest.raises(StoreReadOnly):
            store.append(ONE)
        with pytest.raises(StoreReadOnly), store.batch():
            pass
        assert store.head() == 1
    store.append(ONE)


def test_a_role_that_may_only_read_reads(postgres_server, open_postgres):
    postgres_server.schema("for_reader")
    open_postgres(postgres_server.url(search_path="for_reader")).append(ONE)
    postgres_server.ask("CREATE ROLE only_reader LOGIN")
    postgres_server.ask("GRANT USAGE ON SCHEMA for_reader TO only_reader")
    postgres_server.ask("GRANT SELECT ON ALL TABLES IN SCHEMA for_reader TO only_reader")
    url = postgres_server.url(user="only_reader", search_path="for_reader")
    with pytest.raises(StoreReadOnly):
        open_postgres(url)
    assert open_postgres(url, read_only=True).head() == 1
    postgres_server.ask("CREATE SCHEMA for_nobody")
    postgres_server.ask("GRANT USAGE ON SCHEMA for_nobody TO only_reader")
    with pytest.raises(StoreReadOnly):
        open_postgres(postgres_server.url(user="only_reader", search_path="for_nobody"))
