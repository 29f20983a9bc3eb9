"""Noticing: what is said of an error that was not meant to happen, and telling the hook of moves that are durable."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..domain.signals import State

    MoveHook = Callable[[str, State, State], None]
    """Called with refund id, state before and state after."""


def named(error: BaseException) -> dict[str, str]:
    """Return an unexpected error as log fields: its class and where it was raised.

    Neither its text nor its frames: both may hold a key or a card number.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2] if trace is not None else "unknown"
    return {"error": type(error).__name__, "where": f"{file}:{trace.tb_lineno if trace is not None else 0}"}


class Moves:
    """Tells the hook of each change of state, once it is durable."""

    def __init__(self, hook: MoveHook | None) -> None:
        """Tell `hook`; None: nobody asked."""
        self._hook = hook
        self._local = threading.local()
        self._log = structlog.wrap_logger(logging.getLogger("refold"))

    def tell(self, refund_id: str, before: State, after: State) -> None:
        """Tell of one move: now, or when the batch of this thread is durable."""
        if self._hook is None or before is after:
            return
        told = partial(self._call, self._hook, refund_id, before, after)
        held: list[Callable[[], None]] | None = getattr(self._local, "held", None)
        if held is not None:
            held.append(told)
        else:
            told()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold what this thread tells back until the block ends; an error in the block forgets it."""
        held: list[Callable[[], None]] = []
        self._local.held = held
        try:
            yield
        finally:
            self._local.held = None
        for told in held:
            told()

    def _call(self, hook: MoveHook, refund_id: str, before: State, after: State) -> None:
        try:
            hook(refund_id, before, after)
        except Exception as error:  # noqa: BLE001 - whatever the hook raises, the move is durable and stays so
            self._log.error("hook.failed", refund_id=refund_id, **named(error))
