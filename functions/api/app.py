"""The API's entry: the application, and the handler that Lambda calls.

``handler`` is what the template names; ``app`` is an ASGI application that any server can run.
"""

import asyncio
import os
import re
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from mangum import Mangum
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from functions.api import routes
from functions.api.contract.problem import Problem
from functions.api.door import alone, error_answers
from functions.api.door.envelope import CatchErrors, Envelope
from functions.api.door.gate import gate
from functions.api.door.later import Later
from shared import aws, settings
from shared.errors import SluiceError
from sluice import __version__

ROUTES = (
    Later(re.compile(r"/(dashboard/|$)"), lambda: routes.dashboard),
    Later(re.compile(r"/agent/batch$"), lambda: routes.batch),  # before those with a name in its place
    Later(re.compile(r"/agent/[^/]+(/retry|/fork)?$"), lambda: routes.again),
    Later(re.compile(r"/agent"), lambda: routes.agent),
    Later(re.compile(r"/agent/[^/]+/signals/"), lambda: routes.signals),
    Later(re.compile(r"/approvals$|/agent/[^/]+/approvals/"), lambda: routes.approvals),
    Later(re.compile(r"/schedules"), lambda: routes.schedules),
    Later(re.compile(r"/result/"), lambda: routes.result),
    Later(re.compile(r"/result/[^/]+/stream$"), lambda: routes.stream),
    Later(re.compile(r"/stream-ticket$"), lambda: routes.stream_ticket),
    Later(re.compile(r"/sessions/"), lambda: routes.sessions),
    Later(re.compile(r"/limits$"), lambda: routes.limits),
    Later(re.compile(r"/costs"), lambda: routes.costs),
    Later(re.compile(r"/stats"), lambda: routes.stats),
    Later(re.compile(r"/operator/"), lambda: routes.operator),
    Later(re.compile(r"/me/"), lambda: routes.me),
    Later(re.compile(r"/v1/responses/compact$"), lambda: routes.compact),
    Later(re.compile(r"/v1/responses/"), lambda: routes.response_parts),
    Later(re.compile(r"/v1/responses"), lambda: routes.responses),
    Later(re.compile(r"/v1/conversations"), lambda: routes.conversations),
    Later(re.compile(r"/v1/chat/"), lambda: routes.chat),
    Later(re.compile(r"/v1/chat/completions(/|$)"), lambda: routes.stored_chats),
    Later(re.compile(r"/v1/files"), lambda: routes.files),
    Later(re.compile(r"/v1/uploads"), lambda: routes.uploads),
    Later(re.compile(r"/v1/batches"), lambda: routes.batches),
    Later(re.compile(r"/v1/models"), lambda: routes.models),
    Later(re.compile(r"/health$"), lambda: routes.health),
    Later(re.compile(r"/docs|/openapi\.json$"), lambda: routes.docs),
)
"""Every file of routes, with what its paths begin with."""
SHOWN_HEADERS = (
    "Location",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "Idempotent-Replayed",
    "Sluice-Degraded",
    "x-request-id",
    "x-should-retry",
    "x-sluice-task-id",
    *(f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")),
)
"""Headers that a page of another origin may read."""


def make_app() -> FastAPI:
    """Build the application."""
    origins = settings.read(os.environ).allowed_origins  # not the cached ones: this runs on import
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
        allow_headers=("*",),
        expose_headers=SHOWN_HEADERS,
        max_age=3600,
    )
    app = FastAPI(
        title="Sluice",
        version=__version__,
        summary="Runs AI agents for many users: submit a message, follow its task.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        middleware=[Middleware(Envelope), *([cors] if origins else []), Middleware(CatchErrors)],
    )
    app.add_exception_handler(HTTPException, error_answers.of_framework)
    app.add_exception_handler(RequestValidationError, error_answers.of_validation)
    app.add_exception_handler(SluiceError, error_answers.of_error)
    app.add_exception_handler(Problem, error_answers.of_error)
    # Not `include_router`: it would build every route a second time, for prefixes and defaults that are not given.
    app.routes.extend(ROUTES)
    return app


app = make_app()
alone.install()
aws.hurry()
if os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
    from functions.api import quick_start

    # Every request needs these, and while a function is set up it has a whole processor whatever its memory.
    aws.dynamodb()
    aws.sqs()
    gate()
    _ = routes.agent  # what most new environments are asked for first
    quick_start.ready()


@cache
def _mangum() -> tuple[Mangum, asyncio.AbstractEventLoop]:
    """Make the adapter and the loop that all requests of this environment run on."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # Mangum asks for the current one when it is made and at every request
    return Mangum(app, lifespan="off", text_mime_types=["text/", "application/json", "application/javascript"]), loop


def _queued(event: dict[str, Any]) -> dict[str, Any]:
    """Do what a queue's messages ask for: look at batches, or make firings. No request needs what that imports."""
    name = str(event["Records"][0].get("eventSourceARN", "")).rsplit(":", 1)[-1]
    if name and name == settings.settings().queue_url_bulk.rsplit("/", 1)[-1]:
        from functions.api.bulk import looking

        return looking.take(event)
    from functions.api.schedules.firings import take

    return take(event)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one event of API Gateway's HTTP API (payload 2.0), or make the firings that a queue hands over."""
    if "Records" in event:
        return _queued(event)
    adapter, loop = _mangum()
    asyncio.set_event_loop(loop)
    try:
        with alone.alone():
            return error_answers.within(adapter(event, context))
    except Exception as error:
        # Mangum could not make a request of it: a Host of no known form, a body that is no base64 …
        return error_answers.of_unreadable(error)
