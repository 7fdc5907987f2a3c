"""Lambda entry point of the WebSocket API's routes."""

from typing import Any

from functions.stream import routes
from shared.errors import DependencyDown, SluiceError
from shared.logs import fields, get_logger
from shared.valkey import RedisError

_log = get_logger("stream")


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """See to one connection event or message; the answer's status decides whether a connection is let in."""
    asked = event["requestContext"]
    connection, route = asked["connectionId"], asked["routeKey"]
    with fields(connection=connection, route=route):
        try:
            status = routes.handle(route, connection, event)
        except (DependencyDown, RedisError) as error:
            _log.error("dependency down", extra={"error": str(error)})
            routes.refuse(connection, route, "dependency_down", "try again in a few seconds")
            status = 503
        except SluiceError as error:
            _log.info("refused", extra={"code": error.code})
            routes.refuse(connection, route, error.code, error.message)
            status = 400
        else:
            _log.info("seen to", extra={"status": status})
    return {"statusCode": status}
