"""Exception handlers: every failure leaves in the dialect of the path that it happened on."""

import json
from typing import Any, cast

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from functions.api.contract import openai_problem as dialect
from functions.api.contract.problem import CODES, Problem, problem_of, problem_of_validation
from functions.api.door.later import every
from shared import wire
from shared.logs import get_logger

log = get_logger("api")


def answer(request: Request, problem: Problem) -> JSONResponse:
    """Encode a problem in the dialect of the request's path."""
    if dialect.speaks(_path(request)):
        body, status, headers = dialect.translate(problem)
        return JSONResponse(body, status, headers)
    return JSONResponse(problem.body(), problem.status, problem.headers)


def _path(request: Request) -> str:
    path: str = request.scope["path"].removeprefix(request.scope["root_path"])
    return path


def of_error(request: Request, error: Exception) -> Response:
    """Answer any exception."""
    return answer(request, problem_of(error))


def of_validation(request: Request, error: Exception) -> Response:
    """Answer parameters that are not valid."""
    return answer(request, problem_of_validation(cast(RequestValidationError, error).errors()))


def of_framework(request: Request, error: Exception) -> Response:
    """Answer what routing itself refuses: an unknown path, a method that the path has not."""
    found = cast(HTTPException, error)
    if found.status_code == 405:
        allowed = ", ".join(_methods(request))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allowed})
        return answer(
            request, Problem(405, "method_not_allowed", f"this path takes {allowed}", headers={"Allow": allowed})
        )
    if found.status_code == 404:
        return answer(request, Problem(404, "not_found", dialect.no_path(_path(request))))
    code = CODES.get(found.status_code)
    if code is None:
        return answer(request, problem_of(found))
    return answer(request, Problem(found.status_code, code, str(found.detail)))


def _methods(request: Request) -> list[str]:
    methods, path = {"OPTIONS"}, None
    near = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    for route in every(near):
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            path = path or route.path  # a path of its own stands before one with a name in that place
            methods |= (route.methods or set()) if route.path == path else set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def within(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer, or say that it is too large: Lambda would drop it, and tell the client nothing of use."""
    body = answer.get("body") or ""
    if len(body) * wire.MOST_PER_CHARACTER < wire.ANSWER_BYTES:  # however it is escaped
        return answer
    size = len(json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size <= wire.LAMBDA_BYTES:
        return answer
    log.error("answer too large", extra={"bytes": size})
    problem = Problem(
        500, "answer_too_large", f"the answer has {size} bytes, which cannot be sent; ask for a part of it"
    )
    headers = {"content-type": "application/json"}
    return {"statusCode": 500, "headers": headers, "body": json.dumps(problem.body()), "isBase64Encoded": False}


def of_unreadable(error: Exception) -> dict[str, Any]:
    """Answer an event that is no HTTP request."""
    log.warning("unreadable event", extra={"cause": f"{type(error).__name__}: {error}"[:200]})
    problem = Problem(400, "bad_request", "the request cannot be read")
    return {
        "statusCode": problem.status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(problem.body()),
        "isBase64Encoded": False,
    }
