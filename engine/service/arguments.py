"""Arguments: what callers pass to the facade, checked before anything is looked up or stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

from ..domain.attention import Attention
from ..domain.masking import shown
from ..domain.message import Channel, Message
from ..domain.money import Money
from ..domain.signals import State
from ..errors import InvalidInput, InvalidSetting
from ..ports.gateway import NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..ports import Gateway

Choice = TypeVar("Choice", State, Attention, Channel)

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9998
"""Years at the edge of the calendar overflow when a window is added to them."""
_MAX_LIMIT: Final = 2**63 - 1
_MAX_TIMEOUT_S: Final = 3600
_MAX_CONCURRENCY: Final = 256


def money(value: object) -> Money:
    """Return an amount. Raises `InvalidInput` for anything that is not `Money`."""
    if not isinstance(value, Money):
        raise InvalidInput(
            f"an amount must be Money, not {type(value).__name__}: Money.parse('10.00', 'HKD')"
        )
    return value


def member(kind: type[Choice], name: str, value: str) -> Choice:
    """Return the member of a closed set. Raises `InvalidInput`, which lists them."""
    try:
        return kind(value)
    except ValueError:
        raise InvalidInput(f"{name} {shown(value)} is unknown; use {', '.join(kind)}") from None


def limit(value: object) -> int | None:
    """Return how many to yield at most; None: all. Raises `InvalidInput` below 1."""
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise InvalidInput(f"limit {shown(value)} is not a whole number from 1")
    return min(value, _MAX_LIMIT)


def concurrency(value: object) -> int:
    """Return how many contacts at once. Raises `InvalidInput` outside 1 to 256."""
    if type(value) is not int or not 1 <= value <= _MAX_CONCURRENCY:
        raise InvalidInput(f"concurrency {shown(value)} is not a whole number from 1 to {_MAX_CONCURRENCY}")
    return value


def moment(name: str, value: object) -> datetime:
    """Return a time with an offset in a year a message can have. Raises `InvalidInput`."""
    if not isinstance(value, datetime):
        raise InvalidInput(f"{name} must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidInput(f"{name} {value.isoformat()} needs an offset, such as +00:00")
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise InvalidInput(f"{name} {value.isoformat()} is outside the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return value


def as_of(value: object) -> int | datetime | None:
    """Return a position or a moment; None: now. Raises `InvalidInput`."""
    if value is None or isinstance(value, datetime):
        return None if value is None else moment("as_of", value)
    if type(value) is not int or value < 0:
        raise InvalidInput(f"as_of {shown(value)} is neither a position of the log nor a datetime")
    return value


def http_status(value: object) -> int | None:
    """Return an HTTP status; None: unknown. Raises `InvalidInput`."""
    if value is None:
        return None
    if type(value) is int and 100 <= value <= 599:  # noqa: PLR2004 - the range HTTP defines
        return value
    raise InvalidInput(f"http_status {shown(value)} is no HTTP status")


def timeout(value: float) -> float:
    """Return a waiting time in seconds. Raises `InvalidSetting`."""
    if type(value) not in {int, float} or not 0 <= value <= _MAX_TIMEOUT_S:
        raise InvalidSetting("timeout_s", f"{shown(value)} is not a number of seconds up to {_MAX_TIMEOUT_S}")
    return value


def adapters(value: Sequence[Gateway]) -> dict[str, Gateway]:
    """Return adapters by their names. Raises `InvalidSetting`."""
    untrusted: Any = value
    try:
        found = {str(gateway.name): gateway for gateway in untrusted}
        usable = len(found) == len(untrusted) and all(callable(gateway.verify) for gateway in untrusted)
    except (TypeError, AttributeError):
        found, usable = {}, False
    if not usable:
        raise InvalidSetting("gateways", "a sequence of adapters is needed, one of each name")
    for name in found:
        if not NAME.fullmatch(name):
            raise InvalidSetting(
                "gateways", f"an adapter is called {name!r}; use lower-case letters, digits and underscores"
            )
    return found


def message(value: object) -> Message:
    """Return a message whose parts are what they should be. Raises `InvalidInput`."""
    if not isinstance(value, Message):
        raise InvalidInput(f"a Message is needed, not {type(value).__name__}")
    untrusted: Any = value
    if type(untrusted.body) is not bytes:
        raise InvalidInput(f"a message's body must be bytes, not {type(untrusted.body).__name__}")
    moment("received_at", untrusted.received_at)
    if not are_headers(untrusted.headers):
        raise InvalidInput("a message's headers must be a mapping of texts to texts")
    http_status(untrusted.http_status)
    for name, part in (("method", untrusted.method), ("target", untrusted.target)):
        if part is not None and not isinstance(part, str):
            raise InvalidInput(f"{name} must be a text, not {type(part).__name__}")
    return value


def are_headers(value: object) -> bool:
    """Tell whether something is a mapping of texts to texts."""
    if not isinstance(value, Mapping):
        return False
    kinds = {*map(type, value), *map(type, value.values())}
    return kinds <= _TEXT or all(issubclass(kind, str) for kind in kinds)


_TEXT: Final = frozenset({str})
