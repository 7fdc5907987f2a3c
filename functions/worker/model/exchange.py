"""A model call as an exchange with a provider: the few requests it may take until there is a reply or an error."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

import anyio
import httpx2

from functions.worker.environment import clients
from functions.worker.model import own as own_keys
from functions.worker.model import profile, refusal, request, room
from functions.worker.model.limits import Watch
from functions.worker.model.phases import Phases, current
from functions.worker.model.progress import Progress
from functions.worker.model.sse import Assembler, Ears, WholeReply
from functions.worker.wire import inflate
from functions.worker.wire.transport import WHOLE_BODY
from shared import retry
from shared.credentials import Credentials
from shared.logs import get_logger
from shared.retry import ModelError
from shared.settings import settings
from shared.traceparent import HEADER, OUTGOING
from sluice.types import ModelReply

_log = get_logger("model")
DRAIN_SECONDS = 0.5
"""How long the end of an answer is waited for once its reply is whole."""


_BROKEN = (httpx2.HTTPError, ssl.SSLError, anyio.EndOfStream)
"""How a connection fails: httpx2 hands some failures of TLS on as they are."""


class _Refused(Exception):
    """The provider's answer is no reply."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class Again(Exception):
    """The request is to be made once more: nothing of a reply came, and something was changed."""


class Exchange:
    """One call, through the few requests that it may take: at another address, without a refused field."""

    def __init__(
        self,
        asked: dict[str, Any],
        max_output_tokens: int,
        stream: bool,
        ears: Ears,
        watch: Watch,
        progress: Progress,
        own: Credentials | None,
    ) -> None:
        """Begin with nothing learned; ``asked`` is what the agent asks, of which a profile makes a body."""
        self.asked = asked
        self.model: str = asked["model"]
        self.most = max_output_tokens
        self.stream = stream
        self.ears = ears
        self.watch = watch
        self.progress = progress
        self.own = own
        self.base = (own.base_url if own is not None else "") or settings().openai_base_url
        self.profile = profile.of(self.base, self.model)
        self.adapted = 0
        self.moved = self.repeated = False
        self.in_one_piece = False

    async def ask(self, attempt: Phases) -> ModelReply:
        """Make one request.

        Raises:
            Again: to be made once more, changed.
            ModelError: refused, unreachable, malformed or cut off.
        """
        body = self.profile.body(self.asked, self.most, stream=self.stream and not self.in_one_piece)
        if "service_tier" in self.asked and "service_tier" not in body:
            self.progress.asked = self.progress.asked._replace(tiers=())
        streams = "stream" in body
        if not streams:
            self.watch.unstreamed(self.most)
        assembler = (Assembler if streams else WholeReply)(self.model, self.ears, self.progress, self.most)
        token = current.set(attempt)
        try:
            response = await self._send(body)
            try:
                await _read(response, assembler, self.watch)
            finally:
                await response.aclose()
            if streams and assembler.nothing and self.profile.explains:
                self._ask_why(attempt)
            reply = assembler.reply()
        except _Refused as refused:
            self._redirected(refused.response)
            raise self._refused(refused.response, body) from None
        except _BROKEN as error:
            raise self._broken(error, attempt, streams) from error
        except ModelError as error:
            self._unexplained()
            self._adapt(error, body)  # some refuse with a 200
            raise
        finally:
            current.reset(token)
        if assembler.cut:
            profile.remember(self.base, self.model, profile.other_limit(self.profile))
        if not (reply.content or reply.tool_calls):
            self._unexplained()
        left_out = sorted(self.profile.without & self.asked.keys())
        return reply._replace(left_out=tuple(left_out)) if left_out else reply

    async def _send(self, body: dict[str, Any]) -> httpx2.Response:
        """Send a request; returns the answer as soon as it begins.

        Raises:
            _Refused: it refuses, and is read.
        """
        base = self.own.base_url if self.own is not None else ""
        client = clients.model() if self.own is None else own_keys.client(base, self.own.api_key)
        http = own_keys.http(base)
        place = OUTGOING.get()
        headers = {HEADER: place} if place is not None else {}
        response = await http.send(
            request.make(client, http, clients.completions_url(client, base), body, headers), stream=True
        )
        if response.is_success:
            return response
        try:
            await response.aread()
        finally:
            await response.aclose()
        raise _Refused(response)

    def _refused(self, response: httpx2.Response, body: dict[str, Any]) -> ModelError:
        """Read the provider's own error out of a refusal, which the client has read."""
        error = refusal.read(response.content, response.status_code, response.headers, unseen="stream" not in body)
        self._adapt(error, body)
        return error

    def _adapt(self, error: ModelError, body: dict[str, Any]) -> None:
        """Make the call again without what a refusal names, if it can be done without."""
        if self.progress.written_bytes or self.adapted >= profile.MOST_ADAPTED:
            return
        code = retry.classify(error).code
        if code in room.CODES and self.profile.limit in body:
            left = room.CODES[code](error.message, body[self.profile.limit])
            if left is not None:  # of this call only: the next prompt has another length
                self.adapted += 1
                self.most = left
                raise Again from error
            if profile.of_output(error.message):
                code = "invalid_request"
        if code not in ("invalid_request", "provider_error", "model_not_found"):
            return
        changed = profile.adapted(self.profile, error, body)
        if changed is None or changed == self.profile:
            return
        self.adapted += 1
        if self.in_one_piece and changed.only_streams:  # so it cannot say there why its stream was empty
            self.in_one_piece, changed = False, replace(changed, explains=False)
        self.profile = changed
        profile.remember(self.base, self.model, changed)
        _log.info("the provider takes requests otherwise", extra={"status": error.status, "learned": str(changed)})
        raise Again from error

    def _ask_why(self, attempt: Phases) -> None:
        """Ask once more in one piece after a stream with nothing in it.

        Some refuse only after they have begun to stream, and end it without a word: llama_cpp.server 0.3.36 so, and a
        LiteLLM 1.108 proxy makes an empty reply of that. In one piece they say what is wrong.

        Raises:
            Again: it is to be asked.
        """
        attempt.nothing = self.in_one_piece = True
        raise Again

    def _unexplained(self) -> None:
        """Remember of who did not explain an empty stream that asking again is of no use."""
        if self.in_one_piece:
            self.profile = replace(self.profile, explains=False)
            profile.remember(self.base, self.model, self.profile)

    def _redirected(self, response: httpx2.Response) -> None:
        """Follow a redirect once, where our key may go.

        Raises:
            Again: the address is another one from now on.
            ModelError: it leads elsewhere.
        """
        status = response.status_code
        if not 300 <= status < 400:
            return
        url, location = str(response.request.url), response.headers.get("location", "")
        target = request.moved(url, location) if status in request.MOVED and not self.moved else None
        if target is None:
            where = request.shown(urljoin(url, location)) if location else "nowhere"
            message = f"the provider's address redirects ({status}) to {where}: OpenaiBaseUrl must be where it leads"
            raise ModelError(message, status=status, code="provider_redirect")
        self.moved = True
        clients.move(url, target)
        raise Again

    def _broken(self, error: BaseException, attempt: Phases, stream: bool) -> Exception:
        if isinstance(error, httpx2.PoolTimeout):
            return pool_full()
        if isinstance(error, httpx2.TimeoutException):
            message = "the provider is too slow to connect to"
            return ModelError(message, code="provider_unreachable", unseen=unseen(stream, attempt))
        if isinstance(error, httpx2.DecodingError):
            message = "the provider's answer is not in the encoding that it names"
            return ModelError(message, status=200, code="malformed_reply", unseen=unseen(stream, attempt))
        dropped = isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError | httpx2.WriteError)
        if dropped and attempt.stale and not self.repeated:
            self.repeated = True
            return Again()
        message = f"the provider is unreachable: {type(error).__name__}"
        return ModelError(message, code="provider_unreachable", unseen=unseen(stream, attempt))


