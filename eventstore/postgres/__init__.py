"""The PostgreSQL store: one log for many services, every append durable when it returns."""

from .store import PostgresStore

__all__ = ["PostgresStore"]
