"""What the command line needs of simulated gateways."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..domain.money import Money
    from .gateway import Gateway


class ServedSimulators(NamedTuple):
    """Simulators that are being served.

    Attributes:
        urls: the base URL of each gateway.
        settings: what points refold at them, as TOML. It holds keys.
        outcomes: word, last two digits of the amount, gateways, what happens.
        ledger_url: of the first gateway's ledger.
        gateways: adapters with the simulators' keys.
        capture: takes gateway, payment and amount: the payment exists, with that much captured.
        books: returns what the gateways' books say of every refund.
    """

    urls: Mapping[str, str]
    settings: str
    outcomes: Sequence[tuple[str, str, str, str]]
    ledger_url: str
    gateways: Sequence[Gateway]
    capture: Callable[[str, str, Money], None]
    books: Callable[[], Sequence[Booked]]


class Booked(NamedTuple):
    """What the books of a simulated gateway say of a refund.

    Attributes:
        state: `success` where the money is out, else `failed`, `closed` or `pending`.
        asked_minor, moved_minor: the refund's amount, and how much of the payment's money really went out for it.
        requests: how many refund requests reached the gateway.
        settled: nothing will happen to it any more.
    """

    gateway: str
    refund_id: str
    state: str
    asked_minor: int
    moved_minor: int
    requests: int
    settled: bool
