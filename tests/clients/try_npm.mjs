// `openai` of npm, and Vercel's `ai` with `@ai-sdk/openai`, against the running local system. Each says hello, streams,
// goes through a tool loop and asks for structured output; one of each waits 40 s for an answer. `make try-clients`
// copies this file to where the packages are.
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
const STRUCTURED = '[[sim say="{\\"number\\":7}"]] which number?';
const SECRET = "forty-two";
const answer = z.object({ number: z.number() });
const client = new OpenAI({ baseURL, apiKey, timeout: 120_000 });
const parameters = { type: "object", properties: { word: { type: "string" } }, required: ["word"] };
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
    const tools = [{ type: "function", name: "lookup", parameters, strict: false }];
    const first = await client.responses.create({ model, input: TOOL, tools });
    const output = { type: "function_call_output", call_id: first.output.at(-1).call_id, output: SECRET };
    const more = { model, tools, previous_response_id: first.id };
    return (await client.responses.create({ ...more, input: [output] })).output_text;
  },
  structured: async () => {
    const text = { format: zodTextFormat(answer, "answer") };
    return (await client.responses.parse({ model, input: STRUCTURED, text })).output_parsed.number;
  },
  "40 s": async () => (await client.responses.create({ model, input: SLOW })).output_text,
};

const completions = {
  hello: async () =>
    (await client.chat.completions.create({ model, messages: said(HELLO) })).choices[0].message.content,
  stream: async () => await client.chat.completions.stream({ model, messages: said(LONG) }).finalContent(),
  tools: async () => {
    const run = (given) => SECRET;
    const lookup = { name: "lookup", parse: JSON.parse, function: run, description: "", parameters };
    const tools = [{ type: "function", function: lookup }];
    return await client.chat.completions.runTools({ model, messages: said(TOOL), tools }).finalContent();
  },
  structured: async () => {
    const response_format = zodResponseFormat(answer, "answer");
    const parsed = await client.chat.completions.parse({ model, messages: said(STRUCTURED), response_format });
    return parsed.choices[0].message.parsed.number;
  },
};

const ai = (named) => ({
  hello: async () => (await generateText({ model: named, prompt: HELLO })).text,
  stream: async () => {
    let text = "";
    const streamed = streamText({ model: named, prompt: LONG, onError: ({ error }) => console.error(error) });
    for await (const piece of streamed.textStream) text += piece;
    return text;
  },
  tools: async () => {
    const lookup = tool({
      description: "Look a word up.",
      inputSchema: z.object({ word: z.string() }),
      execute: async () => SECRET,
    });
    const stopWhen = (isStepCount ?? stepCountIs)(3);
    return (await generateText({ model: named, prompt: TOOL, tools: { lookup }, stopWhen })).text;
  },
  structured: async () => {
    const output = Output.object({ schema: answer });
    return (await generateText({ model: named, prompt: STRUCTURED, output })).output.number;
  },
});
const provider = createOpenAI({ baseURL, apiKey });
const slow = async () => (await generateText({ model: provider(model), prompt: SLOW })).text;

const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
const clients = {
  [`openai (npm) ${version("openai")}, responses`]: responses,
  [`openai (npm) ${version("openai")}, chat`]: completions,
  [`ai ${version("ai")}, responses`]: { ...ai(provider(model)), "40 s": slow },
  [`ai ${version("ai")}, chat`]: ai(provider.chat(model)),
};
let failed = 0;
for (const [name, tries] of Object.entries(clients)) {
  for (const [what, attempt] of Object.entries(tries)) {
    const began = Date.now();
    let told;
    try {
      const got = String(await attempt());
      const good = what === "tools" ? got.includes(SECRET) : what === "structured" ? got === "7" : got.trim() !== "";
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
