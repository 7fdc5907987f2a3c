"""Makes the request of a model call: as the `openai` client says, once for each client and address, but for the body.

The client puts every request together anew, from headers that never change: with its checks and copies that is as much
processor time as all that follows.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    import openai

FORMS = 512
"""Forms that are kept: one for each client and address."""


@lru_cache(FORMS)
def _form(client: openai.AsyncOpenAI, http: httpx2.AsyncClient, url: str) -> httpx2.Request:
    """Return a request of the client's without a body; an omitted header is no text."""
    told = {**client.auth_headers, **client.default_headers}
    headers = {name: value for name, value in told.items() if isinstance(value, str)}
    made = http.build_request("POST", url, headers=headers)
    made.headers.pop("content-length", None)
    return made


def make(
    client: openai.AsyncOpenAI, http: httpx2.AsyncClient, url: str, body: dict[str, Any], headers: dict[str, str]
) -> httpx2.Request:
    """Make a request that is sent over ``http``; ``headers`` are this one's own.

    Raises:
        TypeError, ValueError: the body is no JSON.
    """
    form = _form(client, http, url)
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    made = httpx2.Request("POST", form.url, headers=form.headers, content=content, extensions=form.extensions.copy())
    made.headers.update(headers)
    return made
