"""A webhook process that is sent reviews straight to its port, as the API server would."""

import contextlib
import http.client
import json
import shutil
import ssl
from collections.abc import Iterable
from pathlib import Path

from support.control_plane.api import Json
from support.control_plane.keys import write_serving_pair
from support.control_plane.process import free_port
from support.sitelog.installation import NAMESPACE, Installation
from support.sitelog.sitelog_process import SitelogProcess

LIMIT = 256  # MiB: webhook.resources of the chart


class WebhookProcess(SitelogProcess):
    """The webhook that the policies of an installation govern."""

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

    def review(self, bodies: Iterable[Json]) -> None:
        """Ask for these reviews one after the other over one connection."""
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=60, context=self._trusted)
        with contextlib.closing(connection):
            for body in bodies:
                target = f"/{body['request']['resource']['resource']}"
                connection.request("POST", target, json.dumps(body), {"Content-Type": "application/json"})
                answer = json.loads(connection.getresponse().read())
                if answer["response"]["uid"] != body["request"]["uid"]:
                    raise RuntimeError(f"review {body['request']['uid']} got another one's answer")


def review_of(resource: str, made: Json, uid: str, *, update: bool = False) -> Json:
    """Wrap an object into the review of its creation or its update."""
    namespace = made["metadata"]["namespace"]
    request = {
        "uid": uid,
        "kind": {"group": "", "version": "v1", "kind": made["kind"]},
        "resource": {"group": "", "version": "v1", "resource": resource},
        "name": made["metadata"]["name"],
        "namespace": namespace,
        "operation": "UPDATE" if update else "CREATE",
        "userInfo": {"username": f"system:serviceaccount:{namespace}:client"},
        "object": made,
        "oldObject": made if update else None,
        "dryRun": False,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
