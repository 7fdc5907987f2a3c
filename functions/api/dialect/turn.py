"""From a Responses request to the run that answers it."""

from typing import Any

from functions.api.contract.problem import Problem, invalid
from functions.api.dialect import before, choice, conversations, ids, messages, runs
from functions.api.dialect.options import options_of
from functions.api.dialect.request import TOOLS_BYTES, ConversationParam, ResponsesRequest
from functions.api.door.identity import Caller
from functions.api.submit.allowed import longest_message
from functions.api.submit.submission import Submission
from shared.tasks.model import dumps

_OWN = ("max_output_tokens", "timeout_s", "max_cost_usd", "metadata", "webhook_url", "previous_response_id")


def submission_of(caller: Caller, asked: ResponsesRequest) -> Submission:
    """Return what a request wants run.

    Raises:
        Problem: it does not fit together, or refers to what is not there.
    """
    session_id, open_calls = _before(caller, asked)
    options, echo = options_of(asked, tools=bool(asked.tools))
    params: dict[str, Any] = {name: getattr(asked, name) for name in _OWN}
    params |= {"dialect": "responses", "background": asked.background or None, "instructions": asked.instructions or ""}
    params |= {"options": options or None, "echo": echo or None, "end_user": asked.user}
    params["store"] = asked.store if asked.store is False else None
    params["conversation"] = conversation_id(asked)
    if asked.tools:
        params["tools"] = bounded_tools(messages.chat_tools(asked.tools, nested=False))
    if asked.tool_choice is not None:
        params["tool_choice"] = choice.fitting(
            messages.chat_tool_choice(asked.tool_choice), params.get("tools"), agent=asked.agent
        )
    inline: list[int] = []
    items = asked.input
    if not items:
        raise invalid("input must not be empty", "input")
    if isinstance(items, str) and len(items.encode()) > longest_message(caller.limits):  # a list of one may have more
        items = [{"role": "user", "content": items}]
    if isinstance(items, str):
        message = items
    else:
        own = before.References(caller)
        said = messages.chat_messages(
            items,
            open_calls=open_calls,
            resolve=own,
            recall=own.thoughts,
            answered=lambda: _answered(caller, asked, session_id),
        )
        message, params["input_json"] = dumps(said), True
        inline = runs.inline_of(said, "input")
    return Submission(
        message=message,
        agent=asked.agent,
        session_id=session_id,
        begins_session=asked.store is not False,
        model=asked.model,
        priority=asked.priority,
        params=params,
        inline=inline,
    )


def bounded_tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tool definitions that are not too large.

    Raises:
        Problem: they are.
    """
    if len(dumps(tools).encode()) > TOOLS_BYTES:
        raise invalid(f"tools must be at most {TOOLS_BYTES} bytes of JSON", "tools")
    return tools


def conversation_id(asked: ResponsesRequest) -> str | None:
    """Return the id of the conversation that a request names."""
    return asked.conversation.id if isinstance(asked.conversation, ConversationParam) else asked.conversation


def _answered(caller: Caller, asked: ResponsesRequest, session_id: str | None) -> frozenset[str]:
    """Return the calls that what a request goes on from holds with their answers."""
    if session_id is None:
        return frozenset()
    last = asked.previous_response_id
    return before.answered_calls(caller, session_id, ids.task_id_of(last) if last is not None else None)


def _before(caller: Caller, asked: ResponsesRequest) -> tuple[str | None, frozenset[str]]:
    """Return the session that a request goes on in, and the calls that wait for an answer there."""
    conversation = conversation_id(asked)
    given = [
        name
        for name, value in (
            ("previous_response_id", asked.previous_response_id),
            ("conversation", conversation),
            ("session_id", asked.session_id),
        )
        if value is not None
    ]
    if len(given) > 1:
        raise Problem(400, "invalid_request", f"{given[0]} cannot be used together with {given[1]}", given[1])
    if asked.previous_response_id is not None:
        task = before.previous(caller, asked.previous_response_id)
        return task.session_id, before.open_calls(task)
    if conversation is not None:
        conversations.own(caller, conversation)
        return conversation, conversations.open_calls(caller, conversation)
    if asked.session_id is not None:
        return asked.session_id, conversations.open_calls(caller, asked.session_id)
    return None, frozenset()
