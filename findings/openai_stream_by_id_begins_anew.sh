#!/usr/bin/env bash
# openai 3.57.0 (Python).
#
# Seen: `responses.stream(response_id=…, starting_after=7)` takes `starting_after`, but never sends it. The request is
# `GET /responses/{id}?stream=true`, so the server replays from the first event; the library drops what is not newer than 7
# as it comes. `responses.retrieve(id, stream=True, starting_after=7)` does send it.
#
# Not expected: OpenAI documents `starting_after` so that a client can go on where its connection broke without having all
# before it sent again. Here each resumption costs the whole stream once more, in silence, for a run of hours too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0 2>/dev/null
cat >"$folder/try.py" <<'PYTHON'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai

ASKED = []
BARE = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": [], "tools": [], "status": "completed",
    "parallel_tool_calls": True, "tool_choice": "auto", "metadata": {}, "instructions": None, "error": None,
}
KINDS = ["response.created", "response.in_progress", "response.completed"]
EVENTS = [{"type": kind, "sequence_number": n, "response": BARE} for n, kind in enumerate(KINDS)]


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        ASKED.append(self.path)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for event in EVENTS:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="k")
with client.responses.stream(response_id="resp_1", starting_after=1) as stream:
    print("events handed on by stream():", [event.sequence_number for event in stream])
for _ in client.responses.retrieve("resp_1", stream=True, starting_after=1):
    pass
print("asked by stream():  ", ASKED[0])
print("asked by retrieve():", ASKED[1])
assert "starting_after" not in ASKED[0], ASKED
assert "starting_after=1" in ASKED[1], ASKED
PYTHON
"$folder/env/bin/python" "$folder/try.py"
