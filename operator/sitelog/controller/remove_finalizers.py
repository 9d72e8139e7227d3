"""`sitelog remove-finalizers`: after an uninstall no controller is there that takes the finalizer from job pods.

Neither is one there that says in a SiteLogPolicy that it prohibits nothing any more.
"""

import logging
from collections.abc import Iterable
from typing import Any

from sitelog.controller.errorlogs.records import release
from sitelog.controller.policies.conditions import Finding, conditions_with
from sitelog.controller.policies.totals import policy_path
from sitelog.core.names import CONDITION_ENFORCED, CONDITION_READY, GROUP, LABEL_JOB, PLURAL, VERSION, Reason
from sitelog.kube.client import ApiError, KubeClient, NotFoundError
from sitelog.kube.lists import pages
from sitelog.kube.pods import parse_job_pod

_NOT_GOVERNED = Finding(
    "False",
    Reason.NOT_GOVERNED,
    "Sitelog was uninstalled, or does not govern this namespace any more: nothing is prohibited here",
)

log = logging.getLogger(__name__)


async def remove_finalizers(namespaces: Iterable[str]) -> None:
    """Take the finalizer from all job pods of these namespaces, and say in their policies that nothing holds any more.

    The empty name stands for all namespaces.

    Raises
    ------
    ApiError
        The pods cannot be listed or changed.
    """
    client = await KubeClient.connect()
    unread: dict[str, ApiError] = {}
    try:
        async for page in pages(client, namespaces, ("v1", "pods"), unread, query={"labelSelector": LABEL_JOB}):
            for pod in filter(None, map(parse_job_pod, page)):
                if pod.has_finalizer:
                    await release(client, pod)
                    log.info("%s may be deleted; nobody looks after its error log any more", pod)
        await _disclaim(client, namespaces, unread)
    finally:
        await client.close()
    for error in unread.values():
        raise error  # when the others' pods are free


async def _disclaim(client: KubeClient, namespaces: Iterable[str], unread: dict[str, ApiError]) -> None:
    try:
        async for page in pages(client, namespaces, (f"{GROUP}/{VERSION}", PLURAL), unread):
            for body in page:
                await _disclaim_one(client, body)
    except NotFoundError:
        log.info("there are no SiteLogPolicy objects any more")


async def _disclaim_one(client: KubeClient, body: dict[str, Any]) -> None:
    key = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
    conditions: list[dict[str, Any]] = []
    for kind in (CONDITION_READY, CONDITION_ENFORCED):
        conditions = conditions_with({**body, "status": {"conditions": conditions}}, kind, _NOT_GOVERNED)
    try:
        await client.patch(policy_path(key, "status"), {"status": {"conditions": conditions}})
    except ApiError as error:
        log.warning("SiteLogPolicy %s: its status is not true any more and cannot be written: %s", key, error)
