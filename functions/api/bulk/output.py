"""What stands of a line in the output file, or in the error file."""

from dataclasses import dataclass
from typing import Any

from functions.api.bulk.lines import RESPONSES
from functions.api.contract import openai_problem
from functions.api.contract.problem import Problem, problem_of
from functions.api.dialect import chat_answer, ends, ids, response
from shared.errors import DependencyDown
from shared.tasks import settle
from shared.tasks.model import Status, Task, dumps_line

ENDINGS = {
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request had ended"),
    "expired": ("batch_expired", "this request had not ended when the batch's completion window closed"),
    "insufficient_quota": ("insufficient_quota", "the owner's budget is spent: this request was not run"),
    "invalid_api_key": ("invalid_api_key", "the API key of the batch is revoked: this request was not run"),
    "deleted": ("task_deleted", "the task of this request was deleted"),
}
"""What the error file says of a line without an answer, by why there is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A line as it stands in a file."""

    text: str
    good: bool
    """Whether it goes to the output file."""
    used: dict[str, int]


def _line(task_id: str, custom_id: str, response: Any, error: Any) -> str:
    shown = {"id": f"batch_req_{task_id}", "custom_id": custom_id, "response": response, "error": error}
    return dumps_line(shown) + "\n"


def of_task(task: Task, custom_id: str, endpoint: str, ending: str) -> Answer:
    """Return what an ended task answers its line."""
    if task.status is Status.CANCELLED and ending in ("cancelled", "expired"):
        return Answer(without(task.task_id, custom_id, ending).text, False, _used(task, None))
    shown_id = ids.response_id(task.task_id) if endpoint == RESPONSES else chat_answer.completion_id(task)
    problem = ends.problem_of(task, shown_id)
    if problem is not None:
        return of_problem(task.task_id, custom_id, problem, _used(task, None))
    try:
        result = settle.result_of(task) or {"response": ""}
        if endpoint == RESPONSES:
            body = response.shown(task, result, response.status_of(task, result))
        else:
            body = chat_answer.completion_with(task, result)
        answered = {"status_code": 200, "request_id": task.task_id, "body": body}
        return Answer(_line(task.task_id, custom_id, answered, None), True, _used(task, result))
    except Exception as error:  # whatever it is: one line must not keep the others' answers back
        problem = problem_of(error)
        if problem.status == 503:
            raise DependencyDown("a line's result") from error
        return of_problem(task.task_id, custom_id, problem, _used(task, None))


def of_problem(task_id: str, custom_id: str, problem: Problem, used: dict[str, int] | None = None) -> Answer:
    """Return what a line is answered whose request was refused, or has failed."""
    body, status, _ = openai_problem.translate(problem)
    answered = {"status_code": status, "request_id": task_id, "body": body}
    return Answer(_line(task_id, custom_id, answered, None), False, used or {})


def without(task_id: str, custom_id: str, ending: str) -> Answer:
    """Return what stands of a line that has no answer."""
    code, message = ENDINGS[ending]
    return Answer(_line(task_id, custom_id, None, {"code": code, "message": message}), False, {})


def _used(task: Task, result: dict[str, Any] | None) -> dict[str, int]:
    found = response.usage_of(task, result or {})
    return {
        "input": found["input_tokens"],
        "output": found["output_tokens"],
        "cached": (found.get("input_tokens_details") or {}).get("cached_tokens", 0),
        "reasoning": (found.get("output_tokens_details") or {}).get("reasoning_tokens", 0),
    }
