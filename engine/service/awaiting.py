"""The asynchronous calls: each runs the synchronous one in a thread of the engine's own, and blocks no event loop.

There is one core. What is awaited is the same call, with the same arguments, results and errors, and concurrent ones
share durable commits as those of threads do.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import TYPE_CHECKING, Final, ParamSpec, Self, TypeVar, cast

from ..errors import StoreClosed
from ..ports.process import Process

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from datetime import datetime
    from types import TracebackType

    from ..audit.history import HistoryEntry
    from ..audit.projecting import Rebuilt
    from ..audit.replay import ReplayReport
    from ..domain.attention import Attention
    from ..domain.message import Channel, Message
    from ..domain.money import Money
    from ..domain.signals import State
    from ..ports import Progress, Row
    from ..ports.backup import Backup, OnProgress
    from .facade import RefundEngine
    from .importing import IngestReport
    from .recording import Receipt
    from .views import PaymentView, RefundView
    from .webhooks import WebhookReply

_P = ParamSpec("_P")
_T = TypeVar("_T")

THREADS: Final = 48
"""Calls at once. They mostly wait for the disk, and the more wait together, the more share its next commit."""
_PAGE: Final = 256
"""Rows that an asynchronous iteration reads ahead."""


class Threads:
    """The threads in which an engine's asynchronous calls run; made when the first one comes."""

    def __init__(self) -> None:
        """Start none yet."""
        self._process = Process()
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    async def run(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a call in a thread, with the context of the task that awaits it.

        Cancelling the task drops a call that has not begun, and lets one that has begun come to its end.

        Raises:
            StoreClosed: after `close`.
            WrongProcess: in a forked child, which has none of these threads.
        """
        context = copy_context()

        def begun() -> _T:
            if self._closed:
                raise StoreClosed
            return context.run(call, *args, **kwargs)

        return await asyncio.wrap_future(self._submitted(begun))

    def _submitted(self, call: Callable[[], _T]) -> Future[_T]:
        self._process.check()
        with self._lock:
            if self._closed:
                raise StoreClosed
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, "refold-await")
            return self._pool.submit(call)

    def close(self) -> None:
        """Wait for the calls that have begun; those that have not raise `StoreClosed`. In a forked child do nothing."""
        if not self._process.is_here():
            return
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


def _page(rows: Iterator[_T]) -> tuple[list[_T], Exception | None]:
    """Return the next rows, and the error that came behind them: what came before it is told all the same."""
    page: list[_T] = []
    try:
        page.extend(islice(rows, _PAGE))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised in its place
        return page, error
    return page, None


class Awaiting:
    """What can be awaited of an engine: the call without the `a` says what it does, takes, returns and raises.

    Cancelling a task drops a call that has not begun. One that has begun comes to its end, and whether it did what it
    was asked is decided as after a crash: the same call again, with the same ids, changes nothing that is done.
    """

    _threads: Threads

    @property
    def _now(self) -> RefundEngine:
        """The engine, for its synchronous calls."""
        return cast("RefundEngine", self)  # only the facade inherits from this class

    async def aclose(self) -> None:
        """Close the engine; see `close`. Calls that have begun are waited for, the others raise `StoreClosed`."""
        await asyncio.to_thread(self._now.close)

    async def __aenter__(self) -> Self:
        """Return the engine."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the engine."""
        await self.aclose()

    # ---- asking for refunds

    async def aregister_payment(self, *, gateway: str, payment_id: str, captured: Money) -> PaymentView:
        """Await `register_payment`."""
        return await self._threads.run(
            self._now.register_payment, gateway=gateway, payment_id=payment_id, captured=captured
        )

    async def arequest(
        self,
        *,
        gateway: str,
        payment_id: str,
        refund_id: str,
        amount: Money,
        reason: str = "",
        requested_by: str | None = None,
    ) -> RefundView:
        """Await `request`."""
        return await self._threads.run(
            self._now.request,
            gateway=gateway,
            payment_id=payment_id,
            refund_id=refund_id,
            amount=amount,
            reason=reason,
            requested_by=requested_by,
        )

    # ---- talking to gateways

    async def asubmit(self, refund_id: str) -> RefundView:
        """Await `submit`."""
        return await self._threads.run(self._now.submit, refund_id)

    async def apoll(self, refund_id: str) -> RefundView:
        """Await `poll`."""
        return await self._threads.run(self._now.poll, refund_id)

    # ---- messages

    async def arecord(
        self,
        gateway: str,
        channel: Channel | str,
        message: Message,
        *,
        refund_id: str | None = None,
        payment_id: str | None = None,
    ) -> Receipt:
        """Await `record`."""
        return await self._threads.run(
            self._now.record, gateway, channel, message, refund_id=refund_id, payment_id=payment_id
        )

    async def areceive_webhook(self, gateway: str, headers: Mapping[str, str], body: bytes) -> WebhookReply:
        """Await `receive_webhook`; unlike that one it raises `StoreClosed` and `WrongProcess`."""
        return await self._threads.run(self._now.receive_webhook, gateway, headers, body)

    async def aingest(
        self,
        lines: Iterable[bytes],
        *,
        on_problem: Callable[[int, str], None],
        on_progress: Callable[[int], None] | None = None,
    ) -> IngestReport:
        """Await `ingest`; the lines are read, and the two are called, in the thread that imports."""
        return await self._threads.run(
            self._now.ingest, lines, on_problem=on_problem, on_progress=on_progress
        )

    # ---- people

    async def aresolve(self, refund_id: str, outcome: State | str, *, actor: str, reason: str) -> RefundView:
        """Await `resolve`."""
        return await self._threads.run(self._now.resolve, refund_id, outcome, actor=actor, reason=reason)

    async def amark_overdue(self) -> list[str]:
        """Await `mark_overdue`."""
        return await self._threads.run(self._now.mark_overdue)

    # ---- queries

    async def arefund(self, refund_id: str, as_of: int | datetime | None = None) -> RefundView:
        """Await `refund`."""
        return await self._threads.run(self._now.refund, refund_id, as_of)

    async def ahistory(self, refund_id: str) -> list[HistoryEntry]:
        """Await `history`."""
        return await self._threads.run(self._now.history, refund_id)

    async def apayment(self, gateway: str, payment_id: str) -> PaymentView:
        """Await `payment`."""
        return await self._threads.run(self._now.payment, gateway, payment_id)

    def afind(
        self,
        *,
        state: State | str | None = None,
        gateway: str | None = None,
        payment_id: str | None = None,
        attention: Attention | str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[RefundView]:
        """Iterate over `find`; what that raises at once is raised by the first step."""
        return self._each(
            self._now.find,
            state=state,
            gateway=gateway,
            payment_id=payment_id,
            attention=attention,
            limit=limit,
        )

    def aneeding_attention(self) -> AsyncIterator[RefundView]:
        """Iterate over `needing_attention`."""
        return self._each(self._now.needing_attention)

    def apayments(self, *, over_refunded: bool = False) -> AsyncIterator[PaymentView]:
        """Iterate over `payments`."""
        return self._each(self._now.payments, over_refunded=over_refunded)

    def ainbox(self) -> AsyncIterator[Row]:
        """Iterate over `inbox`."""
        return self._each(self._now.inbox)

    async def asubscriptions(self) -> list[Progress]:
        """Await `subscriptions`."""
        return await self._threads.run(self._now.subscriptions)

    async def _each(
        self, call: Callable[_P, Iterator[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> AsyncIterator[_T]:
        rows = await self._threads.run(call, *args, **kwargs)
        while True:
            page, error = await self._threads.run(_page, rows)
            for row in page:
                yield row
            if error is not None:
                raise error
            if not page:
                return

    # ---- audit

    async def arebuild(self) -> Rebuilt:
        """Await `rebuild`."""
        return await self._threads.run(self._now.rebuild)

    async def areplay(self) -> ReplayReport:
        """Await `replay`."""
        return await self._threads.run(self._now.replay)

    async def abackup(
        self, target: str | os.PathLike[str], *, on_progress: OnProgress | None = None
    ) -> Backup:
        """Await `backup`; `on_progress` is called in the thread that copies."""
        return await self._threads.run(self._now.backup, target, on_progress=on_progress)
