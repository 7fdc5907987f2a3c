#!/usr/bin/env bash
# litellm 1.108.7, streamed completions of an OpenAI-compatible server
# Seen: a good reply that holds the same piece 100 times in a row (a ruled line, a row of zeros, a list of equal words) is
#   not passed on: after 100 equal chunks the stream ends with an error of status 500 (MidStreamFallbackError). With 90 it is whole.
# Unexpected: the upstream answered 200 and well to its end, and bills the reply. The caller sees a failure of the server,
#   which clients try again, and pay again. Nothing in the request allows or forbids it; the limit is a constant of the library.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install --quiet --disable-pip-version-check litellm==1.108.7 2>/dev/null
cat >"$tmp/try.py" <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import litellm


class Upstream(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        times = int(body["messages"][0]["content"])
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for n in range(times + 1):
            choice = {"index": 0, "delta": {"content": " 0000"} if n < times else {}, "finish_reason": None if n < times else "stop"}
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_address[1]}/v1"


def ask(times):
    pieces = 0
    try:
        for chunk in litellm.completion(model="openai/m", api_base=base, api_key="none", stream=True, num_retries=0,
                                        messages=[{"role": "user", "content": str(times)}]):
            pieces += bool(chunk.choices and chunk.choices[0].delta.content)
    except Exception as error:
        return pieces, f"{type(error).__name__} {getattr(error, 'status_code', '')}"
    return pieces, "whole"


few, many = ask(90), ask(150)
print("90 equal pieces:", few)
print("150 equal pieces:", many)
assert few == (90, "whole"), few
assert many[0] < 150 and many[1].endswith(" 500"), many
PY
LITELLM_LOCAL_MODEL_COST_MAP=True "$tmp/v/bin/python" "$tmp/try.py"
