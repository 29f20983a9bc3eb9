"""The store cannot do it now."""

from __future__ import annotations

from ..domain.masking import shown
from .base import RefoldError


class StoreError(RefoldError):
    """The store cannot do it now: nothing was stored, and the same call with the same ids is safe to repeat."""


class StoreBusy(StoreError):
    """Another writer held the store longer than `timeout_s`."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"the store was locked for more than {timeout_s:g} s; retry with the same ids")
        self.timeout_s = timeout_s


class StoreFull(StoreError):
    """No space is left; reading still works."""

    def __init__(self) -> None:
        super().__init__("no space left for the store; free some and repeat the call, nothing was stored")


class StoreReadOnly(StoreError):
    """The file, directory or server does not accept writes; reading still works."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the store {where} is read-only; nothing was stored")


class StoreUnavailable(StoreError):
    """The store cannot be reached or used; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"store unavailable: {reason}")
        self.reason = reason


class RebuildOvertaken(StoreUnavailable):
    """Another rebuild of the views began later, and goes on; this one has changed nothing."""

    def __init__(self) -> None:
        super().__init__("another rebuild of the views has begun; this one has changed nothing")


class ViewStale(StoreUnavailable):
    """The table of `view` is lost, or of another version than this process knows; nothing was read or stored."""

    def __init__(self, view: str) -> None:
        super().__init__(
            f"the table of the view {view} is lost, or of another version: an engine that opens the store, or"
            " `refold replay`, makes those of refold again from the log, for its own version; give a view of your own"
            " another name, and its subscription, too"
        )
        self.view = view


class StoreClosed(StoreError):
    """The store was closed; open it again."""

    def __init__(self) -> None:
        super().__init__("the store is closed; open it again")


class WrongProcess(StoreError):
    """The store was opened in another process, before a fork; `opened_in` and `used_in` are process ids."""

    def __init__(self, opened_in: int, used_in: int) -> None:
        super().__init__(
            f"the store was opened in process {opened_in} and is used in {used_in}: open it after the fork"
        )
        self.opened_in, self.used_in = opened_in, used_in


class UnsafeDurability(StoreError):
    """The store would lose acknowledged events in a power cut; `setting` is what was found."""

    def __init__(self, setting: str) -> None:
        super().__init__(f'unsafe durability: {setting}; correct it, or pass durability="relaxed" on purpose')
        self.setting = setting


class SchemaTooNew(StoreError):
    """The store was written by a newer refold; `found` and `known` are schema numbers."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"store schema {found} is newer than {known}, all this refold knows: upgrade it")
        self.found, self.known = found, known


class OutcomeUnknown(StoreError):
    """The commit may or may not have happened: `store.settle(key)` tells.

    Attributes:
        key: the idempotency key of the append, None where it had none.
        replicated: False where the commit is durable on this server and no standby is known to have it.
    """

    def __init__(self, key: str | None, *, replicated: bool | None = None) -> None:
        named = f"settle key {shown(key)}" if key else "read the streams again"
        what = (
            "the commit stands on this server, and no standby is known to have it"
            if replicated is False
            else "the commit may or may not have happened"
        )
        super().__init__(f"{what}: {named} before anything else")
        self.key, self.replicated = key, replicated
