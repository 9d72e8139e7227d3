"""Container logs as files, and the HTTPS server from which the API server reads them."""

import http.server
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from support.control_plane.keys import ServingPair

_CHUNK = 65_536
_LOOK_EVERY = 0.05  # seconds between two looks at a followed file
_KNOWN_OPTIONS = {"follow", "tailLines", "limitBytes", "previous", "stream"}


class ContainerLog:
    """Log of one run of one container."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        self.ended = threading.Event()
        self.followed = 0  # how many times somebody began to follow it

    def append(self, data: bytes) -> None:
        """Write as the container would."""
        with self.path.open("ab") as file:
            file.write(data)

    def read(
        self, *, follow: bool, tail_lines: int | None, limit_bytes: int | None, stopped: threading.Event
    ) -> Iterator[bytes]:
        """Yield what is there and, when following, what comes until the container ends or `stopped`."""
        left = limit_bytes
        if follow:
            self.followed += 1
        with self.path.open("rb") as file:
            if tail_lines is not None:
                file.seek(_tail_offset(file.read(), tail_lines))
            while left is None or left > 0:
                over = self.ended.is_set() or stopped.is_set() or not follow  # asked before reading: nothing is missed
                if data := file.read(_CHUNK if left is None else min(_CHUNK, left)):
                    left = None if left is None else left - len(data)
                    yield data
                elif over:
                    return
                else:
                    self.ended.wait(_LOOK_EVERY)


def _tail_offset(data: bytes, lines: int) -> int:
    starts = [0, *(match.end() for match in re.finditer(b"\n", data))]
    if starts[-1] == len(data):
        starts.pop()
    return starts[-lines] if 0 < lines <= len(starts) else (len(data) if lines == 0 else 0)


@dataclass
class PodLogs:
    """Every log of one pod, oldest run of a container first."""

    uid: str
    directory: Path
    runs: dict[str, list[ContainerLog]] = field(default_factory=dict)

    def current(self, container: str) -> ContainerLog:
        """Log of the container's present run; begins the first run."""
        return self.runs[container][-1] if container in self.runs else self.begin(container)

    def begin(self, container: str) -> ContainerLog:
        """Log of a new run of the container."""
        runs = self.runs.setdefault(container, [])
        runs.append(ContainerLog(self.directory / container / f"{len(runs)}.log"))
        return runs[-1]

    def end(self) -> None:
        """Nothing more comes: let every follower finish."""
        for runs in self.runs.values():
            for log in runs:
                log.ended.set()


class LogStore:
    """Logs of all pods of the node."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pods: dict[tuple[str, str], PodLogs] = {}
        self._lock = threading.Lock()

    def of(self, namespace: str, name: str, uid: str) -> PodLogs:
        """Logs of a pod, empty at first; a namesake that is gone has left nothing."""
        with self._lock:
            logs = self._pods.get((namespace, name))
            if logs is None or logs.uid != uid:
                logs = self._pods[namespace, name] = PodLogs(uid, self._directory / uid)
            return logs

    def find(self, namespace: str, name: str) -> PodLogs | None:
        """Logs of a pod that this node knows."""
        return self._pods.get((namespace, name))

    def drop(self, namespace: str, name: str, uid: str) -> None:
        """Forget a deleted pod's logs."""
        with self._lock:
            logs = self._pods.get((namespace, name))
            if logs is not None and logs.uid == uid:
                del self._pods[namespace, name]
                logs.end()


class LogServer:
    """The part of a kubelet's server behind `kubectl logs`: GET /containerLogs/NAMESPACE/POD/CONTAINER."""

    def __init__(self, store: LogStore, serving: ServingPair) -> None:
        self._stopped = threading.Event()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(serving.certificate, serving.key)
        handler = type("Handler", (_Handler,), {"store": store, "stopped": self._stopped})
        self._server = _Server(("127.0.0.1", 0), handler)
        # The handshake happens in the request's own thread, where a slow client holds up nobody else.
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="kubelet-logs")
        self._thread.start()

    def close(self) -> None:
        """End every follower and stop serving."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for the requests under way

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a reader that goes away in the middle is no error of ours."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: LogStore
    stopped: threading.Event

    def do_GET(self) -> None:
        self.close_connection = True
        parts = urlsplit(self.path)
        found = re.fullmatch(r"/containerLogs/([^/]+)/([^/]+)/([^/]+)", parts.path)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        unknown = {name for name, value in options.items() if name not in _KNOWN_OPTIONS and value != "false"}
        if found is None:
            self._refuse(HTTPStatus.NOT_FOUND, f"{parts.path} is not played here")
        elif unknown:
            self._refuse(HTTPStatus.NOT_IMPLEMENTED, f"the played kubelet knows no {', '.join(sorted(unknown))}")
        else:
            self._answer(found[1], found[2], found[3], options)

    def _answer(self, namespace: str, pod: str, container: str, options: dict[str, str]) -> None:
        logs = self.store.find(namespace, pod)
        runs = logs.runs.get(container, []) if logs else []
        wanted = 2 if options.get("previous") == "true" else 1
        if logs is None:
            self._refuse(HTTPStatus.NOT_FOUND, f'pod "{pod}" not found')
        elif not runs:
            message = f'container "{container}" in pod "{pod}" is waiting to start: ContainerCreating'
            self._refuse(HTTPStatus.BAD_REQUEST, message)
        elif len(runs) < wanted:
            message = f'previous terminated container "{container}" in pod "{pod}" not found'
            self._refuse(HTTPStatus.BAD_REQUEST, message)
        else:
            self._stream(runs[-wanted], options)

    def _stream(self, log: ContainerLog, options: dict[str, str]) -> None:
        numbers = {name: int(options[name]) if name in options else None for name in ("tailLines", "limitBytes")}
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        follow = options.get("follow") == "true"
        for data in log.read(
            follow=follow, tail_lines=numbers["tailLines"], limit_bytes=numbers["limitBytes"], stopped=self.stopped
        ):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        body = message.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output for the test."""
