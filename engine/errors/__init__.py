r"""Every error refold raises on purpose, as one tree split by what the caller can do.

RefoldError
├── InvalidInput                 the call or the message is wrong: correct it and call again
│   ├── InvalidAmount            not an amount of money in minor units, or too precise for its currency
│   ├── InvalidIdentifier        an id outside ^[\x21-\x7e]{1,128}$
│   ├── InvalidText              a note or reason that cannot be kept
│   ├── InvalidSetting           a URL, key or option that cannot be used
│   ├── UnknownGateway           no adapter of that name is configured
│   ├── UnreadableMessage        the bytes are not what the gateway documents
│   └── UnusableLine             one line of a message log; carries its number
├── NotFound                     what was named is not in the log
│   ├── RefundNotFound
│   ├── PaymentNotFound
│   └── MessageNotFound          the body was erased or never kept
├── Refused                      well-formed, and the answer is no: nothing was stored
│   ├── RefundConflict           the refund id exists with other content
│   ├── PaymentConflict          the payment is registered with other content
│   ├── OverRefund               more than the payment has left
│   ├── SelfApproval             the person who asked for a refund may not decide it
│   ├── TooSoon                  the gateway may not be contacted about the refund yet; it says when
│   ├── ResendRefused            it may have been sent already, and sending it again is not safe
│   ├── VersionConflict          another writer was first: read again and decide again
│   ├── CheckpointConflict       another consumer of the subscription was first: go on from its checkpoint
│   └── KeyReuse                 the idempotency key stands for other content
├── Unauthentic                  the message does not prove where it comes from: never appended
│   ├── InvalidSignature
│   └── StaleMessage             signed too long ago, or in the future
├── StoreError                   the store cannot do it now: nothing was stored, retry with the same ids
│   ├── StoreBusy
│   ├── StoreFull
│   ├── StoreReadOnly
│   ├── StoreUnavailable
│   │   ├── RebuildOvertaken     another rebuild of the views began later, and goes on
│   │   └── ViewStale            the table of a view is lost, or of another version
│   ├── StoreClosed
│   ├── WrongProcess             opened before a fork: open it in this process
│   ├── UnsafeDurability         the store would lose acknowledged events in a power cut
│   ├── SchemaTooNew             written by a newer refold: upgrade
│   └── OutcomeUnknown           the commit may or may not have happened: read the key again
└── CorruptLog                   the log is damaged or not understood: stop moving money on it
    ├── EventCorrupt             stored bytes do not match their digest
    ├── EventMissing             a position or version is not there
    ├── RowCorrupt               a row of a table computed from the log is damaged: replay makes it again
    ├── EventUnreadable          no model reads this event type and version
    └── IllegalMove              the log asks for a move the lifecycle does not have
"""

from __future__ import annotations

from .base import RefoldError
from .corruption import CorruptLog, EventCorrupt, EventMissing, EventUnreadable, IllegalMove, RowCorrupt
from .inputs import (
    InvalidAmount,
    InvalidIdentifier,
    InvalidInput,
    InvalidSetting,
    InvalidSignature,
    InvalidText,
    StaleMessage,
    Unauthentic,
    UnknownGateway,
    UnreadableMessage,
    UnusableLine,
)
from .refusals import (
    CheckpointConflict,
    KeyReuse,
    MessageNotFound,
    NotFound,
    OverRefund,
    PaymentConflict,
    PaymentNotFound,
    RefundConflict,
    RefundNotFound,
    Refused,
    ResendRefused,
    SelfApproval,
    TooSoon,
    VersionConflict,
)
from .stores import (
    OutcomeUnknown,
    RebuildOvertaken,
    SchemaTooNew,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    UnsafeDurability,
    ViewStale,
    WrongProcess,
)

__all__ = [
    "CheckpointConflict",
    "CorruptLog",
    "EventCorrupt",
    "EventMissing",
    "EventUnreadable",
    "IllegalMove",
    "InvalidAmount",
    "InvalidIdentifier",
    "InvalidInput",
    "InvalidSetting",
    "InvalidSignature",
    "InvalidText",
    "KeyReuse",
    "MessageNotFound",
    "NotFound",
    "OutcomeUnknown",
    "OverRefund",
    "PaymentConflict",
    "PaymentNotFound",
    "RebuildOvertaken",
    "RefoldError",
    "RefundConflict",
    "RefundNotFound",
    "Refused",
    "ResendRefused",
    "RowCorrupt",
    "SchemaTooNew",
    "SelfApproval",
    "StaleMessage",
    "StoreBusy",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreUnavailable",
    "TooSoon",
    "Unauthentic",
    "UnknownGateway",
    "UnreadableMessage",
    "UnsafeDurability",
    "UnusableLine",
    "VersionConflict",
    "ViewStale",
    "WrongProcess",
]
