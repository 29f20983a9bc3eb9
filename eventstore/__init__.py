"""Event stores: memory (the readable reference) and SQLite behind one contract, `refold.engine.ports.EventStore`."""

from .memory import MemoryStore
from .sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore"]
