"""A provider that writes its answers onto the socket byte by byte, status line and headers too."""

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

RESET = b"\0reset"
"""A piece that stands for a connection that is reset."""
KEEP = b"\0keep"
"""A last piece after which the connection stays open for the next request."""
PAUSE = b"\0pause"
"""A piece that stands for a moment of silence."""
type Script = Sequence[bytes]


def http(body: bytes, status: str = "200 OK", *headers: str, version: str = "1.1", length: bool = True) -> bytes:
    """Return an answer: its length is told unless ``length`` is false."""
    lines = [f"HTTP/{version} {status}", *headers]
    if not any(one.lower().startswith("content-type") for one in headers):
        lines.append("Content-Type: text/event-stream")
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def events(*chunks: Any, end: str = "\n\n", done: bool = True) -> bytes:
    """Return a stream's body; a text or bytes stand as they are."""
    made = [
        one if isinstance(one, bytes) else one.encode() if isinstance(one, str) else f"data: {json.dumps(one)}".encode()
        for one in [*chunks, *(["data: [DONE]"] if done else [])]
    ]
    return b"".join(one + end.encode() for one in made)


class WireProvider:
    """Plays one script for each request, the last one for ever."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.asked: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while self._request(connection):
                script = self.scripts[min(len(self.asked), len(self.scripts)) - 1]
                for piece in script:
                    if piece == RESET:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    elif piece == PAUSE:
                        time.sleep(0.05)
                    elif piece != KEEP:
                        connection.sendall(piece)
                if not script or script[-1] != KEEP:
                    return
        except OSError:
            return  # the worker hung up
        finally:
            connection.close()

    def _request(self, connection: socket.socket) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := connection.recv(65536)):
                return False
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += connection.recv(65536)
        self.heads.append(head.decode("latin-1"))
        self.asked.append(json.loads(body))
        return True

    def close(self) -> None:
        """Stop."""
        self._socket.close()
        for connection in self._open:
            connection.close()


@contextmanager
def wire_provider() -> Iterator[WireProvider]:
    """Start one."""
    made = WireProvider()
    try:
        yield made
    finally:
        made.close()
