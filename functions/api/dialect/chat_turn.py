"""From a chat completions request to the run that answers it."""

from typing import Any

from functions.api.dialect import choice, runs
from functions.api.dialect.chat_request import ChatRequest, chat_options, checked_choice, checked_messages
from functions.api.dialect.messages import chat_tools
from functions.api.dialect.turn import bounded_tools
from functions.api.submit.submission import Submission
from shared.tasks import stored_chats
from shared.tasks.model import dumps

_OWN = ("timeout_s", "max_cost_usd", "metadata", "webhook_url")


def submission_of(asked: ChatRequest) -> Submission:
    """Return what a request wants run.

    Raises:
        Problem: it does not fit together.
    """
    messages = checked_messages(asked.messages)
    params: dict[str, Any] = {name: getattr(asked, name) for name in _OWN}
    params |= {"dialect": "chat", "input_json": True, "instructions": "", "options": chat_options(asked) or None}
    params["max_output_tokens"] = asked.max_completion_tokens or asked.max_tokens
    params["store"] = asked.store
    if asked.tools:
        params["tools"] = bounded_tools(chat_tools(asked.tools, nested=True))
    if asked.tool_choice is not None:
        params["tool_choice"] = choice.fitting(
            checked_choice(asked.tool_choice), params.get("tools"), agent=asked.agent
        )
    return Submission(
        message=dumps(messages),
        agent=asked.agent,
        session_id=None,
        model=asked.model,
        priority=asked.priority,
        params=params,
        inline=runs.inline_of(messages, "messages"),
        beforehand=stored_chats.note if asked.store else None,
    )
