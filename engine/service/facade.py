"""The facade: everything a payment service calls."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Self

from ..audit import history as timelines
from ..audit.replay import replay
from ..domain.attention import Attention
from ..domain.events import RefundRequested
from ..domain.identifiers import identifier
from ..domain.message import Channel
from ..domain.signals import State
from ..errors import InvalidInput, InvalidSetting, UnknownGateway
from . import arguments, finding
from .deciding import Decider
from .durability import note_durability
from .importing import Importer
from .keeping import Keeper
from .noticing import Moves
from .observing import ObservedStore
from .recording import Recorder
from .requesting import Requester
from .views import refund_view
from .webhooks import WebhookReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from ..audit.history import HistoryEntry
    from ..audit.replay import ReplayReport
    from ..domain.message import Message
    from ..domain.money import Money
    from ..ports import Clock, Entropy, EventStore, Gateway, Row
    from .importing import IngestReport, LogLine
    from .noticing import MoveHook
    from .observing import AppendHook
    from .recording import Receipt
    from .views import PaymentView, RefundView
    from .webhooks import WebhookReply


class RefundEngine(AbstractContextManager["RefundEngine"]):
    """A refund engine on one store; safe to share between threads. Use it as a context manager, or close it."""

    def __init__(
        self,
        store: EventStore,
        gateways: Sequence[Gateway],
        *,
        clock: Clock,
        entropy: Entropy,
        on_move: MoveHook | None = None,
    ) -> None:
        """Join a store and gateways; most callers use `open`.

        Args:
            store: where everything is kept.
            gateways: the adapters, each with its keys.
            clock: the only source of the time.
            entropy: the only source of random bytes.
            on_move: called with refund id, state before and state after, once a change of state is durable; what
                it raises is logged and undoes nothing.
        """
        self.store = store
        self.gateways: Mapping[str, Gateway] = arguments.adapters(gateways)
        secrets = [secret for gateway in self.gateways.values() for secret in gateway.secrets]
        keeper = self._keeper = Keeper(secrets, entropy)
        moves = Moves(on_move)
        self._recorder = Recorder(store, keeper, clock, moves)
        self._requester = Requester(store, keeper, clock, self._recorder)
        self._decider = Decider(store, keeper, clock, self._recorder)
        self._webhooks = WebhookReceiver(self._recorder, keeper, clock)
        self._importer = Importer(store, self._record_line, keeper, moves)
        if store.views_stale:
            self.replay()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        gateways: Sequence[Gateway] | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        durability: Literal["full", "relaxed"] = "full",
        timeout_s: float = 5.0,
        create: bool = True,
        read_only: bool = False,
        on_move: MoveHook | None = None,
        on_append: AppendHook | None = None,
    ) -> Self:
        """Open the store at `url` and an engine on it.

        Args:
            url: `memory:` or `sqlite:///PATH` (four slashes for an absolute path).
            gateways: adapters with their keys; by default all of them without keys (reading only, unverified).
            clock: returns the present time with an offset; by default the system's.
            entropy: returns that many random bytes; by default the system's.
            durability: "relaxed" does not wait for the disk at each commit; a power cut then loses events.
            timeout_s: how long to wait for another writer.
            create: whether a missing store is created.
            read_only: refuse every write.
            on_move: called with refund id, state before and state after, once a change of state is durable.
            on_append: called with each append once it is durable, such as `web.Metrics.appended`.

        Raises:
            InvalidSetting: the URL is not understood.
            StoreError: the store cannot be opened.
        """
        if not isinstance(url, str):
            raise InvalidSetting("store URL", f"a text is needed, not {type(url).__name__}")
        from .. import composition  # noqa: PLC0415 - the composition root knows this module

        store = composition.open_store(
            url,
            durability=durability,
            timeout_s=arguments.timeout(timeout_s),
            read_only=read_only,
            create=create,
        )
        if on_append is not None:
            store = ObservedStore(store, on_append, composition.system_stopwatch)
        try:
            engine = cls(
                store,
                composition.all_gateways() if gateways is None else gateways,
                clock=clock or composition.system_clock,
                entropy=entropy or composition.system_entropy,
                on_move=on_move,
            )
            if not read_only:
                note_durability(store, durability, clock or composition.system_clock)
            return engine
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()

    # ---- asking for refunds

    def register_payment(self, *, gateway: str, payment_id: str, captured: Money) -> PaymentView:
        """Register what was captured of a payment, which enables the over-refund guard; the same again is fine.

        Raises:
            PaymentConflict: it is registered with another amount or currency.
        """
        self._requester.register_payment(
            self._gateway(gateway), identifier("payment_id", payment_id), arguments.money(captured)
        )
        return self.payment(gateway, payment_id)

    def request(
        self,
        *,
        gateway: str,
        payment_id: str,
        refund_id: str,
        amount: Money,
        reason: str = "",
        requested_by: str | None = None,
    ) -> RefundView:
        """Ask for a refund: it is in the log when this returns, and nothing was sent yet.

        Idempotent by `refund_id`: the same again changes nothing and returns the refund as it is.

        Args:
            gateway: the adapter's name.
            payment_id: the original transaction.
            refund_id: the merchant's own refund number, 1 to 128 printable ASCII characters.
            amount: how much to give back.
            reason: at most 500 characters.
            requested_by: who asked; that person may not decide the refund's outcome later.

        Raises:
            RefundConflict: the refund id exists with other content.
            OverRefund: more than the registered payment has left.
            InvalidInput: an argument is wrong.
        """
        adapter = self._gateway(gateway)
        money = arguments.money(amount)
        asked = RefundRequested(
            gateway=gateway,
            refund_id=identifier("refund_id", refund_id),
            payment_id=identifier("payment_id", payment_id),
            amount_minor=money.minor,
            currency=money.currency,
            requested_by=None if requested_by is None else identifier("requested_by", requested_by),
            reason=self._keeper.note("reason", reason) or None,
        )
        self._requester.request(adapter, asked)
        return self.refund(refund_id)

    # ---- messages

    def record(
        self,
        gateway: str,
        channel: Channel | str,
        message: Message,
        *,
        refund_id: str | None = None,
        payment_id: str | None = None,
    ) -> Receipt:
        """Record a message you already have; recording it again changes nothing.

        Its signature is checked where the gateway's key is configured and a signature is present; otherwise the
        evidence is marked unverified.

        Args:
            gateway: the adapter's name.
            channel: `request`, `api_response`, `poll`, `webhook` or `report`.
            message: its exact bytes, headers and time.
            refund_id: our refund number, where the body does not carry it.
            payment_id: the payment, likewise.

        Raises:
            InvalidSignature: a present signature does not verify; nothing was stored.
            UnreadableMessage: it cannot be read, or names no refund; nothing was stored.
            RefundConflict: a request for a refund id that exists with other content.
        """
        adapter = self._gateway(gateway)
        way = arguments.member(Channel, "channel", channel)
        given = arguments.message(message)
        named = None if refund_id is None else identifier("refund_id", refund_id)
        paid = None if payment_id is None else identifier("payment_id", payment_id)
        verification = self._recorder.verify(adapter, way, given)
        if way is Channel.REQUEST:
            return self._requester.record_request(
                adapter, given, verification, refund_id=named, payment_id=paid
            )
        return self._recorder.record(adapter, way, given, verification, refund_id=named, payment_id=paid)

    def receive_webhook(self, gateway: str, headers: Mapping[str, str], body: bytes) -> WebhookReply:
        """Check, read and record a webhook, and say what to answer the gateway. Never raises.

        The reply is a 2xx only once the message is durable. Anyone can call a webhook's URL: without a configured
        key and a valid signature nothing is stored.
        """
        known = self.gateways.get(gateway) if isinstance(gateway, str) else None
        return self._webhooks.receive(known, headers, body)

    def ingest(
        self,
        lines: Iterable[bytes],
        *,
        on_problem: Callable[[int, str], None],
        on_progress: Callable[[int], None] | None = None,
    ) -> IngestReport:
        """Import a message log (docs/message-log.md); importing it again changes nothing.

        Args:
            lines: the raw lines, as a file opened in binary mode yields them.
            on_problem: called with the number and the reason of each line that cannot be used.
            on_progress: called with the number of bytes that became durable.

        Raises:
            InvalidInput: something that does not yield lines of bytes.
            StoreError: the store failed; the batches before are durable, importing again continues.
        """
        if not callable(on_problem) or not (on_progress is None or callable(on_progress)):
            raise InvalidInput("on_problem and on_progress must be callable")
        return self._importer.ingest(lines, on_problem=on_problem, on_progress=on_progress)

    def _record_line(self, line: LogLine) -> Receipt:
        return self.record(
            line.gateway, line.channel, line.message, refund_id=line.refund_id, payment_id=line.payment_id
        )

    # ---- people

    def resolve(self, refund_id: str, outcome: State | str, *, actor: str, reason: str) -> RefundView:
        """Record a person's decision; it stands above all evidence until a person changes it.

        Args:
            refund_id: which refund.
            outcome: `success`, `failed` or `closed`.
            actor: who decided; not the person who asked for the refund.
            reason: why, at most 500 characters.

        Raises:
            RefundNotFound, InvalidInput, SelfApproval: as they say.
        """
        decided = arguments.member(State, "outcome", outcome)
        self._decider.resolve(identifier("refund_id", refund_id), decided, actor, reason)
        return self.refund(refund_id)

    def mark_overdue(self) -> list[str]:
        """Raise `overdue` for each refund without an outcome within its gateway's window; return their ids."""
        return self._decider.mark_overdue(self.gateways)

    # ---- reading

    def refund(self, refund_id: str, as_of: int | datetime | None = None) -> RefundView:
        """Return a refund folded from the log: now, as of a position, or as of a moment.

        Raises:
            RefundNotFound: it is not in the log, or was not then.
        """
        then = arguments.as_of(as_of)
        return refund_view(timelines.refund_as_of(self.store, identifier("refund_id", refund_id), then))

    def history(self, refund_id: str) -> list[HistoryEntry]:
        """Return a refund's timeline: each event, and the state and attention after it.

        Raises:
            RefundNotFound: it is not in the log.
        """
        return list(timelines.history(self.store, identifier("refund_id", refund_id)))

    def find(
        self,
        *,
        state: State | str | None = None,
        gateway: str | None = None,
        payment_id: str | None = None,
        attention: Attention | str | None = None,
        limit: int | None = None,
    ) -> Iterator[RefundView]:
        """Yield refunds in the order in which they were asked for; those that match all given criteria.

        Raises:
            InvalidInput: an unknown state or attention, or a limit below 1.
        """
        where: dict[str, str] = {}
        if state is not None:
            where["state"] = str(arguments.member(State, "state", state))
        if gateway is not None:
            where["gateway"] = identifier("gateway", gateway)
        if payment_id is not None:
            where["payment_id"] = identifier("payment_id", payment_id)
        most = arguments.limit(limit)
        if attention is None:
            return finding.find(self.store, where, most)
        kind = arguments.member(Attention, "attention", attention)
        return finding.find_in_attention(self.store, kind, where, most)

    def needing_attention(self) -> Iterator[RefundView]:
        """Yield every refund a person should look at, once each, in the order of the refund ids."""
        return finding.needing_attention(self.store)

    def payment(self, gateway: str, payment_id: str) -> PaymentView:
        """Return a payment with what its refunds take. Raises `PaymentNotFound`."""
        return finding.payment(
            self.store, identifier("gateway", gateway), identifier("payment_id", payment_id)
        )

    def payments(self, *, over_refunded: bool = False) -> Iterator[PaymentView]:
        """Yield payments; with `over_refunded` only those whose refunds add up to more than was captured."""
        return finding.payments(self.store, over_refunded=over_refunded)

    def inbox(self) -> Iterator[Row]:
        """Yield the messages that are not part of a refund: `orphaned` and `quarantined`."""
        return finding.inbox(self.store)

    # ---- audit

    def replay(self) -> ReplayReport:
        """Rebuild all views from the log, compare them with the live ones, swap, and report every difference.

        It has no gateway, so it can never call one.
        """
        return replay(self.store)

    def _gateway(self, name: str) -> Gateway:
        found = self.gateways.get(name) if isinstance(name, str) else None
        if found is None:
            raise UnknownGateway(name, sorted(self.gateways))
        return found
