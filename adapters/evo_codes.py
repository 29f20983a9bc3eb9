"""The words of EVO Cloud and Evonet as tables: result families, numbers, statuses, and how they are looked up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ..engine.domain.evidence import Hold
from ..engine.domain.message import Channel
from ..engine.domain.signals import Signal
from ..engine.ports import AbsenceRule, AmountForm, Capabilities, Code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

RESULT: Final = "result.code"
INCOMING: Final = (Channel.API_RESPONSE, Channel.POLL, Channel.WEBHOOK)
RESULT_CODES: Final = "EVO Cloud, Result Code (read 2026-11-21)"
PAYMENT_OBJECT: Final = "EVO Cloud, API reference, payment object (read 2026-11-21)"

_DAY_S: Final = 86_400
_RESULT_CODE = re.compile(r"[A-Z][0-9]+", re.ASCII)


class Family(NamedTuple):
    """What the first letter of a result code says, and what it means for a refund request that got it."""

    letter: str
    says: str
    refused: Signal | None
    hold: Hold = Hold.NONE


def family_codes(families: Iterable[Family]) -> Iterator[Code]:
    """Return the rows of the families: on a query a non-S result only fails the query, never the refund."""
    for letter, says, refused, _ in families:
        accepted = refused is None
        yield Code(Channel.API_RESPONSE, RESULT, f"{letter}*", refused, RESULT_CODES, says)
        yield Code(
            Channel.POLL, RESULT, f"{letter}*", None if accepted else Signal.UNCERTAIN, RESULT_CODES, says
        )
        yield Code(
            Channel.WEBHOOK,
            RESULT,
            f"{letter}*",
            None,
            RESULT_CODES,
            says if accepted else f"{says}; beside a successful status a contradiction, so unrecognised",
        )


NUMBERED_CODES: Final = (
    Code(
        Channel.API_RESPONSE,
        RESULT,
        "C0004",
        Signal.REJECTED,
        RESULT_CODES,
        "the original merchantTransID not found",
    ),
    Code(
        Channel.API_RESPONSE,
        RESULT,
        "C0009",
        Signal.UNCERTAIN,
        RESULT_CODES,
        "duplicated merchantTransID: an earlier try got through, look it up",
    ),
    Code(
        Channel.POLL,
        RESULT,
        "C0004",
        Signal.NOT_FOUND,
        RESULT_CODES,
        "the refund's merchantTransID not found",
    ),
)
"""The numbers inside a family that are switched on; all others go by their letter."""

PAYMENT_STATUSES: Final = (
    "Verifying",
    "Verified",
    "Pending",
    "Authorised",
    "Cancelling",
    "Cancelled",
    "Capturing",
    "Captured",
    "Refunding",
    "Refunded",
    "Partial Refunded",
    "Failed",
)


def word_codes(
    field: str,
    words: Mapping[str, Signal | None],
    source: str,
    note: str = "",
    channels: Iterable[Channel] = INCOMING,
) -> Iterator[Code]:
    """Return the rows of a field that says the same in each of the channels."""
    for channel in channels:
        for word, signal in words.items():
            yield Code(channel, field, word, signal, source, note)


CAPABILITIES: Final = Capabilities(
    partial=True,
    several=True,
    lookup_by_own_reference=True,
    post_timeout_s=45,
    poll_interval_s=45,
    outcome_window_s=10 * _DAY_S,
    refund_window_days=365,
    key_retention_s=_DAY_S,
    absence=AbsenceRule(answers=2, apart_s=60),
    amounts=AmountForm.MAJOR_TEXT,
    acknowledgement=b"SUCCESS",
    webhook_retry_s=(),
)
"""What both dialects document; the outcome window of ten days is refold's choice, none is documented.

Sources: EVO Cloud, Refund (several partial refunds up to the captured amount, 365 days); EVO Cloud, Cancel or Refund
(45 s for a POST and between GETs); Evonet, API idempotency (keys are kept at least 24 h); all read 2026-11-21.
"""


class CodeTable:
    """The rows of a dialect by channel, field and value, with the families as the fallback of result codes."""

    def __init__(self, rows: Iterable[Code], families: Sequence[Family]) -> None:
        self.rows = tuple(rows)
        self._by_value = {(row.channel, row.field, row.value): row for row in self.rows}
        self._holds = {family.letter: family.hold for family in families}
        self._accepting = {family.letter for family in families if family.refused is None}

    def find(self, channel: Channel, field: str, value: object) -> Code | None:
        """Return the row of an exact value, else of its result family; None where the table has neither."""
        if not isinstance(value, str):
            return None
        exact = self._by_value.get((channel, field, value))
        if field != RESULT:
            return exact
        if not _RESULT_CODE.fullmatch(value):  # "S*" names a family in the table, it is no code
            return None
        return exact or self._by_value.get((channel, field, f"{value[0]}*"))

    def accepted(self, result_code: object) -> bool:
        """Tell whether a result code belongs to the family that accepts."""
        known = isinstance(result_code, str) and _RESULT_CODE.fullmatch(result_code)
        return bool(known) and str(result_code)[0] in self._accepting

    def hold(self, signal: Signal, result_code: str) -> Hold:
        """Return how long a rejection with that result code keeps the amount reserved."""
        return self._holds[result_code[0]] if signal is Signal.REJECTED else Hold.NONE
