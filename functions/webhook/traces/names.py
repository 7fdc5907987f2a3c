"""Names of what spans carry. They stand here only: OpenTelemetry's for generative AI are not stable yet.

Source: https://github.com/open-telemetry/semantic-conventions-genai (its state of autumn 2026: `gen-ai-agent-spans`,
`client-inference`). What it has no name for begins with ``sluice.``.
"""

SCOPE = "sluice.runs"
SERVICE = "sluice"

INVOKE_AGENT, CHAT, EXECUTE_TOOL = "invoke_agent", "chat", "execute_tool"
"""Values of `OPERATION`: a run, a model call, a tool's call."""

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
AGENT = "gen_ai.agent.name"
CONVERSATION = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
TOOL = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
FUNCTION = "function"

ERROR_TYPE = "error.type"
SERVER, PORT = "server.address", "server.port"
USER = "user.id"
SERVICE_NAME, SERVICE_VERSION = "service.name", "service.version"
SDK_NAME, SDK_LANGUAGE, SDK_VERSION = "telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version"

COST = "sluice.cost_usd"
"""What a model call cost, or a run with all its calls but not its children's, in USD by Sluice's prices."""
RUN_INPUT_TOKENS, RUN_OUTPUT_TOKENS = "sluice.input_tokens", "sluice.output_tokens"
"""All of a run's own calls. Not by the conventions' names, which receivers add up over spans and price."""
TASK, STATUS, LANE, TIER = "sluice.task_id", "sluice.status", "sluice.lane", "sluice.tier"
QUEUED_S, WAITED_S = "sluice.queued_s", "sluice.waited_s"
CALLS, STEP, NTH, KIND = "sluice.model_calls", "sluice.step", "sluice.nth", "sluice.kind"
CALL = "sluice.call"
DROPPED = "sluice.spans_dropped"
UNRECORDED = "sluice.unrecorded"
"""Set on the one span for calls that brought no recorded reply, and were paid for."""
METADATA = "sluice.metadata."
"""In front of each name of the client's own metadata."""
ATTEMPT, DELAY_S, REASON = "sluice.attempt", "sluice.delay_s", "sluice.reason"

_OF_HOST = {
    "openai.azure.com": "azure.ai.openai",
    "openai.com": "openai",
    "anthropic.com": "anthropic",
    "amazonaws.com": "aws.bedrock",
    "mistral.ai": "mistral_ai",
    "groq.com": "groq",
    "deepseek.com": "deepseek",
    "x.ai": "x_ai",
    "perplexity.ai": "perplexity",
    "cohere.com": "cohere",
    "generativelanguage.googleapis.com": "gcp.gemini",
}


def provider_of(host: str) -> str:
    """Return the conventions' name of a provider, by its host; of any other that speaks OpenAI's protocol, OpenAI's."""
    return next((name for tail, name in _OF_HOST.items() if host == tail or host.endswith(f".{tail}")), "openai")
