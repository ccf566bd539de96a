"""A proxy that cuts connections or dies and a server that falls silent: what does a client do when they break?"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class CuttingProxy:
    """Passes bytes to a server; cuts the first `cuts` answers off after `after` bytes."""

    def __init__(self, target_url: str, cuts: int, after: int) -> None:
        target = urlsplit(target_url)
        self._target = (str(target.hostname), int(target.port or 80))
        self.cuts_left, self._after, self.connections = cuts, after, 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def die(self) -> None:
        """End all connections and refuse new ones, as a server that is killed."""
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(self._target)
            self._open += [client, server]
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := server.recv(4096):
                if self.cuts_left > 0 and passed + len(data) > self._after:
                    client.sendall(data[: max(self._after - passed, 0)])
                    self.cuts_left -= 1
                    break
                client.sendall(data)
                passed += len(data)
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class SilentServer:
    """Accepts connections, reads what comes, says the same words to each and then nothing more."""

    def __init__(self, words: bytes = b"") -> None:
        self._words, self._clients = words, list[socket.socket]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connections(self) -> int:
        """How many there were."""
        return len(self._clients)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for client in self._clients:
            client.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                client.recv(65536)
                client.sendall(self._words)
