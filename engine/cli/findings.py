"""Findings: what `refold doctor` says of each thing it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OK: Final = "ok"
WARNING: Final = "warning"
UNAVAILABLE: Final = "unavailable"
CORRUPT: Final = "corrupt"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    level: str
    says: str