async def _read(response: httpx2.Response, assembler: Assembler, watch: Watch) -> None:
    body: Any = response.extensions.get(WHOLE_BODY)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if body is not None and not encoding:
        pieces = aiter(body)  # past three layers, each a step for each piece
    elif body is not None and encoding in inflate.ENCODINGS:
        pieces = inflate.inflated(body, encoding)
    else:
        pieces = response.aiter_bytes()
    async with aclosing(pieces):
        try:
            async for piece in pieces:
                watch.byte()
                assembler.feed(piece)
                if assembler.done:
                    if not assembler.cut:
                        await _drain(pieces, assembler)
                    break
        except httpx2.HTTPError:
            if not assembler.finished:
                raise
            # The reply is whole and paid for; it lost its tail only.


async def _drain(pieces: AsyncIterator[bytes], assembler: Assembler) -> None:
    """Read to the end of the answer: a connection that is left in the middle cannot be used again."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for piece in pieces:
                assembler.feed(piece)
    except TimeoutError:
        return  # only the connection is given up


def pool_full() -> ModelError:
    """Return the error of a call that got no connection: our own fault, and none of the provider's."""
    return ModelError("no connection of the pool came free", code="pool_timeout", own_fault=True)


def unseen(stream: bool, attempt: Phases) -> bool:
    """Tell whether a reply may have been written that nobody could see: it comes in one piece, and was asked for."""
    return not stream and attempt.sent_at is not None
