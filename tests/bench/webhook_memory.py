"""What the webhook takes after many reviews, sent straight to its port as the API server would."""

import contextlib
import http.client
import json
import shutil
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.process_memory import Memory
from support.control_plane_api import Json
from support.control_plane_keys import write_serving_pair
from support.control_plane_process import free_port
from support.federation_jobs import JOB_LOG_STREAMER, client_config
from support.installation import NAMESPACE, Installation, configmap
from support.job_pods import job_pod
from support.sitelog_process import SitelogProcess

LIMIT = 256  # MiB: webhook.resources of the chart
GROWTH = 0.05
REVIEWS = 100_000
STEP = 10_000
_CONNECTIONS = 4
_ON_ONE = 500  # reviews over a connection, then it is made anew
_ALLOWED, _FORBIDDEN = "bench-allowed", "bench-forbidden"


def measure(installation: Installation, directory: Path) -> Iterator[tuple[int, Memory]]:
    """Yield the memory before the first review and after each step."""
    for namespace, word in ((_ALLOWED, "Allowed"), (_FORBIDDEN, "Forbidden")):
        installation.control_plane.kubectl("create", "namespace", namespace)
        error_log = {"upload": "Enabled", "courierSecretName": "courier"}
        installation.policy(namespace, logStreaming=word, clientName="site-1", errorLog=error_log)
    with _Webhook(installation, directory) as webhook, ThreadPoolExecutor(_CONNECTIONS) as pool:
        yield 0, Memory.of(webhook.pid)
        for begin in range(0, REVIEWS, STEP):
            parts = [range(first, first + _ON_ONE) for first in range(begin, begin + STEP, _ON_ONE)]
            list(pool.map(webhook.review, parts))
            yield begin + STEP, Memory.of(webhook.pid)


class _Webhook(SitelogProcess):
    def __init__(self, installation: Installation, directory: Path) -> None:
        self._port = free_port()
        pair = write_serving_pair(directory, "webhook")
        shutil.copy(pair.certificate, directory / "tls.crt")
        shutil.copy(pair.key, directory / "tls.key")
        self._trusted = ssl.create_default_context(cafile=str(pair.certificate))
        super().__init__(
            "webhook",
            f"--root-namespace={NAMESPACE}",
            f"--port={self._port}",
            f"--certificate-dir={directory}",
            "--gate-image=none",
            directory=directory,
            kubeconfig=installation.control_plane.service_account_kubeconfig(NAMESPACE, "sitelog-webhook"),
        )
        self.ready()

    def review(self, numbers: range) -> None:
        """Ask for these reviews one after the other over one connection."""
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=60, context=self._trusted)
        with contextlib.closing(connection):
            for number in numbers:
                body = _review(number)
                uid = body["request"]["uid"]
                target = f"/{body['request']['resource']['resource']}"
                connection.request("POST", target, json.dumps(body), {"Content-Type": "application/json"})
                answer = json.loads(connection.getresponse().read())
                if answer["response"]["uid"] != uid:
                    raise RuntimeError(f"review {uid} got another one's answer")


def _review(number: int) -> Json:
    """Return a ConfigMap or a pod of a job, in turn where it may stream and where not; every tenth an UPDATE."""
    namespace = (_ALLOWED, _FORBIDDEN)[number % 2]
    update = number % 10 == 0
    if number % 4 < 2:
        kind, plural = "ConfigMap", "configmaps"
        made = configmap(namespace, f"job-{number}", client_config(components=[JOB_LOG_STREAMER]))
    else:
        kind, plural = "Pod", "pods"
        made = job_pod(f"job-{number}")
        made["metadata"]["namespace"] = namespace
    update &= kind == "ConfigMap"
    made["metadata"]["uid"] = f"object-{number}"
    request = {
        "uid": f"review-{number}",
        "kind": {"group": "", "version": "v1", "kind": kind},
        "resource": {"group": "", "version": "v1", "resource": plural},
        "name": made["metadata"]["name"],
        "namespace": namespace,
        "operation": "UPDATE" if update else "CREATE",
        "userInfo": {"username": f"system:serviceaccount:{namespace}:client-{number}"},
        "object": made,
        "oldObject": made if update else None,
        "dryRun": False,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
