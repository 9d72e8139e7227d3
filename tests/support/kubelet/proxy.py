"""The part of kube-proxy that loopback needs: a local port that leads to the Ready pods of a Service."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable

from support.control_plane.api import ApiError
from support.control_plane.process import free_port

Backends = Callable[[str, str, int], list[int]]  # namespace, service, port -> local ports
_CHUNK = 65_536


class ServiceProxy:
    """Forwards TCP connections, in a thread of its own."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._ports: dict[tuple[str, str, int], int] = {}
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kube-proxy")
        self._thread.start()

    def listen(self, namespace: str, service: str, port: int) -> int:
        """Local port of a Service's port; the same one when asked again."""
        key = (namespace, service, port)
        if key not in self._ports:
            local = free_port()
            asyncio.run_coroutine_threadsafe(self._serve(key, local), self._loop).result(10)
            self._ports[key] = local
        return self._ports[key]

    def close(self) -> None:
        """Stop listening and break what is connected."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, key: tuple[str, str, int], local: int) -> None:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._forward(key, reader, writer))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        self._servers.append(await asyncio.start_server(connected, "127.0.0.1", local))

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _forward(
        self, key: tuple[str, str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_close, writer)
            with contextlib.suppress(OSError, ApiError):  # no Service, no pod, no answer: the caller sees a closed door
                ports = await asyncio.to_thread(self._backends, *key)
                if not ports:
                    return
                back_reader, back_writer = await asyncio.open_connection("127.0.0.1", random.choice(ports))
                stack.push_async_callback(_close, back_writer)
                await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
