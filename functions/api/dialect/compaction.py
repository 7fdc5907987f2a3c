"""A conversation summed up by a run, and the item that stands for it."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from functions.api.contract.problem import invalid
from functions.api.contract.requests import ModelName
from functions.api.dialect import before, ids, opaque
from functions.api.dialect.items import given
from functions.api.dialect.messages import chat_messages
from functions.api.dialect.options import SHORT
from functions.api.dialect.request import RESPONSE_ID_CHARACTERS, OpenAIRequest, bounded_instructions
from functions.api.dialect.response import usage_of
from functions.api.dialect.runs import inline_of
from functions.api.door.identity import Caller
from functions.api.submit.submission import Submission
from shared.tasks import settle
from shared.tasks.model import Task, dumps

TASK = (
    "Sum up the conversation so far, so that it can go on from the summary alone. Keep names, numbers, decisions, "
    "what the user wants, what is done and what is open. Write only the summary."
)
SUMMARY_TOKENS = 4096


class CompactRequest(OpenAIRequest):
    """A conversation to sum up: an input, what led to a response, or both."""

    model: Annotated[ModelName | None, Field(description="The deployment's default when absent.")] = None
    input: str | list[dict[str, Any]] | None = None
    previous_response_id: Annotated[str | None, Field(max_length=RESPONSE_ID_CHARACTERS)] = None
    instructions: Annotated[str | None, AfterValidator(bounded_instructions)] = None
    prompt_cache_key: Annotated[str | None, Field(max_length=SHORT)] = None


def submission_of(caller: Caller, asked: CompactRequest) -> Submission:
    """Return the run that sums a conversation up.

    Raises:
        Problem: there is nothing to sum up, or the input is none.
    """
    session_id, calls = None, frozenset[str]()
    if asked.previous_response_id is not None:
        task = before.previous(caller, asked.previous_response_id)
        session_id, calls = task.session_id, before.open_calls(task)
    messages: list[dict[str, Any]] = []
    if isinstance(asked.input, str):
        messages = [{"role": "user", "content": asked.input}]
    elif asked.input:
        messages = chat_messages(asked.input, open_calls=calls, resolve=before.References(caller))
    if not messages and session_id is None:
        raise invalid("there is nothing to compact", "input")
    inline = inline_of(messages, "input")
    messages.append({"role": "user", "content": TASK})
    params: dict[str, Any] = {
        "dialect": "responses",
        "compaction": True,
        "input_json": True,
        "instructions": asked.instructions or "",
        "previous_response_id": asked.previous_response_id,
        "max_output_tokens": SUMMARY_TOKENS,
        "options": {"prompt_cache_key": asked.prompt_cache_key} if asked.prompt_cache_key else None,
    }
    return Submission(
        message=dumps(messages),
        agent="chat",
        session_id=session_id,
        model=asked.model,
        params=params,
        inline=inline,
    )


def compaction_of(task: Task) -> dict[str, Any]:
    """Return a complete run's summary: what the user said, and an item with the rest."""
    result = settle.result_of(task) or {"response": ""}
    said = [item for item in given(task)[:-1] if item.get("role") == "user"]
    return {
        "id": ids.response_id(task.task_id),
        "object": "response.compaction",
        "created_at": int(task.created),
        "output": [*said, item_of(task, result)],
        "usage": usage_of(task, result),
    }


def item_of(task: Task, result: dict[str, Any]) -> dict[str, Any]:
    """Return the item that stands for what was summed up."""
    sealed = opaque.seal("compaction", result["response"] or "")
    return {"type": "compaction", "id": ids.compaction_id(task.task_id), "encrypted_content": sealed}
