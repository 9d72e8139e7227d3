"""`helm test` with the chart's own webhook pods, which the played kubelet runs."""

import base64
import json

import pytest

from support.control_plane.control_plane import CommandError, ControlPlane
from support.control_plane.keys import write_serving_pair
from support.kubelet.kubelet import PlayedKubelet

pytestmark = pytest.mark.usefixtures("crd")


@pytest.fixture
def helm_test(
    control_plane: ControlPlane, chart: str, kubelet: PlayedKubelet, release_namespace: str, namespace: str
) -> str:
    """Install the chart with a certificate of the test's own, wait for the webhook, give the release's namespace."""
    pair = write_serving_pair(control_plane.directory, f"webhook-{release_namespace}")
    here = f"--namespace={release_namespace}"
    files = (f"--cert={pair.certificate}", f"--key={pair.key}")
    control_plane.kubectl("create", "secret", "tls", "webhook-serving", *files, here)
    certificate = {
        "mode": "ExistingSecret",
        "secretName": "webhook-serving",
        "caBundle": base64.b64encode(pair.certificate.read_bytes()).decode(),
    }
    url = f"https://127.0.0.1:{kubelet.expose(release_namespace, 'sitelog-webhook', 443)}"
    control_plane.helm(
        "install",
        "sitelog",
        chart,
        here,
        "--set=crds.enabled=false",
        "--set=webhook.failurePolicy=Fail",  # an answer at once where nobody answers; with Ignore it waits a minute
        f"--set=namespaces={{{namespace}}}",
        f"--set-json=webhook.certificate={json.dumps(certificate)}",
        f"--set-json=webhook.url={json.dumps(url)}",
    )
    rollout = control_plane.kubectl(
        "rollout", "status", "deployment/sitelog-webhook", here, "--timeout=90s", check=False
    )
    webhooks = ("logs", "--selector=app.kubernetes.io/component=webhook", here)
    assert "successfully rolled out" in rollout, control_plane.kubectl(*webhooks, check=False)
    return release_namespace


def test_it_passes_where_the_webhook_decides(control_plane: ControlPlane, helm_test: str, namespace: str) -> None:
    answer = control_plane.helm("test", "sitelog", f"--namespace={helm_test}", "--timeout=90s")
    assert answer.split("TEST SUITE:")[-1].split()[-1] == "Succeeded"
    left = control_plane.kubectl("get", "slp,configmaps", f"--namespace={namespace}", "--output=name").split()
    assert left == ["configmap/kube-root-ca.crt"]


def test_it_fails_where_no_webhook_answers(control_plane: ControlPlane, helm_test: str) -> None:
    here = f"--namespace={helm_test}"
    control_plane.kubectl("scale", "deployment/sitelog-webhook", here, "--replicas=0")
    control_plane.kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=webhook", here)
    with pytest.raises(CommandError, match="pod sitelog-test failed"):
        control_plane.helm("test", "sitelog", here, "--timeout=90s")
    log = control_plane.kubectl("logs", "sitelog-test", here)
    assert log.startswith("The API server answers 500 Internal Server Error")
    assert "failed calling webhook" in log
