"""The contract of an event store, as tests that any store can run.

A store's own test file is a class that says how to open it:

    from refold.engine.testing.store_contract import EventStoreContract

    class TestMyStore(EventStoreContract):
        def make_store(self, tmp_path, views):
            return MyStore(tmp_path / "log", views=views)

pytest collects the class; each test gets a new folder and a new store, and closes it at its end. Where a store lacks
something on purpose, the class says so by name (`durable = False`), and the tests of it are skipped with that reason.
For the values in failed assertions, write `pytest.register_assert_rewrite("refold.engine.testing")` into `conftest.py`
before the import. The module itself needs nothing but refold.
"""

from __future__ import annotations

from .store_appending import Appending, Bodies, Keys
from .store_leases import Leases
from .store_reading import Reading
from .store_rebuilds import Rebuilding
from .store_sharing import Batches, Sharing
from .store_subscribing import Checkpoints, DeadLetters, Subscriptions, Waiting
from .store_versions import VersionsOfViews
from .store_views import Views

__all__ = ["EventStoreContract"]


class EventStoreContract(
    Appending,
    Keys,
    Bodies,
    Reading,
    Views,
    Rebuilding,
    VersionsOfViews,
    Leases,
    Checkpoints,
    DeadLetters,
    Waiting,
    Subscriptions,
    Batches,
    Sharing,
):
    """All that `refold.engine.ports.EventStore` promises; override `make_store`, and the capabilities that lack.

    Attributes:
        durable: the store holds everything when it is closed and opened again.
        concurrent_threads: several threads may use one store at the same time.
    """
