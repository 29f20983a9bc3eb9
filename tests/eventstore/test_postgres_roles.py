"""A role that may write some of the tables is told at once which grants it lacks."""

import pytest
from totals import TOTALS

from refold.engine.errors import StoreReadOnly, StoreUnavailable
from refold.engine.ports import Column, DeadLetter, Given, NewEvent, Upsert, View, Write

ONE = Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")])
NEEDED = {
    "events": "SELECT, INSERT",
    "head": "SELECT, UPDATE",
    "keys": "SELECT, INSERT",
    "bodies": "SELECT, INSERT",
    "leases": "SELECT, INSERT, UPDATE, DELETE",
    "subscriptions": "SELECT, INSERT, UPDATE",
    "dead_letters": "SELECT, INSERT, DELETE",
    "totals": "SELECT, INSERT, UPDATE, DELETE",
}
ROLE = "app of the shop"


@pytest.fixture
def namespace(postgres_server, postgres_url, open_postgres):
    """Give the name of a schema with a store in it."""
    open_postgres(views=[TOTALS]).append(ONE)
    with postgres_server.connect(postgres_url) as owner:
        return owner.execute("SELECT current_schema()").fetchone()[0]


@pytest.fixture
def owner(postgres_server, postgres_url):
    with postgres_server.connect(postgres_url) as connection:
        yield connection


@pytest.fixture
def role_url(postgres_server, owner, namespace):
    """Give the URL of a role that was granted all that a store needs, and nothing else."""
    owner.execute(f'CREATE ROLE "{ROLE}" LOGIN')
    owner.execute(f'GRANT USAGE ON SCHEMA {namespace} TO "{ROLE}"')
    for table in ("migrations", "views"):
        owner.execute(f'GRANT SELECT ON {table} TO "{ROLE}"')
    for table, privileges in NEEDED.items():
        owner.execute(f'GRANT {privileges} ON {table} TO "{ROLE}"')
    yield postgres_server.url(user=ROLE.replace(" ", "%20"), search_path=namespace)
    owner.execute(f'DROP OWNED BY "{ROLE}"')
    owner.execute(f'DROP ROLE "{ROLE}"')


def test_a_role_with_these_grants_writes_all_that_a_store_writes(open_postgres, role_url):
    store = open_postgres(role_url, views=[TOTALS])
    store.append(ONE, key="k", changes=[Upsert(TOTALS, ("t", 1))])
    token = store.claim("lease", holder="me", now="2026-01", until="2026-02")
    (first, second) = store.read_all()
    letters = [
        DeadLetter(event, "ValueError", "", 1, "2026-01-02T09:00:00.000000Z") for event in (first, second)
    ]
    store.advance("a", expected=None, position=2, set_aside=letters, fence=token)
    store.advance("a", expected=2, position=2, resolved=[1])
    store.release(token)
    with store.batch():
        store.append(ONE)
    assert (store.head(), len(list(store.dead_letters("a")))) == (3, 1)


@pytest.mark.parametrize(
    ("table", "privilege"),
    [(table, privilege) for table, privileges in NEEDED.items() for privilege in privileges.split(", ")],
)
def test_a_grant_that_a_role_lacks_is_named_when_the_store_is_opened(
    open_postgres, owner, role_url, namespace, table, privilege
):
    owner.execute(f'REVOKE {privilege} ON {table} FROM "{ROLE}"')
    with pytest.raises(StoreUnavailable) as told:
        open_postgres(role_url, views=[TOTALS])
    assert str(told.value).endswith(
        f"the role {ROLE} may write some tables of the store and not all;"
        f' GRANT {privilege} ON "{namespace}"."{table}" TO "{ROLE}"'
    )
    owner.execute(str(told.value).rpartition("; ")[2])
    assert open_postgres(role_url, views=[TOTALS]).append(ONE).last == 2


def test_all_grants_that_a_role_lacks_are_named(open_postgres, owner, role_url):
    owner.execute(f'REVOKE ALL ON subscriptions, dead_letters FROM "{ROLE}"')
    with pytest.raises(StoreUnavailable) as told:
        open_postgres(role_url, views=[TOTALS])
    grants = [each for each in str(told.value).split("; ") if each.startswith("GRANT ")]
    assert [each.split(" ON ")[0] for each in grants] == [
        f"GRANT {NEEDED['subscriptions']}",
        f"GRANT {NEEDED['dead_letters']}",
    ]
    for grant in grants:
        owner.execute(grant)
    open_postgres(role_url, views=[TOTALS]).advance("a", expected=None, position=1)


