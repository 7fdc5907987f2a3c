"""Refusals: error shapes, quota and context in each provider's words, waits, redirects, refused fields."""
# ruff: noqa: E501 - a habit a line: their shapes are compared by eye

from localstack.llm.habits.shape import Habit

_GEMINI = "ai.google.dev/gemini-api/docs/openai"


def _openai(
    message: str, code: str | None = None, kind: str = "invalid_request_error", param: str | None = None
) -> object:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _context(source: str, message: str, status: int = 400, body: object = None) -> Habit:
    return Habit(source, status, body or {"error": {"message": message, "type": "invalid_request_error"}})


SHAPES = {
    "shape_object_error": Habit("vllm-project/vllm", 400, {"object": "error", "message": "bad tool", "type": "BadRequestError", "param": None, "code": 400}),
    "shape_list": Habit(f"{_GEMINI}; Gitlawb/openclaude#67", 400, [{"error": {"code": 400, "message": "bad tool", "status": "INVALID_ARGUMENT"}}]),
    "shape_error_text": Habit("ollama/ollama", 400, {"error": "bad tool"}),
    "shape_detail_text": Habit("abetlen/llama-cpp-python", 422, {"detail": "bad tool"}),
    "shape_detail_list": Habit("fastapi.tiangolo.com/tutorial/handling-errors", 422, {"detail": [{"loc": ["body", "tools"], "msg": "bad tool", "type": "value_error"}]}),
    "shape_message": Habit("docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors", 400, {"message": "bad tool"}),
    "shape_errors_list": Habit("developers.cloudflare.com/workers-ai/platform/errors", 400, {"errors": [{"code": 5006, "message": "bad tool"}], "success": False}),
    "shape_errors_texts": Habit("huggingface/text-generation-inference", 422, {"errors": ["bad tool"]}),
    "shape_nested": Habit("BerriAI/litellm", 400, {"error": {"error": {"message": "bad tool"}}}),
    "shape_json_in_message": Habit("Kilo-Org/kilocode#6018", 400, _openai('{"error": {"code": 400, "message": "bad tool", "status": "INVALID_ARGUMENT"}}')),
    "shape_litellm": Habit("BerriAI/litellm", 400, _openai('litellm.BadRequestError: OpenAIException - {"error": {"message": "bad tool"}}', "400")),
    "shape_openrouter_raw": Habit("openrouter.ai/docs/api-reference/errors", 400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error": {"message": "bad tool"}}', "provider_name": "X"}}}),
    "shape_code_reason": Habit("novita.ai/docs/api-reference/basic-error-code", 400, {"code": 400, "reason": "INVALID_REQUEST_BODY", "message": "bad tool", "metadata": {}}),
    "shape_anthropic": Habit("docs.anthropic.com/en/api/errors", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "bad tool"}}),
    "shape_fields": Habit("learn.microsoft.com/aspnet/core/web-api/handle-errors", 400, {"title": "One or more validation errors occurred.", "errors": {"tools": ["bad tool"]}}),
    "shape_issues": Habit("colinhacks/zod", 400, {"error": {"issues": [{"code": "custom", "path": ["tools"], "message": "bad tool"}], "name": "ZodError"}}),
    "shape_fault": Habit("docs.apigee.com/api-platform/fundamentals/fault-handling", 400, {"fault": {"faultstring": "bad tool", "detail": {"errorcode": "x"}}}),
    "shape_plain_text": Habit("ggml-org/llama.cpp", 400, "bad tool"),
    "shape_html": Habit("openai/openai-python", 502, "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"),
    "shape_key_echoed": Habit("openai/openai-python", 401, _openai("Incorrect API key provided: sk-secret.", "invalid_api_key")),
}  # fmt: skip
"""Errors that say ``bad tool``, or what their name says."""

