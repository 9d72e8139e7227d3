"""kopf's settings, its login, and its run."""

from collections.abc import Iterator
from typing import Any

import kopf

from sitelog.core.policy.governed import EVERYWHERE, Governed

from .private import ResourceMemories


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
