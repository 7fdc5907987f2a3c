"""Which path prefix a request came with, so that ``Location`` and links keep it.

- API Gateway with a named stage passes the stage inside the path: it is taken off. The key of a custom domain's mapping
  stays in the path, too, but nothing in the event names it: on the ``$default`` stage a mapping must have no key.
- A local gateway is reached at ``/_aws/execute-api/{apiId}/{stage}/…`` and passes only what follows. It shows by its
  ``domainName``, ``{apiId}.execute-api.…`` outside amazonaws.com, with another ``Host`` than that.
- A REST API passes the path without stage or mapping, and the whole of it in ``requestContext.path``.
- A proxy in front may say ``X-Forwarded-Prefix``; it can only change the links in the answer to that same request.
"""

import re
from collections.abc import Mapping
from typing import Any

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~$-]+){1,8}")


def split(event: dict[str, Any] | None, headers: Mapping[str, str], path: str) -> tuple[str, str]:
    """Return (prefix, path without it) of a request; the prefix is empty or starts with a slash and ends without."""
    asked = headers.get("x-forwarded-prefix", "").rstrip("/")
    outer = asked if _PREFIX.fullmatch(asked) and "/.." not in asked else ""
    context = (event or {}).get("requestContext") or {}
    stage, api_id, domain = (str(context.get(name) or "") for name in ("stage", "apiId", "domainName"))
    if stage and stage != "$default" and (path == f"/{stage}" or path.startswith(f"/{stage}/")):
        return f"{outer}/{stage}", path[len(stage) + 1 :] or "/"
    whole = str(context.get("path") or "")
    if not outer and len(whole) > len(path) and whole.endswith(path):
        return whole.removesuffix(path), path
    by_path = domain.startswith(f"{api_id}.execute-api.") and ".amazonaws.com" not in domain
    if not outer and api_id and by_path and not headers.get("host", "").startswith(f"{api_id}."):
        return f"/_aws/execute-api/{api_id}/{stage}", path
    return outer, path
