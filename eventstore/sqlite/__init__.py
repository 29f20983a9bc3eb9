"""The SQLite store: one file, every append durable when it returns."""

from .store import SqliteStore

__all__ = ["SqliteStore"]
