// `openai` of npm, and Vercel's `ai` with `@ai-sdk/openai`, against the running local system. Each says hello, streams,
// goes through a tool loop, whole and streamed, asks for structured output and waits 40 s for an answer.
// `make try-clients` copies this file to where the packages are.
import { createOpenAI } from "@ai-sdk/openai";
import { Output, generateText, isStepCount, stepCountIs, streamText, tool } from "ai";
import { readFileSync } from "node:fs";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const outputs = JSON.parse(readFileSync(`${process.env.SLUICE_STATE}/outputs.json`, "utf8"));
const baseURL = outputs.openai_base_url;
const apiKey = outputs.api_keys.load;
const model = "gpt-4o-mini";
const HELLO = "[[sim words=4]] hello";
const LONG = "[[sim words=40 latency=2]] hello";
const SLOW = "[[sim latency=40 words=3]] hello";
const TOOL = '[[sim tool=lookup args={"word":"sky"}]] look it up';
const LIVE = '[[sim tool=lookup parallel=2 ttft=0.2 latency=3 args={"word":"one two three four five six seven eight"}]] look';
const STRUCTURED = '[[sim say="{\\"number\\":7}"]] which number?';
const SECRET = "forty-two";
const answer = z.object({ number: z.number() });
const client = new OpenAI({ baseURL, apiKey, timeout: 120_000 });
const parameters = { type: "object", properties: { word: { type: "string" } }, required: ["word"] };
const lookupTool = { type: "function", name: "lookup", parameters, strict: false };
const isLive = (pieces) => {
  if (pieces <= 3) throw new Error(`arguments in ${pieces} pieces`);
};
const said = (content) => [{ role: "user", content }];

const responses = {
  hello: async () => (await client.responses.create({ model, input: HELLO })).output_text,
  stream: async () => {
    let text = "";
    const stream = client.responses.stream({ model, input: LONG });
    stream.on("response.output_text.delta", (event) => (text += event.delta));
    const last = await stream.finalResponse();
    if (last.output_text !== text) throw new Error("the pieces are not the whole");
    return text;
  },
  tools: async () => {
    const tools = [lookupTool];
    const first = await client.responses.create({ model, input: TOOL, tools });
    const output = { type: "function_call_output", call_id: first.output.at(-1).call_id, output: SECRET };
    const more = { model, tools, previous_response_id: first.id };
    return (await client.responses.create({ ...more, input: [output] })).output_text;
  },
  "live calls": async () => {
    let pieces = 0;
    const tools = [lookupTool];
    const stream = client.responses.stream({ model, input: LIVE, tools });
    stream.on("response.function_call_arguments.delta", () => (pieces += 1));
    const first = await stream.finalResponse();
    isLive(pieces);
    const calls = first.output.filter((item) => item.type === "function_call");
    const input = calls.map(({ call_id }) => ({ type: "function_call_output", call_id, output: SECRET }));
    return (await client.responses.create({ model, tools, previous_response_id: first.id, input })).output_text;
  },
  structured: async () => {
    const text = { format: zodTextFormat(answer, "answer") };
    return (await client.responses.parse({ model, input: STRUCTURED, text })).output_parsed.number;
  },
  "40 s": async () => (await client.responses.create({ model, input: SLOW })).output_text,
};

const runnable = {
  type: "function",
  function: { name: "lookup", parse: JSON.parse, function: () => SECRET, description: "", parameters },
};
const completions = {
  hello: async () =>
    (await client.chat.completions.create({ model, messages: said(HELLO) })).choices[0].message.content,
  stream: async () => await client.chat.completions.stream({ model, messages: said(LONG) }).finalContent(),
  tools: async () => {
    const tools = [runnable];
    return await client.chat.completions.runTools({ model, messages: said(TOOL), tools }).finalContent();
  },
  "live calls": async () => {
    let pieces = 0;
    const tools = [runnable];
    const running = client.chat.completions.runTools({ model, messages: said(LIVE), tools, stream: true });
    running.on("chunk", (chunk) => (pieces += chunk.choices[0]?.delta.tool_calls ? 1 : 0));
    const text = await running.finalContent();
    isLive(pieces);
    return text;
  },
  structured: async () => {
    const response_format = zodResponseFormat(answer, "answer");
    const parsed = await client.chat.completions.parse({ model, messages: said(STRUCTURED), response_format });
    return parsed.choices[0].message.parsed.number;
  },
  "40 s": async () =>
    (await client.chat.completions.create({ model, messages: said(SLOW) })).choices[0].message.content,
};

const lookup = tool({
  description: "Look a word up.",
  inputSchema: z.object({ word: z.string() }),
  execute: async () => SECRET,
});
const stopWhen = (isStepCount ?? stepCountIs)(3);
const ai = (named) => ({
  hello: async () => (await generateText({ model: named, prompt: HELLO })).text,
  stream: async () => {
    let text = "";
    const streamed = streamText({ model: named, prompt: LONG, onError: ({ error }) => console.error(error) });
    for await (const piece of streamed.textStream) text += piece;
    return text;
  },
  tools: async () => {
    return (await generateText({ model: named, prompt: TOOL, tools: { lookup }, stopWhen })).text;
  },
  "live calls": async () => {
    let pieces = 0;
    const streamed = streamText({ model: named, prompt: LIVE, tools: { lookup }, stopWhen });
    for await (const part of streamed.fullStream) pieces += part.type === "tool-input-delta" ? 1 : 0;
    isLive(pieces);
    return await streamed.text;
  },
  structured: async () => {
    const output = Output.object({ schema: answer });
    return (await generateText({ model: named, prompt: STRUCTURED, output })).output.number;
  },
  "40 s": async () => (await generateText({ model: named, prompt: SLOW })).text,
});
const provider = createOpenAI({ baseURL, apiKey });

const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
const clients = {
  [`openai (npm) ${version("openai")}, responses`]: responses,
  [`openai (npm) ${version("openai")}, chat`]: completions,
  [`ai ${version("ai")}, responses`]: ai(provider(model)),
  [`ai ${version("ai")}, chat`]: ai(provider.chat(model)),
};
let failed = 0;
for (const [name, tries] of Object.entries(clients)) {
  for (const [what, attempt] of Object.entries(tries)) {
    const began = Date.now();
    let told;
    try {
      const got = String(await attempt());
      const good = ["tools", "live calls"].includes(what) ? got.includes(SECRET) : what === "structured" ? got === "7" : got.trim() !== "";
      told = good ? "works" : `WRONG ${got.slice(0, 60)}`;
    } catch (error) {
      told = `FAILS ${error.name}: ${String(error.message).slice(0, 160)}`;
      if (process.argv.includes("-v")) console.error(error);
    }
    failed += told !== "works";
    console.log(`${name.padEnd(32)} ${what.padEnd(11)} ${told} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  }
}
console.log(`@ai-sdk/openai ${version("@ai-sdk/openai")}, node ${process.version}`);
process.exitCode = failed ? 1 : 0;
