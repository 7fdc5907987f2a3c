#!/usr/bin/env bash
# httpx2 2.16.2: of a body with `Content-Encoding: gzip` that has two gzip members it returns the first, with no error. Both
# its whole body (`response.content`) and its pieces (`iter_bytes`) end there, and whatever follows is dropped.
# One would not expect it: RFC 1952 (2.2) says that a gzip file is a series of members, one behind the other; gzip, zlib's
# own `gzip.decompress`, and urllib3 2.8.0 (which is tried beside it) read all of them. A proxy that compresses each piece
# of a stream of events by itself sends such a body: an answer seems whole, and only its beginning was read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check httpx2==2.16.2 urllib3==2.8.0
cat >try.py <<'PY'
import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2
import urllib3

BODY = gzip.compress(b"first\n") + gzip.compress(b"second\n")
WHOLE = b"first\nsecond\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


assert gzip.decompress(BODY) == WHOLE
server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_address[1]}/"
read = httpx2.get(url, trust_env=False).content
with httpx2.Client(trust_env=False) as client, client.stream("GET", url) as response:
    pieces = b"".join(response.iter_bytes())
beside = urllib3.PoolManager().request("GET", url).data
print("httpx2, whole: ", read)
print("httpx2, pieces:", pieces)
print("urllib3:       ", beside)
sys.exit(0 if (read, pieces, beside) == (b"first\n", b"first\n", WHOLE) else 1)
PY
env/bin/python try.py
