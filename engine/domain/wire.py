"""The wire: an event as the log keeps it, its name, the moment the fact reached us and JSON data, and back.

The data starts with its version `v`. Old versions are read through `UPCASTERS`; nothing is ever rewritten.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from ..errors import EventUnreadable, InvalidText
from .events import EVENTS
from .strict_json import NotStrictJson, loads

if TYPE_CHECKING:
    from collections.abc import Callable

    from .events import Event

BY_WIRE: Final = {model.wire: model for model in EVENTS}

Data = dict[str, Any]
UPCASTERS: Final[dict[tuple[str, int], Callable[[Data], Data]]] = {}
"""(wire name, old version) → function from that version's data to the next version's."""


def to_wire(event: Event) -> str:
    """Return the event's data as JSON text, its version first."""
    body = event.__pydantic_serializer__.to_json(event, exclude_none=True).decode()
    head = f'{{"v":{event.version}'
    return f"{head}}}" if body == "{}" else f"{head},{body[1:]}"


def from_wire(wire: str, data: str) -> Event:
    """Read an event of this or an older version.

    Raises:
        EventUnreadable: no model has that wire name, the version is newer than this code, or the data does not fit.
    """
    found = _MODELS.get(wire)
    if found is None:
        raise EventUnreadable(wire, "no model has this wire name; was it written by a newer refold?")
    model, prefix, validate_json = found
    try:
        if data.startswith(prefix):
            return validate_json("{" + data[len(prefix) :])
        return model.model_validate(_upcast(model, loads(data.encode())))
    except (ValidationError, NotStrictJson, UnicodeError) as error:
        raise EventUnreadable(wire, f"its data does not fit: {type(error).__name__}") from error


def _upcast(model: type[Event], data: object) -> Data:
    version = data.pop("v", None) if isinstance(data, dict) else None
    if not isinstance(data, dict) or type(version) is not int:
        raise EventUnreadable(model.wire, "its data carries no version")
    while version != model.version:
        upcaster = UPCASTERS.get((model.wire, version))
        if upcaster is None:
            raise EventUnreadable(
                model.wire, f"version {version} is unknown, this refold reads up to {model.version}"
            )
        try:
            data = upcaster(data)
        except Exception as error:  # whatever it stumbles over, it is the event that cannot be read
            raise EventUnreadable(
                model.wire, f"its upcaster from version {version}: {type(error).__name__}"
            ) from error
        version += 1
    return data


def _read_by(model: type[Event]) -> tuple[type[Event], str, Callable[[str], Event]]:
    """Return a model, how data of its present version starts, and what reads such data.

    That is `model_validate_json` without the arguments it passes on, which take as long as a small event.
    """
    return model, f'{{"v":{model.version},', model.__pydantic_validator__.validate_json


_MODELS: Final = {model.wire: _read_by(model) for model in EVENTS}


def time_text(moment: datetime) -> str:
    """Return a moment as the log keeps it: RFC 3339, UTC, microseconds. `moment` must have an offset.

    Raises:
        InvalidText: in UTC it would be before the year 1 or after 9999.
    """
    try:
        utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
        return f"{utc.isoformat(timespec='microseconds')[:-6]}Z"  # instead of +00:00
    except OverflowError:
        raise InvalidText("time", f"{moment.isoformat()} is in no year from 1 to 9999 of UTC") from None


def time_of(text: str) -> datetime:
    """Read what `time_text` wrote."""
    return datetime.fromisoformat(text)
