"""Both stores keep the contract."""

from refold.engine.testing.store_contract import EventStoreContract
from refold.eventstore import MemoryStore, SqliteStore


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
