#!/usr/bin/env bash
# instructor 1.17.0, with openai 3.3.0 (the newest that it takes).
#
# Seen: `create(response_model=None, messages=…)`, by which instructor is told to stay out of the way, changes the
# messages: the `content: null` of an assistant's message that only calls tools becomes `content: []`. The same client
# without instructor sends null.
#
# Not expected, because OpenAI's reference gives null for this message ("optional if tool_calls is specified") and wants
# at least one part in a list (minItems: 1). A strict server refuses the second turn of every tool loop; the traceback
# shows the caller's own messages, which are right. In the modes TOOLS, JSON and JSON_SCHEMA alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check instructor==1.17.0 openai==3.3.0 2>/dev/null
cat >"$folder/try.py" <<'PYTHON'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import instructor, openai

SEEN = []
CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "It is 42."}}
ANSWER = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE]}).encode()


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        SEEN.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][1]["content"])
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
plain = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="k")
call = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
messages = [
    {"role": "user", "content": "Look it up."},
    {"role": "assistant", "content": None, "tool_calls": [call]},
    {"role": "tool", "tool_call_id": "c1", "content": "42"},
]
plain.chat.completions.create(model="m", messages=messages)
print("openai alone sends content", SEEN[-1])
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA):
    instructor.from_openai(plain, mode=mode).chat.completions.create(model="m", messages=messages, response_model=None)
    print("through instructor in", mode, "it sends", SEEN[-1])
assert SEEN == [None, [], [], []], SEEN
PYTHON
"$folder/env/bin/python" "$folder/try.py"
