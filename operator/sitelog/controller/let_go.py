"""`sitelog let-go`: after an uninstall no controller is there that takes the finalizer from job pods."""

import logging
from collections.abc import Iterable

from sitelog.core.names import LABEL_JOB
from sitelog.kube.client import ApiError, KubeClient
from sitelog.kube.lists import pages
from sitelog.kube.pods import parse_job_pod

from .records import release

log = logging.getLogger(__name__)


async def let_go(namespaces: Iterable[str]) -> None:
    """Take the finalizer from all job pods of these namespaces; the empty name stands for all.

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
                if pod.held:
                    await release(client, pod)
                    log.info("%s may be deleted; nobody looks after its error log any more", pod)
    finally:
        await client.close()
    for error in unread.values():
        raise error  # when the others' pods are free
