"""Findings: what `refold doctor` says of each thing it looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

OK: Final = "ok"
WARNING: Final = "warning"
UNAVAILABLE: Final = "unavailable"
CORRUPT: Final = "corrupt"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `numbers` are what it says, for programs."""

    what: str
    level: str
    says: str
    numbers: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it for `--json`; numbers only where there are some."""
        return {name: value for name, value in asdict(self).items() if name != "numbers" or value}
