"""Sitelog on a cluster with real nodes, installed by helm with the values that a user would set."""

from support.commands import step
from support.control_plane.api import Json
from support.kind.images import OPERATOR, TAG, UPLOADER, build_id
from support.kind.kind import Cluster
from support.sitelog.installation import CHART, NAMESPACE, Installation


class SitelogOnKind(Installation):
    """The release; policies, logs and metrics as `Installation` has them."""

    def __init__(self, cluster: Cluster) -> None:
        self.control_plane = cluster
        self.cluster = cluster
        self._values = {}

    def install(self, **values: str) -> None:
        """Install or upgrade the release and wait until it is ready; `values` are put over what the tests set."""
        values = {
            "image.repository": OPERATOR.repository,
            "image.tag": TAG,
            "uploadImage.repository": UPLOADER.repository,
            "uploadImage.tag": TAG,
            "controller.sweepInterval": "5s",
            "podAnnotations.build": build_id(OPERATOR),  # a new build under the old name starts new pods
            **values,
        }
        settings = [f"--set-string={key}={value}" for key, value in values.items()]
        here = f"--namespace={NAMESPACE}"
        with step("installing Sitelog with helm"):
            self.cluster.helm("upgrade", "--install", "sitelog", str(CHART), here, "--create-namespace", *settings)
            for deployment in ("sitelog-controller", "sitelog-webhook"):
                self.cluster.kubectl("rollout", "status", f"deployment/{deployment}", here, "--timeout=120s")

    def uninstall(self) -> None:
        """Remove the release."""
        self.cluster.helm("uninstall", "sitelog", f"--namespace={NAMESPACE}", "--wait")

    def _ask(self, pod: Json, target: str) -> str:
        # By its number: kube-apiserver 1.37.2 panics on the name of a port here.
        ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
        (number,) = (port["containerPort"] for port in ports if port["name"] == "health")
        name = pod["metadata"]["name"]
        return self.cluster.api.text(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}:{number}/proxy{target}")