def test_a_role_that_may_write_nothing_is_read_only(open_postgres, owner, role_url):
    for table in NEEDED:
        owner.execute(f'REVOKE INSERT, UPDATE, DELETE ON {table} FROM "{ROLE}"')
    with pytest.raises(StoreReadOnly):
        open_postgres(role_url, views=[TOTALS])
    assert open_postgres(role_url, views=[TOTALS], read_only=True).head() == 1


def test_the_erasure_of_bodies_may_be_another_roles(open_postgres, role_url):
    store = open_postgres(role_url, views=[TOTALS])
    with pytest.raises(StoreReadOnly):
        store.erase_body("0")


def test_a_table_that_a_migration_will_make_is_no_grant_that_is_lacking(open_postgres, owner, namespace):
    owner.execute("DROP TABLE subscriptions; DROP TABLE dead_letters; DROP FUNCTION advance_checkpoint")
    owner.execute("DROP FUNCTION tell_waiters CASCADE; DELETE FROM migrations WHERE number >= 3")
    open_postgres().advance("a", expected=None, position=1)


# ---- tables that take the place of others


WITH_MORE = View("totals", (*TOTALS.columns, Column("kind", str)), ("id",))


@pytest.fixture
def reader(owner, namespace):
    """Make a role that may read one column of the view, and pass that on."""
    owner.execute("CREATE ROLE dashboard")
    owner.execute(f"GRANT USAGE ON SCHEMA {namespace} TO dashboard")
    owner.execute("GRANT SELECT (total) ON totals TO dashboard WITH GRANT OPTION")
    yield "dashboard"
    owner.execute("DROP OWNED BY dashboard; DROP ROLE dashboard")


def granted(owner):
    """Return what is granted on the view's table, and on its columns, to whom."""
    table = owner.execute(
        "SELECT relowner::regrole::text, relacl::text FROM pg_class WHERE oid = 'totals'::regclass"
    )
    columns = owner.execute(
        "SELECT attname::text, attacl::text FROM pg_attribute"
        " WHERE attrelid = 'totals'::regclass AND attacl IS NOT NULL ORDER BY attname"
    )
    return table.fetchone(), columns.fetchall()


def replaced_by_a_rebuild(open_postgres):
    open_postgres(views=[TOTALS]).rebuild(Given([TOTALS], [Upsert(TOTALS, ("t", 1))]))


def replaced_by_another_definition(open_postgres):
    open_postgres(views=[WITH_MORE])


@pytest.mark.parametrize("replaced", [replaced_by_a_rebuild, replaced_by_another_definition])
def test_the_grants_on_a_table_are_those_of_the_one_that_takes_its_place(
    open_postgres, owner, role_url, reader, replaced
):
    owner.execute("GRANT SELECT ON totals TO PUBLIC")
    before = granted(owner)
    replaced(open_postgres)
    assert granted(owner) == before
    owner.execute(f"SET ROLE {reader}")
    owner.execute("SELECT total FROM totals")
    owner.execute("RESET ROLE")


def test_a_role_goes_on_writing_after_another_one_has_rebuilt(open_postgres, role_url):
    store = open_postgres(role_url, views=[TOTALS])
    open_postgres(views=[TOTALS]).rebuild(Given([TOTALS], [Upsert(TOTALS, ("t", 1))]))
    store.append(ONE, changes=[Upsert(TOTALS, ("t", 1))])
    assert open_postgres(role_url, views=[TOTALS]).row(TOTALS, ("t",))["total"] == 2


def callers(owner):
    """Return who may call the functions that change the view's table."""
    return owner.execute(
        "SELECT DISTINCT proacl::text FROM pg_proc WHERE pronamespace = to_regnamespace(current_schema())"
        " AND proname ~ '^totals__(un)?set_'"
    ).fetchall()


def only_to(owner, *roles):
    for name in ("totals__set_", "totals__unset_"):
        for (function,) in owner.execute(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace(current_schema())"
            " AND starts_with(proname, %s)",
            (name,),
        ).fetchall():
            owner.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
            for role in roles:
                owner.execute(f'GRANT EXECUTE ON FUNCTION {function} TO "{role}"')


