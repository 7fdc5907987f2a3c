#!/usr/bin/env bash
# semantic-kernel 1.45.0, OpenAIResponsesAgent with a plugin, conversation kept by the server (store_enabled, its default)
# Seen: in a loop of tool calls each further request names the response before (previous_response_id) and still holds all that
#   was sent before: the user's question, and each earlier function_call_output. After three calls the conversation that
#   the server puts together holds the question four times, and the first output three times.
# Unexpected: previous_response_id stands for what came before, so only what is new belongs beside it. The model reads its question
#   again behind the answers that it asked for, as if it were asked anew, and each copy is billed.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install --quiet --no-compile --disable-pip-version-check semantic-kernel==1.45.0 2>/dev/null
cat >"$tmp/try.py" <<'PY'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
from semantic_kernel.agents import OpenAIResponsesAgent
from semantic_kernel.functions import kernel_function

asked = []
SPOKEN = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "done", "annotations": []}]}


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        n = len(asked)
        call = {"type": "function_call", "id": f"fc_{n}", "call_id": f"call_{n}", "name": "Clock-now", "arguments": "{}", "status": "completed"}
        made = {"id": f"resp_{n}", "object": "response", "created_at": 1, "status": "completed", "model": "m", "tools": [], "tool_choice": "auto",
                "parallel_tool_calls": True, "output": [call if n < 4 else SPOKEN]}
        body = json.dumps(made).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    log_message = lambda *_: None


class Clock:
    @kernel_function(name="now", description="the time")
    def now(self) -> str:
        return "noon"


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = openai.AsyncOpenAI(api_key="k", base_url=f"http://127.0.0.1:{server.server_address[1]}/v1")
agent = OpenAIResponsesAgent(ai_model_id="m", client=client, name="a", plugins=[Clock()])
asyncio.run(agent.get_response("what time is it?"))
shown = [(one.get("previous_response_id"), [item.get("call_id", item.get("role")) for item in one["input"]]) for one in asked]
print(*shown, sep="\n")
assert shown[-1] == ("resp_3", ["user", "call_1", "call_2", "call_3"]), "it sends only what is new"
PY
"$tmp/v/bin/python" "$tmp/try.py"
