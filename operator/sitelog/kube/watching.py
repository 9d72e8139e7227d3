"""What both kopf processes share: its settings, its login, and the store of policies kept up to date."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import kopf
from kopf._core.reactor.inventory import ResourceMemories

from sitelog.core.names import GROUP, PLURAL, VERSION
from sitelog.core.policy.governed import EVERYWHERE, Governed

from . import lists
from .client import ApiError, KubeClient
from .policy_store import PolicyStore

_RESYNC: Final = 60.0  # seconds between full lists: a watch may miss a deletion while it reconnects
_RETRY: Final = 2.0  # seconds until a list that failed is tried again

log = logging.getLogger(__name__)

POLICIES: Final = (f"{GROUP}/{VERSION}", PLURAL)


class Backoffs:
    """Seconds until kopf tries a request again: without an end, since after the last try it ends the whole process.

    A namespace whose Role somebody has removed is asked again and again, and costs the others nothing.
    """

    def __iter__(self) -> Iterator[float]:
        yield from (1, 2, 5)
        while True:
            yield 10


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings, each with its reason."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # kopf would post its log lines as Events; ours have reasons of their own
    settings.scanning.disabled = True  # our resources are known; a watch of all CRDs and namespaces needs more rights
    settings.watching.server_timeout = 300  # a stuck watch ends (kopf's issues 955, 1094, 1145)
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = Backoffs()
    settings.queueing.batch_window = 0.05  # how late a change of a policy is known
    settings.process.ultimate_exiting_timeout = 30
    return settings


def new_registry() -> kopf.OperatorRegistry:
    """Return a registry that can log in; a fresh one of kopf's cannot."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_via_client(**kwargs)

    return registry


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


async def run_kopf(
    registry: kopf.OperatorRegistry,
    settings: kopf.OperatorSettings,
    governed: Governed,
    memories: ResourceMemories | None = None,
) -> None:
    """Serve and watch until told to stop, in the namespaces in which policies are read."""
    everywhere = governed.policies == EVERYWHERE
    await kopf.operator(
        registry=registry,
        settings=settings,
        memories=memories,
        clusterwide=everywhere,
        namespaces=() if everywhere else governed.policies,
        standalone=True,
    )


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
            await asyncio.sleep(_RETRY)
        else:
            return


async def _resync(client: KubeClient, store: PolicyStore) -> None:
    while True:
        await asyncio.sleep(_RESYNC)
        await sync_policies(client, store)
