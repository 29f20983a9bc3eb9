"""Where a run takes place: its folder, and how the contenders are opened in it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from refold.engine.composition import open_store

from .peer import Peer
from .postgres.server import running
from .raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

    from refold.engine.ports import EventStore

    from .measuring import Sizes
    from .postgres.server import Server

TIMEOUT_S = 60.0
"""How long a caller waits for its turn; no caller of a run may give up."""


class Place:
    """A folder on the disk that is measured.

    What is opened in it is closed at the end of its row; the PostgreSQL server runs until `close`.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        """Measure `sizes` in an empty folder."""
        self.folder = folder
        self.sizes = sizes
        self.durability: dict[str, str] = {}
        self._opened = ExitStack()
        self._lasting = ExitStack()
        self._server: Server | None = None
        self._files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def close(self) -> None:
        """End what lasts longer than a row."""
        self._lasting.close()

    def server(self) -> Server:
        """Return the PostgreSQL server of this run, started at the first call. Raises `Skipped`."""
        if self._server is None:
            folder = self.folder / "postgres"
            folder.mkdir(exist_ok=True)
            self._server = self._lasting.enter_context(running(folder))
        return self._server

    def new_name(self) -> str:
        """Return a name that no database has yet."""
        self._files += 1
        return f"bench_{self._files}"

    def new_file(self) -> Path:
        """Return a path where nothing is yet."""
        self._files += 1
        return self.folder / f"{self._files}.db"

    def closing(self, opened: Any) -> Any:  # noqa: ANN401 - whatever has a `close`
        """Close something at the end of the row, and return it."""
        self._opened.callback(opened.close)
        return opened

    def ours(self, path: Path | None = None) -> EventStore:
        """Open our store as the engine does, with its views beside the log."""
        path = path or self.new_file()
        store: EventStore = self.closing(open_store(f"sqlite:///{path}", timeout_s=TIMEOUT_S))
        found = store.describe()
        self.durability["sqlite ours"] = (
            f"journal_mode={found['journal_mode']} synchronous={found['synchronous']}"
        )
        return store

    def peer(self, path: Path | None = None) -> Peer:
        """Open the peer's recorder on a new file, or on one of its own."""
        peer: Peer = self.closing(Peer(path or self.new_file()))
        self.durability["sqlite peer"] = peer.durability()
        return peer

    def raw(self, path: Path | None = None) -> Raw:
        """Open a raw connection, on a new file with our table or on a copy of one of ours."""
        if path is None:
            like = self.new_file()
            open_store(f"sqlite:///{like}").close()
            raw: Raw = self.closing(Raw(self.new_file(), like=like))
        else:
            raw = self.closing(Raw(path))
        self.durability["sqlite limit"] = raw.durability()
        return raw
