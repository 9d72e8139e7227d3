"""`helm uninstall` with job pods that are held: nobody is left to let them go, so the chart's last hook does it."""

import pytest

from sitelog.core.names import FINALIZER_ERROR_LOG
from support.control_plane.control_plane import ControlPlane
from support.kubelet.kubelet import PlayedKubelet
from support.pods.job_pods import JobPods
from support.sitelog.installation import NAMESPACE, Installation
from support.wait import wait_for

pytestmark = pytest.mark.usefixtures("crd")


def test_job_pods_that_were_held_can_be_deleted_afterwards(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    pods = JobPods(kubelet, namespace)
    path = f"/api/v1/namespaces/{namespace}/pods/%s"
    error_log = {"upload": "Enabled", "courierSecretName": "courier"}
    theirs = "example.com/theirs"
    with Installation(control_plane, kubelet) as installation:
        installation.policy(namespace, clientName="site-1", errorLog=error_log, logStreaming="Allowed")
        installation.policy("default", "elsewhere", logStreaming="Forbidden", selector={"matchLabels": {"a": "b"}})
        for name in ("running", "pending", "shared"):
            pods.create(name)
        pods.kubelet.set_running(namespace, "running")
        pods.api.patch(path % "shared", {"metadata": {"finalizers": [theirs, FINALIZER_ERROR_LOG]}})
        for name in ("running", "pending", "shared"):
            assert FINALIZER_ERROR_LOG in pods.api.get(path % name)["metadata"]["finalizers"]

    assert pods.api.get(path % "shared")["metadata"]["finalizers"] == [theirs]
    for name in ("running", "pending"):
        kubelet.delete(namespace, name)
        wait_for(lambda: not control_plane.exists(path % name), 60, f"{name} to go")  # noqa: B023 - at once
    pods.let_go("shared")
    (policy,) = control_plane.api.get("/apis/sitelog.dev/v1alpha1/namespaces/default/sitelogpolicies")["items"]
    conditions = policy["status"]["conditions"]
    assert [(each["type"], each["status"], each["reason"]) for each in conditions] == [
        ("Enforced", "False", "NotGoverned"),
        ("Ready", "False", "NotGoverned"),
    ]
    kinds = "all,serviceaccounts,clusterroles,clusterrolebindings,mutatingwebhookconfigurations"
    bindings = ("validatingadmissionpolicybindings", "mutatingadmissionpolicybindings")
    kept = ("get", ",".join((*bindings, "clusterroles")), "--selector=app.kubernetes.io/managed-by=sitelog", "-oname")
    wait_for(lambda: control_plane.kubectl(*kept) == "", 60, "the bindings to go with their admission policies")
    left = ("get", kinds, "--selector=app.kubernetes.io/instance=sitelog", f"--namespace={NAMESPACE}", "-oname")
    wait_for(lambda: control_plane.kubectl(*left) == "", 60, "everything of the release to go")
