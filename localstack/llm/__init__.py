"""An OpenAI-compatible model that answers without a model: ``python -m localstack.llm --port N``.

It serves ``POST /v1/chat/completions`` (whole and streamed) and ``GET /v1/models`` in OpenAI's own shapes,
so that an unmodified ``openai`` client works against it, and it misbehaves on request. What a single call
does is chosen by a directive in the last user message (`localstack.llm.directives`) or by a model name
(`localstack.llm.models`); what all calls do, by the admin calls under ``/_sim/`` (`localstack.llm.admin`).
Tokens are counted as words, see `localstack.llm.tokens`.
"""
