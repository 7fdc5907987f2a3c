#!/usr/bin/env bash
# httpcore2 2.16.2 (under httpx2 and openai 3): each request asks every idle connection of the pool, of whatever address,
# whether its server has closed it, and asks again when its answer ends.
#
# Seen: with 10, 50 and 100 idle connections one more request makes 20, 100 and 200 such questions, each a new poll
# object and a system call: with 100 about a fifth of the processor time of a call through openai 3.57.
# Why one would not expect it: a kept connection is kept to save work, and only the one that is about to be used needs
# looking at. A larger `max_keepalive_connections` makes every request dearer, those to other hosts, too.
# Sluice's model calls have a transport of their own, which asks the one it takes (functions/worker/wire).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check httpcore2==2.16.2 anyio==4.16.0 2>/dev/null
"$folder/env/bin/python" - <<'PY'
import asyncio

import httpcore2

asked = 0
class Stream(httpcore2.AsyncNetworkStream):
    def __init__(self, inner):
        self.inner, self.read, self.write, self.aclose = inner, inner.read, inner.write, inner.aclose

    def get_extra_info(self, info):
        global asked
        asked += info == "is_readable"
        return self.inner.get_extra_info(info)
class Backend(httpcore2.AnyIOBackend):
    async def connect_tcp(self, *args, **more):
        return Stream(await super().connect_tcp(*args, **more))
async def serve(reader, writer):
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(0.2)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    except asyncio.IncompleteReadError:
        writer.close()
async def main():
    global asked
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    found = {}
    for idle in (10, 50, 100):
        async with httpcore2.AsyncConnectionPool(max_connections=200, network_backend=Backend()) as pool:
            await asyncio.gather(*(pool.request("GET", url) for _ in range(idle)))
            asked = 0
            await pool.request("GET", url)
            found[idle] = asked
    print("questions for one request, by idle connections:", found)
    assert all(questions >= 1.8 * idle for idle, questions in found.items())
asyncio.run(main())
PY
