"""All stores keep the contract."""

import pytest

from refold.engine.testing.store_contract import EventStoreContract
from refold.eventstore import MemoryStore, SqliteStore
from refold.eventstore.postgres import PostgresStore


class TestMemoryStore(EventStoreContract):
    durable = False

    def make_store(self, tmp_path, views):
        return MemoryStore()


class TestSqliteStore(EventStoreContract):
    def make_store(self, tmp_path, views):
        return SqliteStore(tmp_path / "log.db", views=views)


class TestRelaxedSqliteStore(EventStoreContract):
    def make_store(self, tmp_path, views):
        return SqliteStore(tmp_path / "log.db", views=views, durability="relaxed")


class TestPostgresStore(EventStoreContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls, postgres_server):
        cls.postgres_server = postgres_server

    def make_store(self, tmp_path, views):
        return PostgresStore(self.postgres_server.schema(tmp_path.name), views=views)


class TestStoreForOneThread(EventStoreContract):
    """What a store lacks on purpose is skipped, visibly, and the rest is tested."""

    durable = False
    concurrent_threads = False

    def make_store(self, tmp_path, views):
        return MemoryStore()


def test_a_contract_class_must_say_how_its_store_is_made():
    with pytest.raises(NotImplementedError):
        EventStoreContract().make_store("a folder", ())
