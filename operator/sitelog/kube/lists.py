"""Lists over several namespaces, of which one that cannot be read costs only itself."""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from .client import ApiError, KubeClient, path

_DENIED: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_PAGE: Final = 500

log = logging.getLogger(__name__)


def denied(error: ApiError) -> bool:
    """Whether the API server refuses one namespace, of which the others know nothing."""
    return error.status in _DENIED


async def pages(
    client: KubeClient,
    namespaces: Iterable[str],
    kind: tuple[str, str],
    unread: dict[str, ApiError] | None = None,
    *,
    metadata_only: bool = False,
    size: int = _PAGE,
    query: Mapping[str, str] | None = None,
) -> AsyncIterator[list[dict[str, Any]]]:
    """Read all objects of a kind in these namespaces, so many at a time.

    Parameters
    ----------
    namespaces : the empty name stands for all.
    kind : API and plural, such as ``("v1", "pods")``.
    unread : gets the namespaces that may not be read, and why.

    Raises
    ------
    ApiError
        They cannot be read now, for a reason that is not one namespace's.
    """
    for namespace in namespaces:
        try:
            listed = client.pages(path(*kind, namespace), metadata_only=metadata_only, size=size, query=query)
            async for page in listed:
                yield page
        except ApiError as error:
            if not namespace or not denied(error):
                raise
            hint = "if its Roles are gone, `helm upgrade` makes them again"
            log.warning("%s in namespace %s cannot be listed, trying again; %s: %s", kind[1], namespace, hint, error)
            if unread is not None:
                unread[namespace] = error
