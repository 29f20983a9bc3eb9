"""The read connections of a store: a pool, each lent for one statement or one cursor."""

from __future__ import annotations

import select
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from psycopg_pool import ConnectionPool, PoolTimeout

from ...engine.errors import StoreClosed
from .connection import open_reader, prepare_reader, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .address import Address
    from .connection import Connection

_MOST: Final = 16
"""Connections at once; who needs one more waits until one is given back."""
_IDLE_S: Final = 300


class Readers:
    """Lends connections that can only read."""

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        """Open none yet.

        Args:
            address: the server.
            timeout_s: how long a read may wait for a connection or a lock.
        """
        self._address = address
        self._timeout_s = timeout_s
        self._closed = False
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            address.conninfo,
            kwargs={"autocommit": True},
            min_size=0,
            max_size=_MOST,
            max_idle=_IDLE_S,
            timeout=timeout_s,
            reconnect_timeout=timeout_s,  # it pauses between tries, and twice as long each time: nobody waits so long
            num_workers=1,
            configure=partial(prepare_reader, timeout_s=timeout_s),
            check=check_alive,
            name="refold",
            open=True,
        )

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """Lend a connection to the block and turn psycopg's errors into ours."""
        self.check_open()
        with translated(self._address, self._timeout_s):
            connection = self._borrowed()
            try:
                yield connection
            finally:
                self._pool.putconn(connection)

    def _borrowed(self) -> Connection:
        try:
            return self._pool.getconn()
        except PoolTimeout:
            # Either all are lent, or the server cannot be reached, and then this says so.
            open_reader(self._address, timeout_s=self._timeout_s).close()
            raise

    def check_open(self) -> None:
        """Raise `StoreClosed` after `close`."""
        if self._closed:
            raise StoreClosed

    def close(self) -> None:
        """Close what is idle now, and the rest as it comes back."""
        self._closed = True
        self._pool.close()


def check_alive(connection: Connection) -> None:
    """Ask the server only where something lies unread on the connection, as it does when the server ended it.

    Raises:
        psycopg.OperationalError: the connection is lost.
    """
    arrived = select.poll()
    arrived.register(connection.fileno(), select.POLLIN)
    if arrived.poll(0):
        connection.execute("")
