"""A webhook's refusal, by its very words: the API server relays them in a form of its own."""

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.control_plane.api import ApiError
from support.control_plane.control_plane import ControlPlane
from support.control_plane.keys import write_serving_pair
from support.federation.gate_site import CONFIGURATION, JSON, make_site
from support.wait import wait_for

REASON = "policy sitelog-system/all forbids log streaming:\n  the configuration is not JSON. " + "Make it JSON. " * 80


class Refusing(http.server.BaseHTTPRequestHandler):
    """Refuses every admission review, with a code that an outage may have too."""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = {"code": 500, "message": REASON}
        response = {"uid": review["request"]["uid"], "allowed": False, "status": status}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[str]:
    """A namespace with a webhook that refuses every ConfigMap."""
    pair = write_serving_pair(tmp_path, "refusing")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    configurations = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        url = f"https://127.0.0.1:{server.server_port}/configmaps"
        control_plane.api.create(configurations, webhook(namespace, url, pair.certificate.read_bytes()))
        try:
            wait_for(lambda: refuses(control_plane, namespace), 60, "the webhook to be in force")
            yield namespace
        finally:
            control_plane.api.delete(f"{configurations}/{namespace}")
            server.shutdown()
            serving.join()


def webhook(namespace: str, url: str, authority: bytes) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    one = {
        "name": "configmaps.sitelog.test",
        "clientConfig": {"url": url, "caBundle": base64.b64encode(authority).decode()},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {"metadata": {"name": namespace}, "webhooks": [one]}


def refuses(control_plane: ControlPlane, namespace: str) -> bool:
    probe = {"metadata": {"generateName": "probe-"}}
    try:
        control_plane.api.create(f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All", probe)
    except ApiError as error:
        return "denied the request" in str(error)
    return False


@pytest.mark.parametrize("fail_closed", [True, False], ids=["Fail", "Ignore"])
def test_its_text_reaches_the_deploy_detail_in_one_short_line(
    refusing: str, control_plane: ControlPlane, tmp_path: Path, *, fail_closed: bool
) -> None:
    here = make_site(tmp_path, refusing, kubeconfig=control_plane.kubeconfig, fail_closed=fail_closed)

    error = here.deploy("job-1", {JSON: CONFIGURATION})

    assert error is not None
    assert error.startswith(
        "Sitelog: refused by the site's log policy: "
        'admission webhook "configmaps.sitelog.test" denied the request: '
        "policy sitelog-system/all forbids log streaming: the configuration is not JSON. Make it JSON."
    )
    assert len(error) < 700
    assert error.endswith(" ...")
    assert "\n" not in error
    assert not here.run_folder("job-1").exists()
