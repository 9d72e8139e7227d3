"""What the webhook takes after many reviews, sent straight to its port as the API server would."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.process_memory import Memory
from bench.webhook_process import LIMIT, WebhookProcess, review_of
from support.control_plane.api import Json
from support.federation.jobs import JOB_LOG_STREAMER, client_config
from support.pods.job_pods import job_pod
from support.sitelog.installation import Installation, configmap

__all__ = ["GROWTH", "LIMIT", "measure"]
GROWTH = 0.05
REVIEWS = 100_000
STEP = 10_000
_CONNECTIONS = 4
_ON_ONE = 500  # reviews over a connection, then it is made anew
_ALLOWED, _FORBIDDEN = "bench-allowed", "bench-forbidden"


def measure(installation: Installation, directory: Path) -> Iterator[tuple[int, Memory]]:
    """Yield the memory before the first review and after each step."""
    for namespace, log_streaming in ((_ALLOWED, "Allowed"), (_FORBIDDEN, "Forbidden")):
        installation.control_plane.kubectl("create", "namespace", namespace)
        error_log = {"upload": "Enabled", "courierSecretName": "courier"}
        installation.policy(namespace, logStreaming=log_streaming, clientName="site-1", errorLog=error_log)
    with WebhookProcess(installation, directory) as webhook, ThreadPoolExecutor(_CONNECTIONS) as pool:
        yield 0, Memory.of(webhook.pid)
        for begin in range(0, REVIEWS, STEP):
            parts = [range(first, first + _ON_ONE) for first in range(begin, begin + STEP, _ON_ONE)]
            list(pool.map(lambda part: webhook.review(map(_review, part)), parts))
            yield begin + STEP, Memory.of(webhook.pid)


def _review(number: int) -> Json:
    """Return a ConfigMap or a pod of a job, in turn where it may stream and where not; every tenth an UPDATE."""
    namespace = (_ALLOWED, _FORBIDDEN)[number % 2]
    if number % 4 < 2:
        plural, made = "configmaps", configmap(namespace, f"job-{number}", client_config(components=[JOB_LOG_STREAMER]))
    else:
        plural, made = "pods", job_pod(f"job-{number}")
        made["metadata"]["namespace"] = namespace
    made["metadata"]["uid"] = f"object-{number}"
    update = number % 10 == 0 and plural == "configmaps"
    return review_of(plural, made, f"review-{number}", update=update)