QUOTA = {
    "quota_code_429": Habit("BerriAI/litellm", 429, _openai("You exceeded your current quota, please check your plan.", "429", "insufficient_quota")),
    "quota_moonshot": Habit("platform.moonshot.ai/docs/api/chat", 429, _openai("Your account is suspended, please check your plan and billing details", None, "exceeded_current_quota_error")),
    "quota_litellm": Habit("BerriAI/litellm", 429, _openai("litellm.RateLimitError: You exceeded your current quota, please check your plan and billing details", "429", "throttling_error")),
    "quota_deepseek": Habit("api-docs.deepseek.com/quick_start/error_codes", 402, _openai("Insufficient Balance", "invalid_request_error", "unknown_error")),
    "quota_openrouter": Habit("openrouter.ai/docs/api-reference/errors", 402, {"error": {"code": 402, "message": "Insufficient credits. Add more and try again."}}),
    "quota_anthropic": Habit("docs.anthropic.com/en/api/errors", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the API."}}),
    "quota_novita": Habit("novita.ai/docs/api-reference/basic-error-code", 403, {"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "not enough balance"}),
    "quota_xai": Habit("docs.x.ai/docs/key-information/debugging", 403, {"code": "The caller does not have permission", "error": "Your team has used all available credits or reached its monthly spending limit."}),
    "quota_dashscope": Habit("help.aliyun.com/zh/model-studio/error-code", 400, _openai("Access denied, please make sure your account is in good standing.", "Arrearage", "Arrearage")),
    "quota_key_limit": Habit("openrouter.ai/docs/api-reference/limits", 403, {"error": {"code": 403, "message": "Key limit exceeded (total limit). Manage it in the settings"}}),
    "quota_free_tier": Habit("help.aliyun.com/zh/model-studio/error-code", 403, _openai("The free tier of the model has been exhausted.", "AllocationQuota.FreeTierOnly", "AllocationQuota.FreeTierOnly")),
    "quota_one_api": Habit("songquanpeng/one-api", 403, _openai("\u8be5\u4ee4\u724c\u989d\u5ea6\u5df2\u7528\u5c3d", None, "one_api_error")),
    "quota_huggingface": Habit("huggingface/huggingface_hub", 402, {"error": "You have depleted your monthly included credits."}),
}  # fmt: skip

CONTEXT = {
    "context_openai": _context("platform.openai.com/docs/guides/error-codes", "", 400, _openai("This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.", "context_length_exceeded", param="messages")),
    "context_llama_cpp_python": _context("abetlen/llama-cpp-python", "Requested tokens (9001) exceed context window of 512"),
    "context_llama_cpp_500": _context("abetlen/llama-cpp-python", "Requested tokens (9001) exceed context window of 512", 500),
    "context_llama_server": _context("ggml-org/llama.cpp", "", 400, {"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error"}}),
    "context_anthropic": _context("docs.anthropic.com/en/api/errors", "prompt is too long: 210000 tokens > 200000 maximum"),
    "context_gemini": _context(_GEMINI, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    "context_xai": _context("earendil-works/pi#129", "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    "context_groq": _context("console.groq.com/docs/errors", "Please reduce the length of the messages or completion."),
    "context_glm": _context("mangowhoiscloud/geode#668", "Prompt exceeds max length"),
    "context_kimi": _context("archestra-ai/archestra#6044", "Your request exceeded model token limit: 262144 (requested: 566084)"),
    "context_poolside": _context("earendil-works/pi#4943", "Input length 131393 exceeds the maximum allowed input length of 131040 tokens."),
    "context_parentheses": _context("earendil-works/pi#5677", "Input length (265330) exceeds model's maximum context length (262144)."),
    "context_atlas": _context("0xBakeer/inference-atlas#186", "Prompt too long: 5152 tokens exceeds max_seq_len 2048 (leave room for output tokens)"),
    "context_limit": _context("openclaw/openclaw#20539", "input length and `max_tokens` exceed context limit: 170636 + 34048 > 200000"),
    "context_tgi": _context("huggingface/text-generation-inference", "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000", 422),
    "context_dashscope": _context("help.aliyun.com/zh/model-studio/error-code", "Range of input length should be [1, 30720]"),
    "context_lmstudio": _context("lmstudio-ai/lmstudio-bug-tracker", "Trying to keep the first 9001 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough. The number of tokens to keep from the initial prompt is greater than the context length"),
    "context_nova": _context("docs.aws.amazon.com/nova/latest/userguide", "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again."),
    "context_vertex": _context("cloud.google.com/vertex-ai/generative-ai/docs", "Unable to submit request because the input token count is 1100000 but model only supports up to 1048576. Reduce the input token count and try again."),
    "context_glm_chinese": _context("docs.bigmodel.cn/cn/api/api-code", "Prompt \u8d85\u957f"),
    "context_413": _context("docs.anthropic.com/en/api/errors", "Request exceeds the maximum size", 413),
    "context_tpm": _context("openai/openai-python", "", 429, _openai("Request too large for gpt-4 on tokens per min (TPM): Limit 10000, Requested 12000. The input or output tokens must be reduced.", "rate_limit_exceeded", "tokens")),
    "throttled_tokens": Habit("jin-bo/agentao#88", 429, {"__type": "ThrottlingException", "message": "Too many tokens, please wait before trying again."}),
}  # fmt: skip

FILTERS = {
    "filter_deepseek": Habit("deepseek-ai/DeepSeek-V3", 400, _openai("Content Exists Risk", "invalid_request_error")),
    "filter_portkey": Habit("Portkey-AI/gateway", 446, _openai("The guardrail checks defined in the config failed.", None, "hooks_failed")),
    "filter_glm": Habit("docs.bigmodel.cn/cn/api/api-code", 400, {"error": {"code": "1301", "message": "\u7cfb\u7edf\u68c0\u6d4b\u5230\u8f93\u5165\u6216\u751f\u6210\u5185\u5bb9\u53ef\u80fd\u5305\u542b\u4e0d\u5b89\u5168\u6216\u654f\u611f\u5185\u5bb9"}}),
    "filter_ark": Habit("www.volcengine.com/docs/82379/1299023", 400, {"error": {"code": "InputTextSensitiveContentDetected", "message": "The request failed because of its input", "type": "BadRequest"}}),
    "filter_xai": Habit("docs.x.ai/docs/key-information/debugging", 403, {"code": "Client specified an invalid argument", "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"}),
    "filter_cloudflare": Habit("developers.cloudflare.com/ai-gateway/features/guardrails", 424, {"error": {"code": 2016, "message": "Prompt blocked due to security configurations"}}),
    "filter_gemini": Habit("ai.google.dev/api/generate-content#PromptFeedback", 200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
}  # fmt: skip

_LIMITED = _openai("Rate limit reached for requests", "rate_limit_exceeded", "requests")
WAITS = {
    "wait_hour": Habit("openai/openai-python", 429, _LIMITED, headers={"retry-after": "3600"}),
    "wait_ms": Habit("learn.microsoft.com/azure/ai-services/openai/how-to/quota", 429, _LIMITED, headers={"retry-after-ms": "1500"}),
    "wait_reset": Habit("platform.openai.com/docs/guides/rate-limits", 429, _LIMITED, headers={"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "99"}),
    "wait_gemini": Habit("google-gemini/gemini-cli", 429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota.", "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]}}]),
    "wait_words": Habit("console.groq.com/docs/rate-limits", 429, _openai("Rate limit reached for model in TPM. Please try again in 7m12s.", "rate_limit_exceeded", "tokens")),
    "wait_azure_ms": Habit("openai/openai-python", 429, _LIMITED, headers={"x-ms-retry-after-ms": "2500"}),
    "wait_rate_as_quota": Habit("google-gemini/gemini-cli", 429, [{"error": {"code": 429, "message": "Resource has been exhausted (e.g. check quota).", "status": "RESOURCE_EXHAUSTED"}}], headers={"retry-after": "1"}),
    "wait_hour_as_prompt": Habit("inference-docs.cerebras.ai/support/rate-limits", 429, {"message": "Tokens per hour limit exceeded - too many tokens processed.", "type": "too_many_tokens_error", "param": "quota", "code": "token_quota_exceeded"}, headers={"x-ratelimit-reset-tokens-minute": "1.5"}),
    "wait_capacity_498": Habit("console.groq.com/docs/errors", 498, _openai("Flex tier capacity exceeded. Please try again in 1s.", "capacity_exceeded")),
    "wait_two": Habit("envoyproxy/envoy", 429, _LIMITED, headers={"retry-after": "1, 2"}),
    "wait_policy": Habit("datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers", 429, _LIMITED, headers={"ratelimit": '"default";r=0;t=3'}),
    "wait_metadata": Habit("openrouter.ai/docs/api-reference/errors", 429, {"error": {"code": 429, "message": "Rate limited upstream", "metadata": {"retry_after_seconds": 2}}}),
    "wait_chinese": Habit("docs.bigmodel.cn/cn/api/api-code", 429, _openai("\u8bf7\u6c42\u8fc7\u4e8e\u9891\u7e41\uff0c\u8bf7\u5728 3 \u79d2\u540e\u91cd\u8bd5", "1302")),
    "wait_loading": Habit("huggingface/api-inference-community", 503, {"error": "Model is currently loading", "estimated_time": 2.5}),
    "wait_busy_400": Habit("BerriAI/litellm", 400, _openai("The model is overloaded. Please try again in 2s.", "502", "upstream_error")),
    "wait_overloaded": Habit("docs.anthropic.com/en/api/errors", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, headers={"retry-after": "5"}),
}  # fmt: skip

REDIRECTS = {
    "redirect_slash": Habit("fastapi/fastapi", 307, redirect="PATH/"),
    "redirect_slash_308": Habit("vercel/next.js", 308, redirect="PATH/"),
    "redirect_elsewhere": Habit("encode/httpx", 308, redirect="https://example.invalid/v1/chat/completions"),
    "redirect_302": Habit("openai/openai-python", 302, redirect="PATH/"),
}


def _field(source: str, when: str, message: str, status: int = 400, body: object = None) -> Habit:
    return Habit(source, status, body or _openai(message), when=when)


FIELDS = {
    "refuses_max_tokens": _field("teilomillet/gollm#33", "max_tokens", "", 400, _openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "unsupported_parameter", param="max_tokens")),
    "refuses_max_completion_tokens": _field("editor-code-assistant/eca#231", "max_completion_tokens", "", 422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted", "input": 50}]}),
    "refuses_high_limit": _field("danny-avila/LibreChat", "max_tokens>40", "max_tokens is too large: 50. This model supports at most 40 completion tokens, whereas you provided 50."),
    "refuses_stream_options": _field("anomalyco/opencode#4698; continuedev/continue#12936", "stream_options", "Unknown field: stream_options: Extra inputs are not permitted"),
    "refuses_stream_options_chinese": _field("songquanpeng/one-api", "stream_options", "\u4e0d\u652f\u6301\u7684\u53c2\u6570: stream_options"),
    "refuses_stream_options_unsaid": _field("openai/openai-python", "stream_options", "The 'stream_options' parameter is not for this deployment."),
    "refuses_stream_options_field": _field("ajv-validator/ajv", "stream_options", "", 400, {"error": {"message": "Validation failed", "errors": [{"instancePath": "", "message": "must NOT have additional properties", "params": {"additionalProperty": "stream_options"}}]}}),
    "refuses_high_limit_bedrock": _field("langchain-ai/langchain-aws", "max_tokens>40", "The maximum tokens you requested exceeds the model limit of 40. Try again with a maximum tokens value that is lower than 40."),
    "refuses_high_limit_vertex": _field("cloud.google.com/vertex-ai/generative-ai/docs", "max_tokens>40", "Unable to submit request because it has a maxOutputTokens value of 50 but the supported range is from 1 (inclusive) to 41 (exclusive)."),
    "refuses_stream": _field("openai/openai-python", "stream", "", 400, _openai("Unsupported value: 'stream' does not support true with this model.", "unsupported_value", param="stream")),
    "refuses_system": _field("openai/openai-python", "role:system", "", 400, _openai("Unsupported value: 'messages[0].role' does not support 'system' with this model.", "unsupported_value", param="messages[0].role")),
    "refuses_system_template": _field("vllm-project/vllm", "role:system", "", 400, {"object": "error", "message": "System role not supported", "type": "BadRequestError", "code": 400}),
    "refuses_developer_instruction": _field("google-gemini/cookbook", "role:system", "Developer instruction is not enabled for models/gemma-3-27b-it"),
    "refuses_temperature": _field("langchain-ai/langchain", "temperature", "", 400, _openai("Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is supported.", "unsupported_value", param="temperature")),
    "refuses_parallel": _field("openai/openai-python", "parallel_tool_calls", "", 400, _openai("Unsupported parameter: 'parallel_tool_calls' is not supported with this model.", "unsupported_parameter", param="parallel_tool_calls")),
    "refuses_seed": _field("mistralai/client-python", "seed", "", 422, {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}, "type": "invalid_request_error"}),
    "refuses_reasoning_effort": _field("groq/groq-python", "reasoning_effort", "`reasoning_effort` is not supported with this model"),
    "refuses_reasoning_back": _field("groq/groq-typescript", "field:reasoning", "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property 'reasoning' is unsupported)]"),
    "wants_signature": Habit("nanbingxyz/5ire#405", 400, {"error": {"code": 400, "message": "Function call is missing a thought_signature in functionCall parts.", "status": "INVALID_ARGUMENT"}}),
}  # fmt: skip

HABITS = {**SHAPES, **QUOTA, **CONTEXT, **FILTERS, **WAITS, **REDIRECTS, **FIELDS}
