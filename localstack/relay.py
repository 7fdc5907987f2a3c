"""Lets containers reach what listens on this machine's loopback only: forwards the same ports of Docker's bridge.

Nobody but containers can connect: the bridge's address exists on this machine alone. Docker Desktop needs none of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK_BYTES = 65_536


@contextlib.contextmanager
def relayed(address: str, ports: Iterable[int]) -> Iterator[None]:
    """Forward ``address:port`` to ``127.0.0.1:port`` for each port, in a thread.

    Raises:
        OSError: the address is not this machine's, or a port is taken there.
    """
    loop = asyncio.new_event_loop()
    started: list[asyncio.Server] = []

    async def start() -> None:
        for port in ports:
            started.append(await asyncio.start_server(lambda r, w, port=port: _forward(r, w, port), address, port))

    async def stop() -> None:
        for server in started:
            server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, name="relay")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    there: asyncio.StreamWriter | None = None
    try:
        back, there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, there), _pump(back, writer))
    except OSError:
        pass  # either side is gone, and the other sees it
    finally:
        for side in (writer, there):
            if side is not None:
                side.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while block := await source.read(BLOCK_BYTES):
        target.write(block)
        await target.drain()
    with contextlib.suppress(OSError):
        target.write_eof()