@pytest.mark.parametrize("replaced", [replaced_by_a_rebuild, replaced_by_another_definition])
@pytest.mark.parametrize("roles", [(), (ROLE,), (ROLE, "dashboard")])
def test_who_may_call_the_functions_of_a_table_may_call_those_of_the_one_that_takes_its_place(
    open_postgres, owner, role_url, reader, replaced, roles
):
    """A schema in which not everybody may."""
    only_to(owner, *roles)
    before = callers(owner)
    assert len(before) == 1
    replaced(open_postgres)
    assert callers(owner) == before


def test_the_functions_of_a_table_are_everybodys_to_call_where_nobody_has_changed_that(
    open_postgres, owner, namespace
):
    replaced_by_a_rebuild(open_postgres)
    assert callers(owner) == [(None,)]


def test_a_grant_on_a_column_that_is_no_more_goes_with_it(open_postgres, owner, reader):
    other = View("totals", (Column("id", str), Column("sum", int, sums=True)), ("id",))
    open_postgres(views=[other]).rebuild(Given([other], [Upsert(other, ("t", 1))]))
    assert granted(owner)[1] == []


def test_a_table_that_an_administrator_has_rebuilt_stays_its_owners(
    open_postgres, owner, role_url, namespace
):
    owner.execute(f'GRANT CREATE ON SCHEMA {namespace} TO "{ROLE}"; ALTER TABLE totals OWNER TO "{ROLE}"')
    for _ in range(2):
        open_postgres(views=[TOTALS]).rebuild(Given([TOTALS], [Upsert(TOTALS, ("t", 1))]))
        assert granted(owner)[0][0] == f'"{ROLE}"'
    owner.execute(f'ALTER TABLE views OWNER TO "{ROLE}"')
    own = open_postgres(role_url, views=[TOTALS])
    assert own.rebuild(Given([TOTALS], [Upsert(TOTALS, ("t", 1))])) == []


HANGING = {
    "the SQL view report": (
        "CREATE VIEW report AS SELECT sum(total) AS total FROM totals",
        "DROP VIEW report",
    ),
    "the SQL view kept": (
        "CREATE MATERIALIZED VIEW kept AS SELECT sum(total) AS total FROM totals",
        "DROP MATERIALIZED VIEW kept",
    ),
    "the foreign key notes_id_fkey of notes": (
        "CREATE TABLE notes (id text REFERENCES totals (id))",
        "DROP TABLE notes",
    ),
    "the policy mine, the row level security": (
        "CREATE POLICY mine ON totals USING (true); ALTER TABLE totals ENABLE ROW LEVEL SECURITY",
        "DROP POLICY mine ON totals; ALTER TABLE totals DISABLE ROW LEVEL SECURITY",
    ),
    "function counted\\(\\)": (
        "CREATE FUNCTION counted() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM totals; END",
        "DROP FUNCTION counted()",
    ),
    "table more": ("CREATE TABLE more () INHERITS (totals)", "DROP TABLE more"),
    "column seen of table copies": ("CREATE TABLE copies (seen totals)", "DROP TABLE copies"),
    "column seen of table lists": ("CREATE TABLE lists (seen totals[])", "DROP TABLE lists"),
    "the publication told": ("CREATE PUBLICATION told FOR TABLE totals", "DROP PUBLICATION told"),
}


@pytest.mark.parametrize("named", HANGING)
def test_a_table_that_something_of_others_hangs_on_is_not_replaced_and_that_is_named(
    open_postgres, owner, namespace, named
):
    made, dropped = HANGING[named]
    store = open_postgres(views=[TOTALS])
    store.append(ONE, changes=[Upsert(TOTALS, ("t", 1))])
    owner.execute(made)
    for replacing in (
        lambda: store.rebuild(Given([TOTALS], [Upsert(TOTALS, ("t", 1))])),
        lambda: open_postgres(views=[WITH_MORE]),
    ):
        with pytest.raises(StoreUnavailable, match=f"{named} hangs on the table totals"):
            replacing()
        assert store.row(TOTALS, ("t",))["total"] == 1
    owner.execute(dropped)
    assert store.rebuild(Given([TOTALS], [Upsert(TOTALS, ("t", 1))])) == []
