"""What stands between a store and its server, and cuts connections."""

import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path


class Proxy:
    """Stands between a store and its server, and cuts the connection where it is told to."""

    def __init__(self, server):
        self.folder = Path(tempfile.mkdtemp(prefix="refold-proxy-"))
        self._target = str(server.folder / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._sockets = []
        self._closed = False
        self.cut = None
        """What happens to the next request: "unsent", or how much of its answer arrives, as the end of a slice."""
        self._threads = []
        self._start(self._accept)

    def _start(self, work, *arguments):
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._sockets += [client, server]
            if self._closed:  # whoever closed the door may not have seen these two
                hang_up(client, server)
            armed = []
            self._start(self._requests, client, server, armed)
            self._start(self._answers, client, server, armed)

    def _requests(self, client, server, armed):
        while data := received(client):
            cut = None
            if executes(
                data
            ):  # a connection that is opened meanwhile, or a statement being prepared, is let through
                cut, self.cut = self.cut, None
            if cut == "unsent":
                break
            if cut is not None:
                armed.append(cut)
            with suppress(OSError):  # the other side hung up
                server.sendall(data)
        hang_up(client, server)

    def _answers(self, client, server, armed):
        while data := received(server):
            with suppress(OSError):
                client.sendall(data[: armed[0]] if armed else data)
            if armed:
                break
        hang_up(client, server)

    def close_door(self):
        """End all connections, and let in no other."""
        self._closed = True
        hang_up(self._listener, *self._sockets)
        (self.folder / ".s.PGSQL.5432").unlink(missing_ok=True)

    def close(self):
        self.close_door()
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._sockets):
            each.close()
        shutil.rmtree(self.folder)


def executes(data):
    """Tell whether a statement is executed by these messages: each is a letter, its length, and that many bytes."""
    place = 0
    while place + 5 <= len(data):
        if data[place : place + 1] in {b"B", b"Q"}:
            return True
        place += 1 + int.from_bytes(data[place + 1 : place + 5], "big")
    return False


def received(connection):
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def hang_up(*sockets):
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
