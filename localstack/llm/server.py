"""The simulator as an ASGI application, and the process that serves it."""

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Iterable

import uvicorn

from localstack.llm import admin, chat, http, models
from localstack.llm.connections import Connection, protocol_class
from localstack.llm.faults import ApiError, Refusal, invalid
from localstack.llm.http import Receive, Scope, Send
from localstack.llm.state import State

_LOG = logging.getLogger(__name__)
_BACKLOG = 4_096
# Above the 5 s that client pools keep idle connections, so that they and not the server close first.
_KEEP_ALIVE_SECONDS = 75


class Simulator:
    """The ASGI application."""

    def __init__(self, state: State) -> None:
        """Serves from this state."""
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request; other protocols are not spoken."""
        if scope["type"] != "http":
            raise ValueError(f"not served: {scope['type']}")
        try:
            body = await http.read_body(receive)
            if body is not None:
                await self._route(scope, body, send)
        except ApiError as error:
            await http.send_error(send, error)
        except Exception:
            _LOG.exception("a call failed by a defect of the simulator")
            await http.send_error(send, ApiError(Refusal(500, "The simulator has a defect.", "simulator_defect")))

    async def _route(self, scope: Scope, body: bytes, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path.startswith("/_sim/"):
            await admin.serve(self.state, scope, body, send)
            return
        chat_path = path.rstrip("/")  # where a redirect leads that adds a slash
        if chat_path != "/v1/chat/completions" and path != "/v1/models" and not path.startswith("/v1/models/"):
            raise invalid(f"Invalid URL ({method} {path})", status=404)
        if method != ("POST" if chat_path == "/v1/chat/completions" else "GET"):
            raise invalid(f"Not allowed to {method} on {path}.", code="method_not_supported", status=405)
        _authenticate(scope["headers"])
        if chat_path == "/v1/chat/completions":
            connection: Connection = scope["state"]["connection"]
            await chat.serve(self.state, connection, body, send, path)
        elif path == "/v1/models":
            await http.send_json(send, 200, models.listing())
        else:
            name = path.removeprefix("/v1/models/")
            models.find(name)
            await http.send_json(send, 200, models.describe(name))


def _authenticate(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Any key will do, but for ``sk-invalid`` and ``sk-no-access``, the key of a project that may use no model."""
    given = next((value for name, value in headers if name == b"authorization"), b"")
    scheme, _, key = given.partition(b" ")
    if scheme.lower() != b"bearer" or not key.strip():
        raise invalid("You didn't provide an API key.", status=401)
    if key.strip() == b"sk-invalid":
        raise invalid("Incorrect API key provided.", code="invalid_api_key", status=401)
    if key.strip() == b"sk-no-access":
        raise invalid("The model does not exist or you do not have access to it.", "model", "model_not_found", 404)


def run(state: State, host: str, port: int) -> None:
    """Serves until SIGINT or SIGTERM; prints the address once connections are taken. Port 0 picks a free one.

    Raises:
        OSError: the address cannot be had.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    print(f"model simulator on http://{shown}:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        Simulator(state),
        http=protocol_class(state.connections),
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))
