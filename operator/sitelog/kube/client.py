"""One small client: JSON in, JSON out, over the `kubernetes` library's own connection and credentials."""

import json
import os
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

from sitelog.core.names import FIELD_MANAGER

_MERGE_PATCH: Final = "application/merge-patch+json"
_APPLY_PATCH: Final = "application/apply-patch+yaml"  # JSON is YAML
_JSON: Final = "application/json"
_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PAGE = 500  # objects a page of a list
_ONE_REQUEST = aiohttp.ClientTimeout(total=30.0)
# A log may be silent for hours. But a server that has vanished says nothing either: it is asked anew now and then.
_FOLLOWING = aiohttp.ClientTimeout(sock_connect=30.0, sock_read=900.0)
# The server ends a watch; one that has vanished never says so.
_WATCH_SECONDS: Final = 300
_WATCHING: Final = aiohttp.ClientTimeout(total=_WATCH_SECONDS + 30.0, sock_connect=30.0)
_LOG_CHUNK = 64 * 1024  # bytes
_NO_STATUS = 0
# asyncio keeps a buffer for each TLS connection, of 256 KiB: too much where each of a thousand followed logs takes a
# connection. TLS itself hands out no more than this at a time.
SSLProtocol.max_size = 16 * 1024
NAMESPACE_TERMINATING: Final = "NamespaceTerminating"  # reason of an ApiError


