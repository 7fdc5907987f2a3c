#!/usr/bin/env bash
# Vercel's `ai` 7.0.173 with `@ai-sdk/openai` 4.0.118: a streamed function call whose item ends with status "incomplete" is
# carried out all the same, as soon as its item ends, though the response that follows does not hold the call.
# One would not expect it: OpenAI's items have a status so that a client can tell a call that was broken off from one that is
# to be made ("in_progress", "completed", "incomplete"), and the last event's `output` says what the answer is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund ai@7.0.173 @ai-sdk/openai@4.0.118 zod@4.6.7 >/dev/null
cat >try.mjs <<'JS'
import http from "node:http";
import { createOpenAI } from "@ai-sdk/openai";
import { streamText, tool } from "ai";
import { z } from "zod";

const call = (status, args) => ({ type: "function_call", id: "fc_1", call_id: "c1", name: "pay", arguments: args, status });
const said = { type: "message", id: "m1", role: "assistant", status: "completed",
  content: [{ type: "output_text", text: "No need.", annotations: [], logprobs: [] }] };
const response = { id: "r1", object: "response", created_at: 1, model: "m", output: [said], status: "completed",
  usage: { input_tokens: 1, output_tokens: 1, total_tokens: 2 } };
const events = [
  { type: "response.created", response: { ...response, output: [], status: "in_progress" } },
  { type: "response.output_item.added", output_index: 0, item: call("in_progress", "") },
  { type: "response.function_call_arguments.delta", item_id: "fc_1", output_index: 0, delta: '{"usd":5}' },
  { type: "response.output_item.done", output_index: 0, item: call("incomplete", '{"usd":5}') },
  { type: "response.output_item.added", output_index: 1, item: { ...said, status: "in_progress", content: [] } },
  { type: "response.output_text.delta", item_id: "m1", output_index: 1, content_index: 0, delta: "No need.", logprobs: [] },
  { type: "response.output_item.done", output_index: 1, item: said },
  { type: "response.completed", response },
];
const server = http.createServer((request, answer) => {
  request.resume();
  answer.writeHead(200, { "content-type": "text/event-stream" });
  events.forEach((event, n) => answer.write(`data: ${JSON.stringify({ sequence_number: n, ...event })}\n\n`));
  answer.end("data: [DONE]\n\n");
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const openai = createOpenAI({ baseURL: `http://127.0.0.1:${server.address().port}/v1`, apiKey: "k" });
let paid = 0;
const pay = tool({ inputSchema: z.object({ usd: z.number() }), execute: async () => void paid++ });
const run = streamText({ model: openai("gpt-4o-mini"), prompt: "x", tools: { pay } });
for await (const _ of run.fullStream);
server.close();
console.log(`the call that ended as "incomplete" was carried out ${paid} time(s)`);
process.exit(paid === 1 ? 0 : 1);
JS
node try.mjs
