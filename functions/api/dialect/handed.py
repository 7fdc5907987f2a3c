"""What a provider wants back with the model's own messages, as a chat client keeps it and sends it back.

A chat client replays the assistant's messages as it got them. DeepSeek wants its ``reasoning_content`` in them,
Anthropic's models behind gateways their ``thinking_blocks``, OpenRouter its ``reasoning_details``, and Gemini the
signature of each call (https://ai.google.dev/gemini-api/docs/thought-signatures). These fields go out with an answer
and come in with a request. A provider that refuses one gets none (the worker's profile of it). What else a message
holds is left out.
"""

from typing import Any

FIELDS = ("reasoning_content", "reasoning_details", "thinking_blocks", "extra_content")
"""Of an assistant's message."""
OF_CALLS = ("extra_content", "provider_specific_fields")
"""Of a call."""


def handed_out(data: dict[str, Any]) -> dict[str, Any]:
    """Return what of a run's result its client is to keep with the message."""
    extra = data.get("extra")
    return _kept(extra, FIELDS) if isinstance(extra, dict) else {}


def signed(call: dict[str, Any]) -> dict[str, Any]:
    """Return what a run's call holds that its client is to keep with it."""
    extra = call.get("extra")
    return _kept(extra, OF_CALLS) if isinstance(extra, dict) else {}


def handed_back(message: dict[str, Any]) -> dict[str, Any]:
    """Return what a client sends back with an assistant's message."""
    return _kept(message, FIELDS)


def signed_back(call: dict[str, Any]) -> dict[str, Any]:
    """Return what it sends back with a call."""
    return _kept(call, OF_CALLS)


def _kept(holder: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: holder[name] for name in names if holder.get(name) not in (None, "", [], {})}
