"""The Kubernetes API as plain JSON, for the test support itself."""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

Json = dict[str, Any]
TIMEOUT = 30.0
_LEFT = 8  # connections that wait for the next request
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"


class ApiError(RuntimeError):
    """An answer that is no success.

    Attributes
    ----------
    status
        HTTP status.
    reason
        The API's machine-readable word, for instance "AlreadyExists".
    """

    def __init__(self, method: str, path: str, status: int, body: bytes) -> None:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {"message": body.decode(errors="replace")}
        self.status = status
        self.reason = str(answer.get("reason", ""))
        super().__init__(f"{method} {path}: {status} {answer.get('message', '')}")


class Api:
    """One server and one identity; any thread may use it.

    Reads and dry runs, which tests repeat, take a connection that was left by an earlier one.
    """

    def __init__(self, url: str, authority: Path, token: str) -> None:
        self._address = urlsplit(url).netloc
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._token = token
        self._left: list[http.client.HTTPSConnection] = []
        self._room = _LEFT

    def close(self) -> None:
        """Close the connections that are left; later requests leave none."""
        self._room = 0
        while self._left:
            self._left.pop().close()

    def get(self, path: str, **query: str) -> Any:
        """Read one object or a list."""
        return self.request("GET", path, query=query)

    def find(self, path: str) -> Any:
        """Read one object; None where there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise
            return None

    def text(self, path: str, **query: str) -> str:
        """Read something that is no JSON, for instance a log."""
        return self._exchange("GET", path, query, None, "application/json").decode(errors="replace")

    def create(self, path: str, body: Json) -> Any:
        """POST an object to a collection or a subresource."""
        return self.request("POST", path, body)

    def patch(self, path: str, body: Json, content_type: str = MERGE_PATCH) -> Any:
        """PATCH an object."""
        return self.request("PATCH", path, body, content_type)

    def apply(self, path: str, body: Json) -> Any:
        """Apply an object on the server's side; gives what the API server made of it."""
        return self.patch(f"{path}?fieldManager=tests&force=true", body, APPLY_PATCH)

    def delete(self, path: str, body: Json | None = None) -> Any:
        """DELETE an object; `body` holds DeleteOptions."""
        return self.request("DELETE", path, body)

    def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
    ) -> Any:
        """Send one request and return the parsed answer.

        Raises
        ------
        ApiError
            The answer is no success.
        OSError, http.client.HTTPException
            There is no answer.
        """
        return json.loads(self._exchange(method, path, query, body, content_type))

    def watch(self, path: str, **query: str) -> "Watch":
        """Open a watch."""
        connection = self._connect(timeout=None)
        target = f"{path}?{urlencode({'watch': 'true', **query})}"
        response = self._send(connection, "GET", target, None, "application/json")
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            with contextlib.closing(connection):
                raise ApiError("GET", path, response.status, response.read())
        return Watch(connection, response)

    def _exchange(
        self, method: str, path: str, query: dict[str, str] | None, body: Json | None, content_type: str
    ) -> bytes:
        target = f"{path}?{urlencode(query)}" if query else path
        status, content = self._answer(method, target, body, content_type)
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiError(method, path, status, content)
        return content

    def _answer(self, method: str, target: str, body: Json | None, content_type: str) -> tuple[int, bytes]:
        if method == "GET" or "dryRun=All" in target:
            with contextlib.suppress(IndexError, OSError, http.client.HTTPException):  # the server may have ended it
                return self._ask(self._left.pop(), method, target, body, content_type)
        return self._ask(self._connect(TIMEOUT), method, target, body, content_type)

    def _ask(
        self, connection: http.client.HTTPSConnection, method: str, target: str, body: Json | None, content_type: str
    ) -> tuple[int, bytes]:
        response = self._send(connection, method, target, body, content_type)
        try:
            content = response.read()
        except BaseException:
            connection.close()
            raise
        if len(self._left) < self._room:
            self._left.append(connection)
        else:
            connection.close()
        return response.status, content

    def _connect(self, timeout: float | None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, timeout=timeout, context=self._tls)

    def _send(
        self, connection: http.client.HTTPSConnection, method: str, target: str, body: Json | None, content_type: str
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type, "Accept": "application/json"}
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            return connection.getresponse()
        except BaseException:
            connection.close()
            raise


class Watch:
    """Events of one watch; `stop` may be called from another thread."""

    def __init__(self, connection: http.client.HTTPSConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response

    def __iter__(self) -> Iterator[Json]:
        """Yield {"type": ..., "object": ...} until the server, or `stop`, ends the watch."""
        try:
            while line := self._response.readline():
                yield json.loads(line)
        finally:
            self._response.close()
            self._connection.close()

    def stop(self) -> None:
        """End the iteration, also when it waits for the next event."""
        if (connected := self._connection.sock) is not None:
            with contextlib.suppress(OSError):  # it has just ended by itself
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # below TLS, which is not made for two threads
