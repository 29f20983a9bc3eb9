"""The lifecycle as a diagram, drawn from the machine itself, so that it cannot say anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.lifecycle import moves_by_pair
from ..domain.signals import TERMINAL, State

if TYPE_CHECKING:
    from collections.abc import Iterator


def mermaid() -> str:
    """Return the lifecycle as a Mermaid state diagram."""
    moves = (
        f"    {source} --> {target}: {', '.join(triggers)}" for source, target, triggers in moves_by_pair()
    )
    ends = (f"    {state} --> [*]" for state in State if state in TERMINAL)
    return "\n".join(["stateDiagram-v2", f"    [*] --> {State.CREATED}", *moves, *ends, ""])


def text() -> str:
    """Return the lifecycle as text for a terminal: each state, and what leads where."""
    return "\n".join(_paragraphs())


def _paragraphs() -> Iterator[str]:
    width = max(map(len, State))
    for state in State:
        yield f"{state} (may rest here)" if state in TERMINAL else str(state)
        for source, target, triggers in moves_by_pair():
            if source is state:
                yield f"  -> {target:<{width}}  {', '.join(triggers)}"
        yield ""
