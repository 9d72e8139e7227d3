"""The TLS server that kopf answers admission reviews through.

kopf's own (`kopf.WebhookServer`) caps bodies at 1 MiB, takes any path for a review and closes its listener to change
its certificate. This one takes the largest legal review, refuses unknown paths, bounds the memory of all reviews
together, and changes the certificate between two handshakes.
"""

import asyncio
import json
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import kopf
from aiohttp import web

from sitelog.telemetry.logs import fields

# Two objects of 1 MiB of data each (new and old), every byte at worst six in JSON (\u0001), and their metadata.
MAX_BODY: Final = 20 * 1024 * 1024
_MAX_BODIES: Final = 3 * MAX_BODY  # of all reviews at a time; a decoded body takes a few times its size
_CERTIFICATE_CHECK: Final = 1.0  # seconds between looks at the certificate's files; inotify misses a kubelet's swap
_GRACE: Final = 10.0  # seconds for reviews under way when the process is told to stop

log = logging.getLogger(__name__)


class AdmissionServer:
    """A server for `kopf.OperatorSettings.admission.server`.

    Attributes
    ----------
    listening : it has a certificate and takes reviews.
    """

    def __init__(self, *, port: int, certificate_dir: Path, handlers: Collection[str]) -> None:
        self.listening = False
        self._port = port
        self._certificate = _Certificate(certificate_dir)
        self._handlers = frozenset(handlers)
        self._budget = _ByteBudget(_MAX_BODIES)

    async def __call__(self, fn: kopf.WebhookFn) -> AsyncIterator[kopf.WebhookClientConfig]:
        """Serve until kopf stops; yields once, when the server listens."""
        while not self._certificate.refresh():  # noqa: ASYNC110 - files have no event to wait for
            await asyncio.sleep(_CERTIFICATE_CHECK)

        async def review(request: web.Request) -> web.Response:
            handler = request.match_info["handler"]
            if handler not in self._handlers:
                raise web.HTTPNotFound
            async with self._budget.reserve(request.content_length or MAX_BODY):
                body = await request.read()
                answer = await fn(json.loads(body), webhook=kopf.HandlerId(handler))
            return web.json_response(answer)

        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/{handler}", review)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE)
        await runner.setup()
        try:
            await web.TCPSite(runner, "0.0.0.0", self._port, ssl_context=self._certificate.context).start()
            self.listening = True
            log.info("taking admission reviews", extra=fields(port=self._port))
            yield kopf.WebhookClientConfig(url=f"https://localhost:{self._port}/")
            while True:
                await asyncio.sleep(_CERTIFICATE_CHECK)
                self._certificate.refresh()
        finally:
            self.listening = False
            await runner.cleanup()


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
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        size = min(size, self._total)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            async with self._changed:
                self._free += size
                self._changed.notify_all()
