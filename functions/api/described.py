"""What the API's description says of every route: its possible errors, its headers, its body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from functions.api.shapes import ErrorBody, OpenAIErrorBody

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pydantic import BaseModel

_MEANING = {
    400: "The request is not valid.",
    401: "No API key, or not a known one.",
    402: "A token or money budget is spent (`insufficient_quota`); `limit` names it.",
    403: "A priority, agent or model above the tier, or an operator's call.",
    404: "No such thing, or not yours.",
    405: "The path has no such method.",
    409: "The thing is in a state that the request does not fit.",
    413: "The body or a part of it is too large.",
    422: "The input is not valid; `param` names what.",
    429: "A limit is reached; `limit` names it, `Retry-After` says when to come back.",
    500: "A defect on this side.",
    503: "A dependency that the request needs is down; come back after `Retry-After`.",
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}


def errors(*statuses: int, model: type[BaseModel] = ErrorBody) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route for the API's description."""
    return {
        status: {"model": model, "description": _MEANING[status]}
        | ({"headers": _RETRY} if status in (402, 429, 503) else {})
        for status in sorted({*statuses, 500, 503})
    }


def openai_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route of the OpenAI dialect."""
    return errors(*statuses, model=OpenAIErrorBody)


def json_body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """Describe the JSON body of a route that decodes it itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        }
    }


_ABOUT = """Submit a message with `POST /agent`, then follow its task: poll `GET /result/{task_id}`, hold it with
`wait`, or read its numbered events. Every error is `{"error": {"code", "message", "type", "param"?, "limit"?}}`.
Answers to submits carry `RateLimit` and `x-ratelimit-*` headers; every answer carries `x-request-id`."""
_FRAMEWORK = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> dict[str, Any]:
    """Describe the API once and for all: what FastAPI finds, less its own error shape, which is never answered."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, summary=app.summary, description=_ABOUT, routes=app.routes
        )
        for methods in found["paths"].values():
            for operation in methods.values():
                if _FRAMEWORK[0] in str(operation["responses"].get("422", "")):
                    del operation["responses"]["422"]
        for name in _FRAMEWORK:
            found["components"]["schemas"].pop(name, None)
        app.openapi_schema = found
    return app.openapi_schema
