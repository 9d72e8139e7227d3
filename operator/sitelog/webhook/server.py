"""The TLS server that kopf answers admission reviews through.

kopf's own (`kopf.WebhookServer`) caps bodies at 1 MiB, takes any path for a review and closes its listener to change
its certificate. This one takes the largest legal review, refuses unknown paths, bounds the memory of all reviews
together, and changes the certificate between two handshakes.
"""

import asyncio
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import kopf
import msgspec
from aiohttp import web

from sitelog.core.jobconfig.budget import OverBudgetError
from sitelog.decider.process import NoAnswerError
from sitelog.kopf_setup.private import UnknownResourceError
from sitelog.telemetry.logs import fields
from sitelog.telemetry.metrics import REVIEW_SECONDS

from .admission_review import NotAReviewError, parse_review
from .large_reviews import FOUND
from .review import Review

Large = Callable[
    [str, bytes], Awaitable[tuple[Any, Review]]
]  # from a handler's id and a body to its outline and answer

# Two objects of 1 MiB of data each (new and old), every byte at worst six in JSON (\u0001), and their metadata.
MAX_BODY: Final = 20 * 1024 * 1024
_MAX_BODIES: Final = MAX_BODY + MAX_BODY // 4  # of all reviews at a time; a body takes three times its size for a while
_SMALL: Final = 32 * 1024  # bytes of a review that kopf may read and compare by itself, which takes a few milliseconds
_CERTIFICATE_CHECK_SECONDS: Final = 1.0  # between looks at the certificate's files; inotify misses a kubelet's swap
_DISCOVERY_CHECK_SECONDS: Final = 0.1  # between questions whether kopf can answer
_LINGER_SECONDS: Final = 1.0  # in which reviews still come in over open connections when the process is told to stop
_GRACE_SECONDS: Final = 10.0  # for reviews that are under way then

log = logging.getLogger(__name__)


class AdmissionServer:
    """A server for `kopf.OperatorSettings.admission.server`.

    Attributes
    ----------
    listening : it has a certificate and takes reviews.
    """

    def __init__(self, *, port: int, certificate_dir: Path, handlers: Collection[str], large: Large) -> None:
        self.listening = False
        self._large = large
        self._port = port
        self._certificate = _Certificate(certificate_dir)
        self._handlers = frozenset(handlers)
        self._budget = _ByteBudget(_MAX_BODIES)

    async def __call__(self, fn: kopf.WebhookFn) -> AsyncIterator[kopf.WebhookClientConfig]:
        """Serve until kopf stops; yields once, when the server listens."""
        while not self._certificate.refresh():  # noqa: ASYNC110 - files have no event to wait for
            await asyncio.sleep(_CERTIFICATE_CHECK_SECONDS)

        for handler in self._handlers:
            await _discovered(fn, handler)

        async def review(request: web.Request) -> web.Response:
            handler = request.match_info["handler"]
            if handler not in self._handlers:
                raise web.HTTPNotFound
            async with self._budget.reserve(request.content_length or MAX_BODY):
                with REVIEW_SECONDS.labels(handler).time():
                    answer = await self._answer(fn, handler, await request.read())
            # Not by aiohttp's own way, which takes ten times as long for a patch of 1 MiB.
            response = web.Response(body=msgspec.json.encode(answer), content_type="application/json")
            if not self.listening:
                response.force_close()  # the next review goes to a pod that stays
            return response

        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/{handler}", review)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE_SECONDS)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "0.0.0.0", self._port, ssl_context=self._certificate.context)
            await site.start()
            self.listening = True
            log.info("taking admission reviews", extra=fields(port=self._port))
            yield kopf.WebhookClientConfig(url=f"https://localhost:{self._port}/")
            while True:
                await asyncio.sleep(_CERTIFICATE_CHECK_SECONDS)
                self._certificate.refresh()
        finally:
            if self.listening:
                self.listening = False
                await site.stop()
                await self._drain()
            await runner.cleanup()

    async def _answer(self, fn: kopf.WebhookFn, handler: str, body: bytes) -> Any:
        try:
            found = None
            if len(body) <= _SMALL:
                review = parse_review(body)
            else:
                review, found = await self._large(handler, body)
            with _found(found):
                return await fn(review, webhook=kopf.HandlerId(handler))
        except NotAReviewError:
            text = "this is no AdmissionReview of admission.k8s.io/v1 with a request and an object"
            raise web.HTTPBadRequest(text=text) from None
        except UnknownResourceError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        except (OverBudgetError, NoAnswerError) as error:
            log.warning("a review of %d bytes is not answered: %s", len(body), error)
            raise web.HTTPServiceUnavailable from None

    async def _drain(self) -> None:
        """Answer what is under way or comes in over open connections; aiohttp would drop a body that is half there."""
        await asyncio.sleep(_LINGER_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._budget.unused(), _GRACE_SECONDS)


@contextmanager
def _found(review: Review | None) -> Iterator[None]:
    token = FOUND.set(review)
    try:
        yield
    finally:
        FOUND.reset(token)


async def _discovered(fn: kopf.WebhookFn, plural: str) -> None:
    """Wait until kopf has learnt from the API server which resources there are: before, it can answer no review."""
    resource = {"group": "", "version": "v1", "resource": plural}
    request = {"uid": "", "resource": resource, "operation": "DELETE", "userInfo": {}, "object": {}}
    while True:
        try:
            await fn({"request": request}, webhook=kopf.HandlerId(plural))  # type: ignore[typeddict-item]
        except UnknownResourceError:
            await asyncio.sleep(_DISCOVERY_CHECK_SECONDS)
        else:
            return


class _Certificate:
    """The certificate in use, kept in step with its files."""

    def __init__(self, folder: Path) -> None:
        self.context = _server_context()
        self._folder = folder
        self._current: tuple[bytes, bytes] | None = None
        self._complained = ""

    def refresh(self) -> bool:
        """Take the files up if they have changed; whether there is a certificate in use."""
        try:
            pair = (self._folder / "tls.crt").read_bytes(), (self._folder / "tls.key").read_bytes()
            if pair != self._current:
                self._load(pair)
                log.info("serving with a new certificate" if self._current else "certificate loaded")
                self._current, self._complained = pair, ""
        except (OSError, ssl.SSLError) as error:
            self._complain(error)
        return self._current is not None

    def _load(self, pair: tuple[bytes, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
            certificate.write_bytes(pair[0])
            key.touch(mode=0o600)
            key.write_bytes(pair[1])
            # Tried apart first: half of a pair must not get into the context that serves.
            _server_context().load_cert_chain(certificate, key)
            self.context.load_cert_chain(certificate, key)

    def _complain(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if text != self._complained:
            waiting = "waiting for one" if self._current is None else "keeping the one in use"
            log.warning("no usable certificate in %s (%s): %s", self._folder, text, waiting)
            self._complained = text


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _ByteBudget:
    """Lets reviews in while their bodies fit into a number of bytes; the others wait their turn."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._users = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        size, held = min(size, self._total), 0
        self._users += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: self._free >= size)
                self._free -= size
            held = size
            yield
        finally:
            async with self._changed:
                self._users -= 1
                self._free += held
                self._changed.notify_all()

    async def unused(self) -> None:
        """Wait until no review is in or waits."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._users)
