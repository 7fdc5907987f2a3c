"""How a request to DynamoDB or SQS is sent, and its answer read: in one piece, over a connection that stands.

`botocore` sends through `urllib3` and `http.client`, for any server and any answer. Here every new connection is still
theirs, with its TLS, its proxies and what may fail there, and so is the pool that keeps them; only what goes over a
connection that stands is written and read here. What fails then is told as `botocore` tells it, which tries again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from urllib3.exceptions import ClosedPoolError

if TYPE_CHECKING:
    import socket

_HEAD_BYTES = 64 * 1024
"""Longest status line and headers that are read."""
_READ_BYTES = 256 * 1024
ENDPOINTS = 16
"""Addresses whose connections are remembered: a client has one, or one an account."""


@lru_cache(maxsize=ENDPOINTS)
def place(url: str) -> tuple[str, str]:
    """Return (path with its query, host with its port where it needs one) of an address."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    if parts.port not in (None, {"http": 80, "https": 443}.get(parts.scheme)):
        host += f":{parts.port}"
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), host


class Headers(dict[str, str]):
    """An answer's headers: kept in lower case, asked for in any."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header, or what stands for none."""
        return super().get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())


class Answer(AWSResponse):
    """An answer that was read whole."""

    def __init__(self, url: str, status_code: int, headers: Headers, content: bytes) -> None:
        vars(self).update(url=url, status_code=status_code, headers=headers, raw=None, _content=content)


class Session:
    """Sends requests over connections that stand; all else is ``inner``'s, `botocore`'s own."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._pools: dict[str, tuple[Any, float | None]] = {}
        """Connections to an address, and how long their answers may take, s."""

    def close(self) -> None:
        """Close all connections."""
        self._pools.clear()
        self._inner.close()

    def send(self, request: Any) -> Any:
        """Send a request and read its answer.

        Raises:
            HTTPClientError: of `botocore`'s kinds.
        """
        url = request.url
        if url not in self._pools or request.stream_output or not isinstance(request.body, bytes):
            answer = self._inner.send(request)  # this is what sets the connections to an address up
            if self._inner._proxy_config.proxy_url_for(url) is None and len(self._pools) < ENDPOINTS:
                pool = self._inner._manager.connection_from_url(url)
                self._pools[url] = pool, pool.timeout.read_timeout
            return answer
        pool, timeout_s = self._pools[url]
        try:
            connection = pool._get_conn()
        except ClosedPoolError:
            self._pools.pop(url, None)
            return self._inner.send(request)
        if connection.is_closed:
            pool._put_conn(connection)
            return self._inner.send(request)
        try:
            answer, stays = _exchange(connection.sock, request, timeout_s)
            if not stays:
                connection.close()
        except TimeoutError as error:
            connection.close()
            raise ReadTimeoutError(endpoint_url=url, error=error) from error
        except (OSError, ValueError, IndexError) as error:
            connection.close()
            raise ConnectionClosedError(endpoint_url=url, error=error, request=request) from error
        except BaseException:  # the answer is still to come: nobody else may read it
            connection.close()
            raise
        finally:
            pool._put_conn(connection)
        return answer


def _exchange(sock: socket.socket, request: Any, timeout_s: float | None) -> tuple[Answer, bool]:
    """Send a request over a connection, in one piece, and read the answer; tells also whether the connection stays.

    Raises:
        TimeoutError: nothing came for so long.
        OSError, ValueError, IndexError: the connection ended, or what came is no answer.
    """
    if sock.gettimeout() != timeout_s:
        sock.settimeout(timeout_s)
    path, host = place(request.url)
    lines = "".join([f"{name}: {value}\r\n" for name, value in request.headers.items()])
    if lines.count("\n") != len(request.headers):
        raise ValueError("a header holds a line break")
    head = f"{request.method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\n{lines}\r\n"
    sock.sendall(head.encode("latin-1") + request.body)
    came = bytearray(_more(sock))
    while (end := came.find(b"\r\n\r\n")) < 0:
        if len(came) > _HEAD_BYTES:
            raise ValueError("the headers do not end")
        came += _more(sock)
    first, *rest = came[:end].decode("latin-1").split("\r\n")
    version, status = first.split(" ", 2)[:2]
    headers = Headers()
    for line in rest:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    del came[: end + 4]
    stays = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    if "chunked" in headers.get("transfer-encoding", ""):
        content = _chunks(sock, came)
    elif "content-length" in headers:
        content = _take(sock, came, int(headers["content-length"]))
    else:
        content, stays = _rest(sock, came), False
    return Answer(request.url, int(status), headers, content), stays and not came


def _more(sock: socket.socket) -> bytes:
    found = sock.recv(_READ_BYTES)
    if not found:
        raise ConnectionResetError("the connection ended before the answer")
    return found


def _take(sock: socket.socket, came: bytearray, size: int) -> bytes:
    """Read so many bytes; what came after them is left in ``came``."""
    while len(came) < size:
        came += _more(sock)
    found = bytes(came[:size])
    del came[:size]
    return found


def _line(sock: socket.socket, came: bytearray) -> bytes:
    while (end := came.find(b"\r\n")) < 0:
        if len(came) > _HEAD_BYTES:
            raise ValueError("the line does not end")
        came += _more(sock)
    return _take(sock, came, end + 2)[:-2]


def _chunks(sock: socket.socket, came: bytearray) -> bytes:
    """Read a body that comes in chunks."""
    found = []
    while size := int(_line(sock, came).split(b";")[0], 16):
        found.append(_take(sock, came, size))
        _line(sock, came)
    while _line(sock, came):  # what may follow the last chunk
        pass
    return b"".join(found)


def _rest(sock: socket.socket, came: bytearray) -> bytes:
    """Read a body that lasts as long as the connection."""
    while more := sock.recv(_READ_BYTES):
        came += more
    found = bytes(came)
    came.clear()
    return found
