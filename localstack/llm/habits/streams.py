"""Streams: odd chunks, tool calls, ends, usage, errors in the middle, what is to be handed back."""
# ruff: noqa: E501 - a habit a line: their shapes are compared by eye

import json

from localstack.llm.habits.shape import STOP, TOOLS, Habit, call, calls, chunk, text, usage


def _error(source: str, *, error: object, before: int = 1) -> Habit:
    return Habit(source, events=[*[text()] * before, {"error": error}])


_SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln"}}}

ODD = {
    "odd_usage_without_choices": Habit("deepinfra.com/docs/openai_api", events=[text(), STOP, {"usage": {"prompt_tokens": 10, "completion_tokens": 4}}]),
    "odd_choices_null": Habit("run-llama/llama_index", events=[{"choices": None}, text(), STOP, usage()]),
    "odd_empty_data": Habit("openai/openai-node", events=["data:\n\n", "data: \n\n", text(), STOP, usage()]),
    "odd_end_in_each": Habit("google-gemini/cookbook", events=[chunk({"content": "Hello "}, "stop"), chunk({"content": "there."}, "stop"), usage()]),
    "odd_end_in_delta": Habit("QuantumNous/new-api", events=[chunk({"content": "Hello there.", "finish_reason": "stop"}), usage()], done=False),
    "odd_end_as_object": Habit("sgl-project/sglang", events=[text(), {"choices": [{"index": 0, "delta": {}, "finish_reason": {"type": "stop", "matched": None}}]}, usage()], done=False),
    "odd_stop_reason": Habit("docs.anthropic.com/en/api/messages", events=[text(), {"choices": [{"index": 0, "delta": {}, "stop_reason": "end_turn"}]}, usage()], done=False),
    "odd_token_ids": Habit("togethercomputer/together-python", events=[chunk({"role": "assistant", "content": "Hello there.", "token_id": 7, "tool_calls": None}), STOP, usage()]),
    "odd_whole_behind_comments": Habit("openrouter.ai/docs/api-reference/errors", events=[": OPENROUTER PROCESSING\n\n", json.dumps({"choices": [{"message": {"content": "Hello there."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 10, "completion_tokens": 4}}, indent=2) + "\n"], done=False),
    "odd_ping": Habit("docs.anthropic.com/en/api/messages-streaming", events=['event: ping\ndata: {"type": "ping"}\n\n', text(), STOP, usage()]),
    "odd_comments": Habit("openrouter.ai/docs/api-reference/streaming", events=[": OPENROUTER PROCESSING\n\n", text(), ": keep-alive\n\n", STOP, usage()]),
    "odd_keepalive_text": Habit("open-webui/open-webui", events=["data: keep-alive\n\n", text(), STOP, usage()]),
    "odd_parts": Habit("docs.mistral.ai/capabilities/reasoning", events=[chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}), chunk({"content": [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there."}]}), STOP, usage()]),
    "odd_azure_first": Habit("openai/openai-python", events=[{"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}, text(), STOP, usage()]),
    "odd_pretty": Habit("html.spec.whatwg.org/multipage/server-sent-events", events=['data: {"choices": [\ndata: {"delta": {"content": "Hello there."}, "finish_reason": "stop"}]}\n\n', usage()]),
    "odd_single_newlines": Habit("lm-sys/FastChat", events=['data: {"choices": [{"delta": {"content": "Hello "}}]}\n', 'data: {"choices": [{"delta": {"content": "there."}, "finish_reason": "stop"}]}\n', usage()]),
    "odd_crlf_bom": Habit("vercel/ai", events=["\ufeffdata: " + '{"choices": [{"delta": {"content": "Hello there."}, "finish_reason": "stop"}]}\r\n\r\n', usage()]),
    "odd_finish_empty_text": Habit("sgl-project/sglang#3912", events=[chunk({"content": "Hello there."}, ""), STOP, usage()]),
    "odd_whole_message_last": Habit("langchain-ai/langchain", events=[text(), {"choices": [{"index": 0, "message": {"content": "Hello there."}, "finish_reason": "stop"}]}, usage()]),
    "odd_second_choice": Habit("platform.openai.com/docs/api-reference/chat/create#n", events=[text(), {"choices": [{"index": 1, "delta": {"content": "other"}}]}, STOP, usage()]),
    "odd_null_fields": Habit("sgl-project/sglang#3912", events=[chunk({"role": None, "content": "Hello there.", "tool_calls": None, "function_call": None, "refusal": None}), STOP, usage()]),
    "odd_logprobs_apart": Habit("sgl-project/sglang", events=[{"choices": [{"index": 0, "delta": {"content": "Hello "}, "logprobs": {"content": [{"token": "Hello", "logprob": -0.5}]}}]}, {"choices": [{"index": 0, "delta": {"content": "there."}, "logprobs": {"content": [{"token": " there.", "logprob": -1.5, "bytes": [32], "top_logprobs": [{"token": " you", "logprob": -2.5, "bytes": None}]}]}, "finish_reason": "stop"}]}, usage()]),
    "odd_finish_null": Habit("help.aliyun.com/zh/model-studio", events=[chunk({"content": "Hello "}, "null"), chunk({"content": "there."}, "null"), STOP, usage()]),
    "odd_finish_word": Habit("microsoft/semantic-kernel", events=[chunk({"content": "Hello "}, "generating"), chunk({"content": "there."}, "generating"), STOP, usage()]),
    "odd_indented": Habit("ollama/ollama", events=["".join(f"  data: {json.dumps(one)}\n\n" for one in (text(), STOP, usage()))]),
    "odd_warning": Habit("BerriAI/litellm", events=[{"type": "warning", "message": "this model is deprecated"}, text(), STOP, usage()]),
    "odd_index_text": Habit("lm-sys/FastChat", events=[{"choices": [{"index": "0", "delta": {"content": "Hello there."}, "finish_reason": "stop"}]}, usage()]),
    "odd_event_done": Habit("vercel/ai", events=[text(), usage(), "event: done\ndata: {}\n\n"], done=False),
    "odd_error_at_last": Habit("BerriAI/litellm", events=[text(), STOP, usage(), {"error": {"code": 500, "message": "no more chunks"}}]),
    "odd_half_at_last": Habit("vllm-project/vllm", events=[text(), STOP, usage(), 'data: {"choices": [], "us\n\n'], done=False),
    "odd_refusal": Habit("platform.openai.com/docs/guides/structured-outputs", events=[chunk({"refusal": "Hello there."}), STOP, usage()]),
    "odd_other_index": Habit("run-llama/llama_index", events=[{"choices": [{"index": 1, "delta": {"content": "Hello there."}}]}, {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}, usage()]),
    "odd_one_choice": Habit("datawhalechina/self-llm", events=[{"choices": {"index": 0, "delta": {"content": "Hello there."}, "finish_reason": "stop"}}, usage()]),
    "odd_long_number": Habit("html.spec.whatwg.org/multipage/server-sent-events", events=['data: {"created": ' + "9" * 5_000 + ', "choices": [{"delta": {"content": "Hello there."}, "finish_reason": "stop"}]}\n\n', usage()]),
    "odd_returns_only": Habit("html.spec.whatwg.org/multipage/server-sent-events", events=['data: {"choices": [{"delta": {"content": "Hello there."}, "finish_reason": "stop"}]}\r\r', usage()]),
    "odd_done_twice": Habit("QuantumNous/new-api", events=[text(), STOP, usage(), "data: [DONE]\n\n"]),
}  # fmt: skip
"""All of them say ``Hello there.``"""

CALLS = {
    "calls_same_index": Habit("ollama/ollama; NousResearch/hermes-agent#3468", events=[calls(call("add", '{"a": 1}', index=0, id="x1")), calls(call("sub", '{"b": 2}', index=0, id="x2")), TOOLS]),
    "calls_same_index_same_name": Habit("su-kaka/gcli2api#406", events=[calls(call("add", '{"a": 1}', index=0, id="x1")), calls(call("add", '{"b": 2}', index=0, id="x2")), TOOLS]),
    "calls_same_index_no_ids": Habit("BerriAI/litellm#11999", events=[calls(call("add", '{"a": 1}', index=0)), calls(call("sub", '{"b": 2}', index=0)), TOOLS]),
    "calls_same_chunk_index_0": Habit("omnigent-ai/omnigent#28", events=[calls(call("add", '{"a": 1}', index=0, id="x1"), call("sub", '{"b": 2}', index=0, id="x2")), TOOLS]),
    "calls_without_index": Habit("google-gemini/cookbook", events=[calls(call("add", '{"a": 1}', id="x1")), calls(call("sub", '{"b": 2}', id="x2")), TOOLS]),
    "calls_without_ids": Habit("ggml-org/llama.cpp", events=[calls(call("add", '{"a": 1}', index=0), call("sub", '{"b": 2}', index=1)), TOOLS]),
    "calls_empty_ids": Habit("vllm-project/vllm", events=[calls(call("add", '{"a": 1}', index=0, id=""), call("sub", '{"b": 2}', index=1, id="")), TOOLS]),
    "calls_same_ids": Habit("run-llama/llama_index", events=[calls(call("add", '{"a": 1}', index=0, id="call_0"), call("sub", '{"b": 2}', index=1, id="call_0")), TOOLS]),
    "calls_interleaved": Habit("QwenLM/Qwen-Agent#943", events=[calls(call("add", '{"a"', index=0, id="x1"), call("sub", '{"b"', index=1, id="x2")), calls({"index": 0, "function": {"arguments": ": 1}"}}), calls({"index": 1, "function": {"arguments": ": 2}"}}), TOOLS]),
    "calls_name_repeated": Habit("sgl-project/sglang", events=[calls(call("add", '{"a"', index=0, id="x1")), calls(call("add", ": 1}", index=0, id="x1")), calls(call("sub", '{"b": 2}', index=1, id="x2")), TOOLS]),
    "calls_arguments_object": Habit("ollama/ollama", events=[calls(call("add", {"a": 1}, index=0, id="x1"), call("sub", {"b": 2}, index=1, id="x2")), TOOLS]),
    "calls_hollow_first": Habit("envoyproxy/ai-gateway#1465", events=[calls(call("add", "{}", index=0, id="x1")), calls({"index": 0, "function": {"arguments": '{"a"'}}), calls({"index": 0, "function": {"arguments": ": 1}"}}), calls(call("sub", {}, index=1, id="x2")), calls({"index": 1, "function": {"arguments": '{"b": 2}'}}), TOOLS]),
    "calls_in_another_choice": Habit("CopilotC-Nvim/CopilotChat.nvim", events=[text("Let me see."), {"choices": [{"index": 1, "delta": {"tool_calls": [call("add", '{"a": 1}', index=0, id="x1"), call("sub", '{"b": 2}', index=1, id="x2")]}}]}, {"choices": [{"index": 1, "delta": {}, "finish_reason": "tool_calls"}]}]),
    "calls_beside_the_message": Habit("QuantumNous/new-api", events=[{"choices": [{"index": 0, "delta": {}, "tool_calls": [call("add", '{"a": 1}', index=0, id="x1"), call("sub", '{"b": 2}', index=1, id="x2")]}]}, TOOLS]),
    "calls_marked_names": Habit("vllm-project/vllm; openai/harmony", events=[calls(call("add<|channel|>commentary", '{"a": 1}', index=0, id="x1"), call(" sub\n", '{"b": 2}', index=1, id="x2")), TOOLS]),
    "calls_one_without_name": Habit("ggml-org/llama.cpp", events=[calls(call("add", '{"a": 1}', index=0, id="x1"), call("", '{"c": 3}', index=1, id="x3"), call("sub", '{"b": 2}', index=2, id="x2")), TOOLS]),
    "calls_fenced": Habit("ollama/ollama", events=[calls(call("add", '```json\n{"a": 1}\n```', index=0, id="x1"), call("sub", '{"b": 2}', index=1, id="x2")), TOOLS]),
    "calls_flat": Habit("cloudflare/ai", events=[calls({"name": "add", "arguments": {"a": 1}}, {"name": "sub", "arguments": {"b": 2}}), TOOLS]),
    "calls_parameters": Habit("docs.cohere.com/docs/compatibility-api", events=[calls({"index": 0, "id": "x1", "function": {"name": "add", "parameters": {"a": 1}}}, {"index": 1, "id": "x2", "function": {"name": "sub", "parameters": {"b": 2}}}), TOOLS]),
    "calls_quoted": Habit("ggml-org/llama.cpp", events=[calls(call("add", json.dumps('{"a": 1}'), index=0, id="x1"), call("sub", json.dumps('{"b": 2}'), index=1, id="x2")), TOOLS]),
    "calls_all_so_far": Habit("QwenLM/Qwen-Agent", events=[calls(call("add", '{"a"', index=0, id="x1")), calls(call("add", '{"a": 1', index=0, id="x1")), calls(call("add", '{"a": 1}', index=0, id="x1")), calls(call("sub", '{"b": 2}', index=1, id="x2")), TOOLS]),
    "calls_index_texts": Habit("lm-sys/FastChat", events=[calls(call("add", '{"a"', index="0", id="x1")), calls({"index": 0, "function": {"arguments": ": 1}"}}), calls(call("sub", '{"b": 2}', index="1", id="x2")), TOOLS]),
    "calls_empty_entry": Habit("vllm-project/vllm", events=[calls({"index": 0, "id": "", "function": {"name": "", "arguments": ""}}), calls(call("add", '{"a": 1}', index=1, id="x1"), call("sub", '{"b": 2}', index=2, id="x2")), TOOLS]),
    "calls_finish_stop": Habit("vllm-project/vllm", events=[calls(call("add", '{"a": 1}', index=0, id="x1"), call("sub", '{"b": 2}', index=1, id="x2")), STOP]),
    "calls_whole_in_finish": Habit("groq/groq-python", events=[calls(call("add", '{"a": 1}', index=0, id="x1"), call("sub", '{"b": 2}', index=1, id="x2"), finish="tool_calls")]),
}  # fmt: skip
"""All of them call ``add`` with ``{"a": 1}`` and then another tool with ``{"b": 2}``."""

BACK = {
    "back_gemini": Habit("nanbingxyz/5ire#405", events=[calls(call("add", '{"a": 1}', index=0, id="x1", **_SIGNED)), TOOLS]),
    "back_deepseek": Habit("api-docs.deepseek.com/guides/thinking_mode", events=[chunk({"reasoning_content": "I must "}), chunk({"reasoning_content": "add."}), calls(call("add", '{"a": 1}', index=0, id="x1")), TOOLS]),
    "back_openrouter": Habit("openrouter.ai/docs/use-cases/reasoning-tokens", events=[chunk({"reasoning": "I must ", "reasoning_details": [{"type": "reasoning.text", "text": "I must ", "index": 0}]}), chunk({"reasoning": "add.", "reasoning_details": [{"type": "reasoning.text", "text": "add.", "signature": "sig", "index": 0}]}), calls(call("add", '{"a": 1}', index=0, id="x1")), TOOLS]),
    "back_litellm": Habit("docs.litellm.ai/docs/reasoning_content", events=[chunk({"thinking_blocks": [{"type": "thinking", "thinking": "I must add.", "signature": "sig"}], "reasoning_content": "I must add."}), calls(call("add", '{"a": 1}', index=0, id="x1", provider_specific_fields={"thought_signature": "c2ln"})), TOOLS]),
}  # fmt: skip

ENDS = {
    "end_done_only": Habit("earendil-works/pi#4345", events=[text()]),
    "end_camel_case": Habit("jakobdylanc/llmcord#84", events=[text(), {"choices": [{"delta": {}, "finishReason": "stop"}]}]),
    "end_eos": Habit("docs.together.ai/reference/chat-completions", events=[chunk({"content": "Hello there."}, "eos")]),
    "end_stop_upper": Habit("ai.google.dev/api/generate-content#FinishReason", events=[chunk({"content": "Hello there."}, "STOP")]),
    "end_calls_none": Habit("sgl-project/sglang", events=[chunk({"content": "Hello there."}, "tool_calls")]),
    "end_camel_word": Habit("lmstudio-ai/lmstudio-bug-tracker", events=[chunk({"content": "Hello there."}, "maxPredictedTokensReached")]),
    "end_no_done": Habit("vercel/ai", events=[text(), STOP], done=False),
    "end_max_tokens": Habit("ai.google.dev/api/generate-content#FinishReason", events=[text(), chunk({}, "MAX_TOKENS")]),
    "end_model_length": Habit("docs.mistral.ai/api", events=[text(), chunk({}, "model_length")]),
    "end_safety": Habit("ai.google.dev/api/generate-content#FinishReason", events=[chunk({}, "SAFETY")]),
    "end_prohibited": Habit("google-gemini/cookbook", events=[chunk({}, "content_filter: PROHIBITED_CONTENT")]),
    "end_sensitive": Habit("docs.z.ai/api-reference/llm/chat-completion", events=[text(), chunk({}, "sensitive")]),
    "end_camel_filter": Habit("microsoft/semantic-kernel", events=[text(), chunk({}, "contentFiltered")]),
    "end_calls_lost": Habit("vllm-project/vllm", events=[chunk({}, "tool_calls"), usage()]),
    "end_null_cut": Habit("help.aliyun.com/zh/model-studio", events=[chunk({"content": "Hello"}, "null")], done=False),
    "end_malformed_call": Habit("google/adk-python", events=[chunk({}, "MALFORMED_FUNCTION_CALL")]),
    "end_gemini_filter_malformed": Habit("BerriAI/litellm", events=[chunk({}, "function_call_filter: MALFORMED_FUNCTION_CALL")]),
    "end_error": Habit("openrouter.ai/docs/api-reference/streaming", events=[text(), chunk({"content": ""}, "error")]),
    "end_resource": Habit("api-docs.deepseek.com/api/create-chat-completion", events=[text(), chunk({}, "insufficient_system_resource")]),
    "end_nothing": Habit("openai/openai-python", events=[]),
    "end_endless": Habit("ollama/ollama#7125; abetlen/llama-cpp-python#1907", events=[text("word ")] * 3_000 + [STOP, usage(10, 3_000)]),
}  # fmt: skip

USAGE = {
    "usage_none": Habit("ollama/ollama", events=[text("one two three four five six"), STOP]),
    "usage_zero": Habit("mudler/LocalAI#1194", events=[text("one two three four five six"), STOP, usage(0, 0)]),
    "usage_xai": Habit("docs.x.ai/docs/guides/reasoning", events=[text(), STOP, usage(10, 4, total_tokens=1_014)]),
    "usage_reasoning_apart": Habit("vercel/ai", events=[text(), STOP, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 1_000}}}]),
    "usage_perplexity": Habit("docs.perplexity.ai/getting-started/models/models/sonar-deep-research", events=[text(), STOP, usage(10, 4, total_tokens=14, reasoning_tokens=1_000)]),
    "usage_anthropic_sums": Habit("BerriAI/litellm", events=[text(), STOP, usage(3, 4, total_tokens=7, cache_read_input_tokens=5, cache_creation_input_tokens=2)]),
    "usage_camel": Habit("vercel/ai", events=[text(), STOP, {"choices": [], "usage": {"promptTokens": 10, "completionTokens": 4}}]),
    "usage_anthropic": Habit("docs.anthropic.com/en/api/messages", events=[text(), STOP, {"choices": [], "usage": {"input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 4}}]),
    "usage_gemini": Habit("ai.google.dev/api/generate-content#UsageMetadata", events=[text(), STOP, {"choices": [], "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 6, "totalTokenCount": 20}}]),
    "usage_groq": Habit("console.groq.com/docs/api-reference", events=[text(), chunk({}, "stop", x_groq={"usage": {"prompt_tokens": 10, "completion_tokens": 4}})]),
    "usage_moonshot": Habit("platform.moonshot.ai/docs/guide/utilize-the-streaming-output-feature-of-kimi-api", events=[text(), {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 10, "completion_tokens": 4}}]}]),
    "usage_each_chunk": Habit("vllm-project/vllm", events=[text(usage={"prompt_tokens": 10, "completion_tokens": 2}), chunk({}, "stop", usage={"prompt_tokens": 10, "completion_tokens": 4})]),
    "usage_floats": Habit("langchain4j/langchain4j", events=[text(), STOP, {"choices": [], "usage": {"prompt_tokens": 10.0, "completion_tokens": "4"}}]),
    "usage_details": Habit("platform.openai.com/docs/guides/prompt-caching", events=[text(), STOP, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 6}, "completion_tokens_details": {"reasoning_tokens": 3}}}]),
    "usage_deepseek": Habit("api-docs.deepseek.com/guides/kv_cache", events=[text(), STOP, usage(10, 4, prompt_cache_hit_tokens=6, prompt_cache_miss_tokens=4)]),
    "usage_timings": Habit("ggml-org/llama.cpp", events=[text(), chunk({}, "stop", timings={"prompt_n": 10, "predicted_n": 4})]),
    "usage_tier": Habit("platform.openai.com/docs/guides/priority-processing", events=[text(service_tier="priority"), chunk({}, "stop", service_tier="priority"), {"choices": [], "service_tier": "priority", "usage": {"prompt_tokens": 10, "completion_tokens": 4}}]),
    "usage_tier_inside": Habit("docs.claude.com/en/api/service-tiers", events=[text(), STOP, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "service_tier": "batch"}}]),
    "usage_audio": Habit("platform.openai.com/docs/guides/audio", events=[text(), STOP, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"audio_tokens": 6}, "completion_tokens_details": {"audio_tokens": 3}}}]),
    "usage_cost": Habit("openrouter.ai/docs/use-cases/usage-accounting", events=[text(), STOP, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "cost": 0.0125, "cost_details": {"upstream_inference_cost": None}}}]),
    "usage_cost_parts": Habit("docs.perplexity.ai/api-reference/chat-completions-post", events=[text(), STOP, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "search_context_size": "low", "cost": {"input_tokens_cost": 0.0, "output_tokens_cost": 0.0, "request_cost": 0.005, "total_cost": 0.005}}}]),
    "usage_ticks": Habit("docs.x.ai/docs/api-reference", events=[text(), STOP, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "num_sources_used": 2, "cost_in_usd_ticks": 37756000}}]),
    "usage_searches": Habit("docs.claude.com/en/docs/agents-and-tools/tool-use/web-search-tool", events=[text(), STOP, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "server_tool_use": {"web_search_requests": 2}}}]),
    "usage_hour": Habit("docs.claude.com/en/docs/build-with-claude/prompt-caching", events=[text(), STOP, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cache_write_tokens": 6, "cache_creation_token_details": {"ephemeral_1h_input_tokens": 6}}}}]),
    "usage_behind_done": Habit("BerriAI/litellm", events=[text(), STOP, "data: [DONE]\n\n", usage()]),
    "usage_in_delta": Habit("QuantumNous/new-api", events=[text(), chunk({"usage": {"prompt_tokens": 10, "completion_tokens": 4}}, "stop")]),
    "usage_of_tools": Habit("ai.google.dev/api/generate-content#UsageMetadata", events=[text(), STOP, {"choices": [], "usageMetadata": {"promptTokenCount": 7, "toolUsePromptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 14}}]),
    "usage_billed_units": Habit("docs.cohere.com/reference/chat", events=[text(), STOP, {"choices": [], "usage": {"billed_units": {"input_tokens": 10, "output_tokens": 4}}}]),
    "usage_null_each": Habit("platform.openai.com/docs/api-reference/chat/create#stream_options", events=[text(usage=None), chunk({}, "stop", usage=None), usage()]),
    "usage_negative_total": Habit("QuantumNous/new-api", events=[text(), STOP, usage(10, 4, total_tokens=-1)]),
}  # fmt: skip

ERRORS = {
    "error_code_number": _error("openrouter.ai/docs/api-reference/errors", error={"code": 400, "message": "bad tool"}),
    "error_context": _error("BerriAI/litellm", error={"code": 400, "message": "This endpoint's maximum context length is 8192 tokens."}),
    "error_context_code": _error("openai/openai-python", error={"code": "context_length_exceeded", "message": "too long"}, before=0),
    "error_402": _error("openrouter.ai/docs/api-reference/errors", error={"code": 402, "message": "Insufficient credits"}),
    "error_429_text": _error("BerriAI/litellm", error={"code": "429", "message": "slow down"}),
    "error_text": _error("groq/groq-python", error="no capacity"),
    "error_vllm": Habit("vllm-project/vllm", events=[text(), {"object": "error", "message": "bad tool", "type": "BadRequestError", "code": 400}]),
    "error_event": Habit("docs.anthropic.com/en/api/messages-streaming", events=[text(), 'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n']),
    "error_in_choice": Habit("openrouter.ai/docs/api-reference/streaming", events=[text(), {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": "upstream gone"}}]}]),
    "error_without_data": Habit("huggingface/text-generation-inference", events=[text(), '{"error": "no capacity", "error_type": "overloaded"}\n\n']),
    "error_line": Habit("ggml-org/llama.cpp", events=[text(), 'error: {"code": 503, "message": "no capacity"}\n\n'], done=False),
    "error_event_text": Habit("openai/openai-python", events=[text(), "event: error\ndata: no capacity\n\n"], done=False),
    "error_text_data": Habit("tiangolo/fastapi", events=[text(), "data: no capacity\n\n"], done=False),
    "error_empty": Habit("BerriAI/litellm", events=[text(error={}), STOP, usage()]),
    "cut_reasoning": Habit("openai/openai-python", events=[chunk({"reasoning_content": "think "})] * 200, cut=True),
    "cut_arguments": Habit("openai/openai-node", events=[calls(call("add", '{"a": "', index=0, id="x1")), *[calls({"index": 0, "function": {"arguments": "word "}})] * 200], cut=True),
}  # fmt: skip

HABITS = {**ODD, **CALLS, **BACK, **ENDS, **USAGE, **ERRORS}