class ApiError(Exception):
    """The API server said no, or said nothing (`status` 0: it could not be reached).

    Attributes
    ----------
    status, reason : HTTP status and the API's reason, such as 409 and AlreadyExists.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotFoundError(ApiError):
    """There is no such object (404), or not any more (410)."""


class ConflictError(ApiError):
    """It exists already, or has changed meanwhile (409)."""


def path(api: str, plural: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """Build the path of a resource. `api` is `v1` or `group/version`."""
    parts = ["/api" if "/" not in api else "/apis", api]
    if namespace:
        parts += ["namespaces", namespace]
    parts += [part for part in (plural, name, subresource) if part]
    return "/".join(parts)


class KubeClient:
    """Requests to the API server, as JSON.

    Raises
    ------
    ApiError
        From every method: the API server refused, or could not be reached within 30 s.
    """

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> "KubeClient":
        """Connect as KUBECONFIG says where it is set, else as the pod's service account."""
        configuration = client.Configuration(connection_pool_maxsize=0)  # no limit: each followed log takes one
        if kubeconfig := os.environ.get("KUBECONFIG"):
            await config.load_kube_config(kubeconfig, client_configuration=configuration, persist_config=False)
        else:
            config.load_incluster_config(client_configuration=configuration)
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get(self, resource: str) -> dict[str, Any]:
        """Read an object."""
        return await self._json("GET", resource)

    async def list_all(self, resource: str, *, metadata_only: bool = False, **query: str) -> list[dict[str, Any]]:
        """Read all objects of a kind. `query`: labelSelector, fieldSelector."""
        return [item async for page in self.pages(resource, metadata_only=metadata_only, query=query) for item in page]

    async def pages(
        self, resource: str, *, metadata_only: bool = False, size: int = _PAGE, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Read all objects of a kind, so many at a time; with `metadata_only` without spec, status or data."""
        accept = _METADATA_LIST if metadata_only else _JSON
        token = ""
        while True:
            page = {**(query or {}), "limit": str(size), **({"continue": token} if token else {})}
            answer = await self._json("GET", resource, query=page, accept=accept)
            yield answer.get("items") or []
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    async def create(self, resource: str, body: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create an object; ConflictError if it exists. In a dry run nothing is stored."""
        return await self._json("POST", resource, body=body, query={"dryRun": "All"} if dry_run else None)

    async def replace(self, resource: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object whole. A `metadata.resourceVersion` in it makes that conditional."""
        return await self._json("PUT", resource, body=body)

    async def patch(self, resource: str, body: Any, *, metadata_only: bool = False) -> dict[str, Any]:
        """Change an object by a merge patch. A `metadata.resourceVersion` in it makes it conditional."""
        accept = _METADATA if metadata_only else _JSON
        return await self._json("PATCH", resource, body=body, content_type=_MERGE_PATCH, accept=accept)

    async def apply(self, resource: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object under this name, or bring it to say so (server-side apply)."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._json("PATCH", resource, body=body, query=query, content_type=_APPLY_PATCH)

    async def delete(self, resource: str, *, uid: str, version: str = "") -> None:
        """Delete this very object, and what it owns in the background; with `version` only as it was then."""
        unchanged = {"resourceVersion": version} if version else {}
        options = {"preconditions": {"uid": uid, **unchanged}, "propagationPolicy": "Background"}
        await self._json("DELETE", resource, body=options)

    async def follow_log(self, namespace: str, pod: str, container: str) -> AsyncGenerator[bytes]:
        """Read a container's log piece by piece, from its beginning until the container has ended."""
        resource = path("v1", "pods", namespace, pod, "log")
        query = {"container": container, "follow": "true"}
        response = await self._request("GET", resource, query=query, limits=_FOLLOWING)
        try:
            async for piece in response.content.iter_chunked(_LOG_CHUNK):
                yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(_NO_STATUS, "ConnectionLost", f"GET {resource}: {type(error).__name__}") from None
        finally:
            response.close()  # it may not be at its end

    async def watch(self, resource: str, **query: str) -> AsyncIterator[None]:
        """Tell of each object that is there, and each change, until the server ends it after five minutes."""
        asked = {**query, "watch": "true", "timeoutSeconds": str(_WATCH_SECONDS)}
        response = await self._request("GET", resource, query=asked, accept=_METADATA, limits=_WATCHING)
        try:
            async for piece in response.content.iter_any():
                for _ in range(piece.count(b"\n")):
                    yield
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(_NO_STATUS, "ConnectionLost", f"GET {resource}: {type(error).__name__}") from None
        finally:
            response.close()  # it may not be at its end

    async def _json(self, method: str, resource: str, **options: Any) -> dict[str, Any]:
        response = await self._request(method, resource, **options)
        try:
            answer = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(_NO_STATUS, "ConnectionLost", f"{method} {resource}: {type(error).__name__}") from None
        return answer if isinstance(answer, dict) else {}

    async def _request(
        self,
        method: str,
        resource: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        limits: aiohttp.ClientTimeout = _ONE_REQUEST,
    ) -> aiohttp.ClientResponse:
        target = f"{resource}?{urlencode(query)}" if query else resource
        headers = {"Accept": accept, "Content-Type": content_type}
        request = await self._api.param_serialize(
            method, target, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        method, url, headers, body = request[:4]
        try:
            answer = await self._api.call_api(method, url, headers, body, _request_timeout=limits)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiError(_NO_STATUS, "Unreachable", f"{method} {resource}: {type(error).__name__}: {error}") from None
        response: aiohttp.ClientResponse = answer.response
        if response.status >= 400:  # noqa: PLR2004 - HTTP's errors
            raise await _error(method, resource, response)
        return response


async def _error(method: str, resource: str, response: aiohttp.ClientResponse) -> ApiError:
    raw = await response.read()
    try:
        status = json.loads(raw)
    except ValueError:
        status = {}
    reason = str(status.get("reason") or response.reason or "")
    text = status.get("message") or raw[:200].decode(errors="replace")
    message = f"{method} {resource}: {response.status} {reason}: {text}"
    kinds: dict[int, type[ApiError]] = {404: NotFoundError, 409: ConflictError, 410: NotFoundError}
    causes = (status.get("details") or {}).get("causes") or ()
    if any(cause.get("reason") == NAMESPACE_TERMINATING for cause in causes):
        return ApiError(response.status, NAMESPACE_TERMINATING, message)
    return kinds.get(response.status, ApiError)(response.status, reason, message)
