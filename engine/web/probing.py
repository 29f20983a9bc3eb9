"""Probing: whether the store can be used now, asked in a thread and answered within a time."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ..errors import CorruptLog, RefoldError, StoreBusy, StoreClosed, StoreFull, StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from ..ports import EventStore

_Answer = TypeVar("_Answer")

READY: Final = "ready"
_REASONS: Final[tuple[tuple[type[RefoldError], str], ...]] = (
    (StoreClosed, "store_closed"),
    (StoreBusy, "store_busy"),
    (StoreFull, "store_full"),
    (StoreReadOnly, "store_read_only"),
    (CorruptLog, "log_damaged"),
    (RefoldError, "store_unavailable"),
)
TOO_SLOW: Final = "store_too_slow"


class Probe(Generic[_Answer]):
    """A question that takes a while: asked once at a time, however many want to know."""

    def __init__(self, ask: Callable[[], _Answer], seconds: float) -> None:
        """Call `ask`, which never raises, and wait for it for so many seconds."""
        self._ask = ask
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="refold-probe")
        self._lock = threading.Lock()
        self._asked: Future[_Answer] | None = None

    async def answer(self) -> _Answer | None:
        """Return the answer; None where it does not come in time. Asking goes on then."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = self._pool.submit(self._ask)
            asked = self._asked
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(asyncio.wrap_future(asked))
        except TimeoutError:
            return None


def readiness(store: EventStore) -> str:
    """Return `ready`, or in one word why not."""
    try:
        store.head()
        stale = store.views_stale
    except RefoldError as error:
        return next(word for kind, word in _REASONS if isinstance(error, kind))
    except Exception:  # noqa: BLE001 - a store that raises anything else is not usable either
        return "store_unavailable"
    return "views_stale" if stale else READY
