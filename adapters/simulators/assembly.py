"""Simulators and adapters made in pairs: each adapter has the keys of its simulator."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ...engine.errors import InvalidSetting
from ..bbmsl import Bbmsl
from ..bbmsl_signing import MerchantKey
from ..easylink import Easylink
from ..evocloud import Evocloud
from ..evonet import Evonet
from ..signing import SigningKey
from .bbmsl import BbmslSimulator
from .easylink import EasylinkSimulator
from .evocloud import EvocloudSimulator
from .evonet import EvonetSimulator
from .faults import Faults, derived, derived_digits
from .pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from ...engine.ports import Gateway
    from .simulator import Simulator

NAMES: Final = ("evocloud", "evonet", "bbmsl", "easylink")
KEY_ID: Final = "simulated"
ANY_PAYMENT_MINOR: Final = 1_000_000


class Simulators:
    """The simulators by name, and the adapters that talk to them.

    Attributes:
        gateways: an adapter for each simulator, in the same order.
        credentials: what each gateway has given its merchant, by name: the arguments of the adapter. Secret.
        pace: the clock and the speed.
    """

    def __init__(
        self, members: Iterable[Simulator], credentials: Mapping[str, Mapping[str, str]], pace: Pace
    ) -> None:
        self._members = {member.name: member for member in members}
        self.credentials = credentials
        self.pace = pace

    @property
    def gateways(self) -> tuple[Gateway, ...]:
        """An adapter for each simulator, with its keys."""
        return tuple(member.gateway for member in self._members.values())

    def __getitem__(self, name: str) -> Simulator:
        """Return the simulator of a gateway.

        Raises:
            InvalidSetting: there is none of that name.
        """
        if name not in self._members:
            raise InvalidSetting("gateway", f"{name!r} is not simulated here; {', '.join(self._members)} are")
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"Simulators({', '.join(self._members)})"


def simulators(
    names: Iterable[str] = NAMES,
    *,
    clock: Callable[[], datetime],
    seed: str = "refold",
    faults: Faults | None = None,
    speed: int = 60,
    any_payment_minor: int | None = ANY_PAYMENT_MINOR,
    allow_any_webhook_host: bool = False,
    hurried: bool = False,
) -> Simulators:
    """Return one simulator for each gateway, and our adapters with the same keys.

    Args:
        names: which gateways.
        clock: returns the present time with an offset; the simulators read no other.
        seed: what keys, numbers and nonces are derived from; bbmsl's RSA key alone is made once for each process.
        faults: what goes wrong; None: nothing.
        speed: simulated seconds that pass in one second of the clock.
        any_payment_minor: an unknown payment counts as captured with this amount, in minor units of the refund's
            currency; None: it is answered as not found.
        allow_any_webhook_host: send webhooks to any host; by default to this machine only.
        hurried: the adapters' time-outs, intervals and schedules are divided by `speed` too.

    Raises:
        InvalidSetting: an unknown name, a speed that cannot be used, or `cryptography` is missing.
    """
    wanted = tuple(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in NAMES]
    if unknown or not wanted:
        raise InvalidSetting("gateway", f"{', '.join(unknown) or 'none'} given; choose of {', '.join(NAMES)}")
    pace = Pace(clock, speed)
    settings: dict[str, Any] = {
        "pace": pace,
        "seed": seed,
        "faults": Faults.none() if faults is None else faults,
        "any_payment_minor": any_payment_minor,
        "any_host": allow_any_webhook_host,
    }
    credentials = {name: _credentials(name, seed) for name in wanted}
    members = [_MAKERS[name](credentials[name], settings) for name in wanted]
    if hurried:
        for member in members:
            member.gateway.capabilities = member.gateway.capabilities.hurried(speed)  # type: ignore[misc]
    return Simulators(members, credentials, pace)


# ---- what a gateway gives its merchant ------------------------------------------------------------------------


def _credentials(name: str, seed: str) -> dict[str, str]:
    secret = derived(seed, "key", name)[:32]
    number = derived_digits(10, seed, "account", name)
    return {
        "evocloud": {"secret": secret, "sid": f"S{number[:6]}"},
        "evonet": {"secret": secret},
        "bbmsl": {"private_key": _rsa_pem() if name == "bbmsl" else "", "merchant_id": number[:7]},
        "easylink": {"secret": secret, "mch_no": f"M{number}", "app_id": derived(seed, "app", name)[:24]},
    }[name]


@cache
def _rsa_pem() -> str:
    """Return an RSA key, made once for each process: making one takes a while."""
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            Encoding,
            NoEncryption,
            PrivateFormat,
        )
    except ImportError:
        raise InvalidSetting("bbmsl", "RSA needs `pip install 'refold[simulators]'`") from None
    key = generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def _merchant_key(pem: str) -> MerchantKey:
    """Return a key; reading one takes longer than anything else here."""
    return MerchantKey(pem)


def _evocloud(given: Mapping[str, str], settings: Mapping[str, Any]) -> Simulator:
    key = SigningKey(KEY_ID, given["secret"])
    return EvocloudSimulator(Evocloud(sid=given["sid"], keys=[key]), key=key, sid=given["sid"], **settings)


def _evonet(given: Mapping[str, str], settings: Mapping[str, Any]) -> Simulator:
    key = SigningKey(KEY_ID, given["secret"])
    return EvonetSimulator(Evonet(keys=[key]), key=key, **settings)


def _bbmsl(given: Mapping[str, str], settings: Mapping[str, Any]) -> Simulator:
    pem, merchant_id = given["private_key"], given["merchant_id"]
    adapter = Bbmsl(merchant_id=merchant_id, private_key_pem=pem)
    return BbmslSimulator(adapter, key=_merchant_key(pem), merchant_id=merchant_id, **settings)


def _easylink(given: Mapping[str, str], settings: Mapping[str, Any]) -> Simulator:
    key = SigningKey(KEY_ID, given["secret"])
    mch_no, app_id = given["mch_no"], given["app_id"]
    adapter = Easylink(mch_no=mch_no, app_id=app_id, keys=[key])
    return EasylinkSimulator(adapter, key=key, mch_no=mch_no, app_id=app_id, **settings)


_MAKERS: Final = {"evocloud": _evocloud, "evonet": _evonet, "bbmsl": _bbmsl, "easylink": _easylink}
