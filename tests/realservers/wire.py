"""What is between a caller and a server: it passes everything on, falls silent, or keeps back the server's answers."""

import contextlib
import socket
import threading

CHUNK = 65536


class Wire:
    """`url`'s place on the way to a real server. `pass_answers`: how many more pieces the server may say; None: all."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.pass_answers: int | None = None
        self.silent = False  # takes the request and does not even pass it on
        self.kept_back = threading.Event()  # the server has said something that the caller will not hear
        self.connections = 0
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def restore(self) -> None:
        self.pass_answers, self.silent = None, False
        self.kept_back.clear()

    def close(self) -> None:
        """From now on nobody is there."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def reopen(self) -> None:
        """After `close`: at the same place."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        self._open.add(caller)
        server: socket.socket | None = None
        with contextlib.suppress(OSError):
            if self.silent:
                while caller.recv(CHUNK):
                    pass
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            self._open.add(server)
            threading.Thread(target=self._answers, args=(server, caller), daemon=True).start()
            while data := caller.recv(CHUNK):
                if not self.silent:
                    server.sendall(data)
        for one in (caller, server):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                self._open.discard(one)

    def _answers(self, server: socket.socket, caller: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK):
                if self.silent:
                    continue
                if self.pass_answers is not None:
                    if self.pass_answers <= 0:
                        self.kept_back.set()
                        continue
                    self.pass_answers -= 1
                caller.sendall(data)
            if not self.kept_back.is_set():  # else not even the end is told
                caller.shutdown(socket.SHUT_WR)
