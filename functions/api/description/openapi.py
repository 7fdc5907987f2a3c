"""The API's description, made when it is first asked for: every route's errors, headers and bodies."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Security
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from functions.api.description import (
    bulk_documents,
    openai_documents,
    owner_documents,
    system_documents,
    task_documents,
)
from functions.api.description.note import NOTE, Description
from functions.api.door.later import every

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
    504: "It goes on for longer than this address holds a request; the error names what to retrieve.",
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_ABOUT = """Submit a message with `POST /agent`, then follow its task: poll `GET /result/{task_id}`, hold it with
`wait`, or read its numbered events. Every error is `{"error": {"code", "message", "type", "param"?, "limit"?}}`.
Answers to submits carry `RateLimit` and `x-ratelimit-*` headers; every answer carries `x-request-id`."""
_DOCUMENTS = (task_documents, owner_documents, openai_documents, bulk_documents, system_documents)
_KEY = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="An API key, made with `make key`.")
"""Told of here alone: requests do without it, as `caller_of` does the work."""
_FRAMEWORK = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> dict[str, Any]:
    """Describe the API once and for all: what FastAPI finds, less its own error shape, which is never answered."""
    if app.openapi_schema is None:
        found_routes = (route for route in every(app.routes) if isinstance(route, APIRoute))
        routes = [_whole(route) for route in found_routes if route.include_in_schema]
        found = get_openapi(
            title=app.title, version=app.version, summary=app.summary, description=_ABOUT, routes=routes
        )
        for methods in found["paths"].values():
            for operation in methods.values():
                if _FRAMEWORK[0] in str(operation["responses"].get("422", "")):
                    del operation["responses"]["422"]
        for name in _FRAMEWORK:
            found["components"]["schemas"].pop(name, None)
        for route in routes:
            note: Description = getattr(route.endpoint, NOTE)
            if note.takes is not None:
                found["components"]["schemas"] |= _schema(note.takes).get("$defs", {})
        app.openapi_schema = found
    return app.openapi_schema


def _whole(route: APIRoute) -> APIRoute:
    """Return a route with its answers' models."""
    note: Description = getattr(route.endpoint, NOTE)
    return APIRoute(
        route.path,
        route.endpoint,
        methods=route.methods,
        status_code=route.status_code,
        tags=route.tags,
        dependencies=[Security(_KEY)] if 401 in note.errors else [],
        summary=route.summary,
        response_model=_model(note.answer),
        responses=_responses(note),
        openapi_extra=None if note.takes is None else _json_body(note.takes, note.example),
    )


def _model(name: str) -> Any:
    return next(getattr(module, name) for module in _DOCUMENTS if hasattr(module, name))


def _responses(note: Description) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {}
    for status, about in note.also.items():
        found[status] = dict(about)
        if "model" in about:
            found[status]["model"] = _model(about["model"])
    for status in sorted({*note.errors, 500, 503}) if note.errors else ():
        found[status] = {"model": _model(note.error), "description": _MEANING[status]}
        if status in (402, 429, 503):
            found[status]["headers"] = _RETRY
    return found


def _json_body(model: type[BaseModel], example: Mapping[str, Any] | None) -> dict[str, Any]:
    schema = _schema(model)
    schema.pop("$defs", None)
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(ref_template="#/components/schemas/{model}")
