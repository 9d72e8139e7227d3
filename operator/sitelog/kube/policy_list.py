"""All SiteLogPolicies, listed into the store."""

import asyncio
import logging
import time
from typing import Any, Final

from sitelog.core.names import GROUP, PLURAL, VERSION

from . import lists
from .client import ApiError, KubeClient
from .policy_store import PolicyStore

POLICIES: Final = (f"{GROUP}/{VERSION}", PLURAL)
_RETRY_SECONDS: Final = 2.0  # until a list that failed is tried again

log = logging.getLogger(__name__)


async def list_policies(client: KubeClient, store: PolicyStore) -> list[dict[str, Any]]:
    """List all policies into the store, again where the watch told of a change meanwhile.

    Of a namespace in which they may not be read, the store keeps what it has.

    Raises
    ------
    ApiError
        They cannot be listed now.
    """
    while True:
        before = store.changes
        unread: dict[str, ApiError] = {}
        read = lists.pages(client, store.governed.policies, POLICIES, unread)
        bodies = [body async for page in read for body in page]
        if error := unread.get(store.governed.root):
            raise error  # its policies reach everybody: without them nothing is known
        if store.changes == before:
            store.replace(bodies, unread)
            store.synced_at = time.time()
            return bodies


async def sync_policies(client: KubeClient, store: PolicyStore) -> None:
    """List all policies, again and again until it works."""
    while True:
        try:
            await list_policies(client, store)
        except ApiError as error:
            log.warning("cannot list the policies, trying again: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return
