"""The logs of a thousand job pods, served as a kubelet serves them, from one loop.

Neither the played kubelet, which has a thread for each follower, nor kwok's own server, which takes an inotify instance
for each of them (an ordinary host gives 128), is made for so many.
"""

import asyncio
import re
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Self, TypeVar

from sitelog.core.names import SIDECAR
from support.control_plane.keys import ServingPair

T = TypeVar("T")
_ANSWER = b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


class _Log:
    def __init__(self) -> None:
        self.content = bytearray()
        self.ended = False
        self.changed = asyncio.Event()

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class SimulatedLogs:
    """Context manager: an HTTPS server on loopback in a thread of its own; knows the sidecars' logs only.

    Attributes
    ----------
    port
        Of every simulated node's kubelet.
    """

    def __init__(self, serving: ServingPair) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(serving.certificate, serving.key)
        self._logs: dict[str, _Log] = {}
        self._followers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated-logs")

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=1024)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._server.close)
        self.break_off()
        asyncio.run_coroutine_threadsafe(self._all_ended(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def followers(self) -> int:
        """How many logs are being followed now."""
        return self._call(lambda: len(self._followers))

    def write(self, pods: Iterable[str], data: bytes, *, last: bool = False) -> None:
        """Append to the logs of these pods; `last`: nothing more comes."""

        def append() -> None:
            for pod in pods:
                log = self._logs.setdefault(pod, _Log())
                log.content += data
                log.ended |= last
                log.tell()

        self._call(append)

    def drop(self, pods: Iterable[str]) -> None:
        """Forget deleted pods."""
        self._call(lambda: [self._logs.pop(pod) for pod in pods])

    def break_off(self) -> None:
        """Break all connections, as a node does that goes away."""

        def abort() -> None:
            for writer in self._followers:
                writer.transport.abort()

        self._call(abort)

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    async def _all_ended(self) -> None:
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            found = re.match(rf"GET /containerLogs/[^/]+/([^/]+)/{SIDECAR}\?follow=true ", head)
            log = self._logs.get(found[1]) if found else None
            if log is None:
                writer.write(_ANSWER % b"404 Not Found" + b"0\r\n\r\n")
                return
            self._followers.add(writer)
            writer.write(_ANSWER % b"200 OK")
            await self._until_either(self._send(log, writer), reader.read())  # read: until the follower goes away
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self._followers.discard(writer)
            writer.close()

    async def _until_either(self, *waited: object) -> None:
        tasks = {asyncio.ensure_future(one) for one in waited}  # type: ignore[call-overload]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, log: _Log, writer: asyncio.StreamWriter) -> None:
        sent = 0
        while True:
            changed = log.changed
            if piece := bytes(log.content[sent:]):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                sent += len(piece)
            elif log.ended:
                writer.write(b"0\r\n\r\n")
                return
            else:
                await changed.wait()
