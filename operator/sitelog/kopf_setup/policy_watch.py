"""The store of policies, kept up to date by kopf's watch."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import kopf

from sitelog.core.names import GROUP, PLURAL, VERSION
from sitelog.kube.client import KubeClient
from sitelog.kube.policy_list import sync_policies
from sitelog.kube.policy_store import PolicyStore

_RESYNC_SECONDS: Final = 60.0  # between full lists: a watch may miss a deletion while it reconnects


def keep_policies(
    registry: kopf.OperatorRegistry, client: KubeClient, store: PolicyStore, changed: Iterable[Callable[[], None]] = ()
) -> None:
    """Keep the store up to date: listed before anything is served, then watched, and listed again each minute.

    `changed` are called after each change that the watch tells of.
    """
    resyncing: list[asyncio.Task[None]] = []

    @kopf.on.startup(registry=registry)
    async def start(**_: Any) -> None:
        await sync_policies(client, store)
        resyncing.append(asyncio.create_task(_resync(client, store)))

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        for task in resyncing:
            task.cancel()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def policy(event: kopf.RawEvent, body: kopf.Body, **_: Any) -> None:
        if event["type"] == "DELETED":
            store.drop(body)
        else:
            store.put(body)
        for call in changed:
            call()


async def _resync(client: KubeClient, store: PolicyStore) -> None:
    while True:
        await asyncio.sleep(_RESYNC_SECONDS)
        await sync_policies(client, store)
