"""`sitelog let-go`: after an uninstall no controller is there that takes the finalizer from job pods."""

import logging

from sitelog.core.names import LABEL_JOB
from sitelog.kube.client import KubeClient, path
from sitelog.kube.pods import parse_job_pod

from .records import release

log = logging.getLogger(__name__)


async def let_go() -> None:
    """Take the finalizer from all job pods.

    Raises
    ------
    ApiError
        The pods cannot be listed or changed.
    """
    client = await KubeClient.connect()
    try:
        async for page in client.pages(path("v1", "pods"), query={"labelSelector": LABEL_JOB}):
            for pod in filter(None, map(parse_job_pod, page)):
                if pod.held:
                    await release(client, pod)
                    log.info("%s may be deleted; nobody looks after its error log any more", pod)
    finally:
        await client.close()
