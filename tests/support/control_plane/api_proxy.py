"""A door between one client and the API server: it lets everything pass, but can be told to hold a request.

So a test can end a process just before a request of its takes effect, or just after, and make answers late, lost or
broken off.
"""

import asyncio
import contextlib
import json
import re
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from support.control_plane.control_plane import ControlPlane
from support.control_plane.process import free_port

_CHUNK = 65_536
_DEADLINE = 30.0


@dataclass
class Trap:
    """Requests to hold.

    Attributes
    ----------
    method, path, body
        What they look like: regular expressions, searched for in the target and the body.
    forward
        Whether the API server gets them; the client never hears its answer.
    """

    method: str
    path: str
    body: str = ""
    forward: bool = False
    _loop: asyncio.AbstractEventLoop | None = None
    _caught: threading.Event = field(default_factory=threading.Event)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)

    def wait(self, seconds: float = _DEADLINE) -> None:
        """Wait until one was caught; if it was forwarded, until it took effect."""
        if not self._caught.wait(seconds):
            raise TimeoutError(f"waited {seconds:g} s for {self.method} {self.path} {self.body}")

    def open(self) -> None:
        """Break the connections that it holds, without an answer, and catch no more."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._opened.set)

    def matches(self, method: str, target: str, body: bytes) -> bool:
        return (
            not self._opened.is_set()
            and method == self.method
            and re.search(self.path, target) is not None
            and re.search(self.body, body.decode(errors="replace")) is not None
        )

    async def hold(self) -> None:
        self._caught.set()
        await self._opened.wait()


@dataclass
class Cut:
    """Answers to break off: to requests for a path (regular expression), after these words, so many times."""

    path: str
    after: bytes
    times: int


class ApiProxy:
    """Context manager: plain HTTP on loopback in front of the API server, in a thread of its own.

    Attributes
    ----------
    seen
        Method and target of each request, in order.
    """

    def __init__(self, control_plane: ControlPlane) -> None:
        self.port = free_port()
        self.seen: list[str] = []
        self._host, self._api_port = "127.0.0.1", int(control_plane.url.rpartition(":")[2])
        self._tls = ssl.create_default_context(cafile=str(control_plane.authority))
        self._traps: list[Trap] = []
        self._cuts: list[Cut] = []
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def trap(self, method: str, path: str, body: str = "", *, forward: bool = False) -> Trap:
        """Hold all requests like this from now on."""
        trap = Trap(method, path, body, forward, self._loop)
        self._traps.append(trap)
        return trap

    def cut(self, path: str, after: bytes, times: int) -> Cut:
        """Break off answers like this from now on; what is left of `times` can be read off."""
        self._cuts.append(Cut(path, after, times))
        return self._cuts[-1]

    def kubeconfig(self, path: Path, token: str) -> Path:
        """Write a kubeconfig that leads through the door."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "door", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "door", "context": {"cluster": "door", "user": "user"}}],
            "current-context": "door",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path

    async def _listen(self) -> asyncio.Server:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._serve(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return await asyncio.start_server(connected, "127.0.0.1", self.port)

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request; its connection ends with it."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_close, writer)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?im)^content-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                method, target = head.split(b" ", 2)[:2]
                await self._pass(stack, writer, (method.decode(), target.decode()), head, body)

    async def _pass(
        self,
        stack: contextlib.AsyncExitStack,
        writer: asyncio.StreamWriter,
        request: tuple[str, str],
        head: bytes,
        body: bytes,
    ) -> None:
        self.seen.append(" ".join(request))
        trap = next((trap for trap in self._traps if trap.matches(*request, body)), None)
        if trap and not trap.forward:
            await trap.hold()
            return
        api_reader, api_writer = await asyncio.open_connection(self._host, self._api_port, ssl=self._tls)
        stack.push_async_callback(_close, api_writer)
        head = re.sub(rb"(?im)^connection:[^\r]*\r\n", b"", head)
        api_writer.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)
        if trap:
            await api_reader.read()
            await trap.hold()
            return
        cut = next((cut for cut in self._cuts if re.search(cut.path, request[1])), None)
        passed = b""
        while data := await api_reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
            if cut and cut.times and cut.after in (passed := passed + data):
                cut.times -= 1
                return


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
