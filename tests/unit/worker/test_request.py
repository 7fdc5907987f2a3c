"""A model call's request is what the `openai` client would send itself."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import openai
import pytest

from functions.worker.model import request

URL = "https://provider.example/v1/chat/completions"
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hé \u2028"}], "temperature": 0.5}
OF_RETRIES = {"x-stainless-retry-count", "x-stainless-read-timeout"}
"""Of a client that would repeat and cut calls by itself."""


@pytest.mark.parametrize("organization", [None, "org-1"])
def test_it_has_the_same_bytes_and_headers(organization: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: one")
    sent: list[httpx2.Request] = []

    def answer(asked: httpx2.Request) -> httpx2.Response:
        sent.append(asked)
        return httpx2.Response(200, json={})

    async def main() -> None:
        timeout = httpx2.Timeout(7, read=None)
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer), timeout=timeout) as http:
            client = openai.AsyncOpenAI(
                api_key="k", base_url="https://provider.example/v1", organization=organization, http_client=http
            )
            await client.post("/chat/completions", cast_to=httpx2.Response, body=BODY)
            await http.send(request.make(client, http, URL, BODY, {}))
            await http.send(request.make(client, http, URL, {"model": "longer" * 9}, {"traceparent": "00-1"}))

    asyncio.run(main())
    theirs, ours, other = sent
    assert (ours.method, ours.url, ours.content) == (theirs.method, theirs.url, theirs.content)
    named = {name: value for name, value in theirs.headers.items() if name not in OF_RETRIES}
    assert dict(ours.headers) == named
    assert named["x-gateway"] == "one"
    assert ours.extensions == theirs.extensions
    assert other.headers["traceparent"] == "00-1"
    assert "traceparent" not in ours.headers
    assert int(other.headers["content-length"]) == len(other.content)


def test_each_key_and_address_has_its_own() -> None:
    async def main() -> list[tuple[str, str]]:
        async with httpx2.AsyncClient() as http:
            clients = [openai.AsyncOpenAI(api_key=key, http_client=http) for key in ("a", "b")]
            made = [request.make(each, http, url, {}, {}) for each in clients for url in (URL, f"{URL}/2")]
            return [(one.headers["authorization"], str(one.url)) for one in made]

    assert asyncio.run(main()) == [(f"Bearer {key}", url) for key in ("a", "b") for url in (URL, f"{URL}/2")]


def test_what_is_no_json_is_refused() -> None:
    async def main() -> None:
        async with httpx2.AsyncClient() as http:
            client = openai.AsyncOpenAI(api_key="k", http_client=http)
            for body in ({"n": float("nan")}, {"n": object()}):
                with pytest.raises((TypeError, ValueError)):
                    request.make(client, http, URL, body, {})

    asyncio.run(main())
