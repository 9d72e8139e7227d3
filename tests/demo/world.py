"""The real parts that the demo's steps play with."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.narrator import Narrator
from support.control_plane.control_plane import ControlPlane
from support.federation.federation import SITE, Federation
from support.kubelet.kubelet import PlayedKubelet
from support.sitelog.installation import Installation
from support.wait import wait_for

NAMESPACE = "hospital-a"
POLICY = "hospital-a"
JSON = "config_fed_client.json"
STREAMER = "JobLogStreamer"


@dataclass(frozen=True)
class World:
    """A control plane with Sitelog installed, a federation, and who tells about them.

    Attributes
    ----------
    directory : for what the demo itself writes.
    """

    control_plane: ControlPlane
    kubelet: PlayedKubelet
    installation: Installation
    federation: Federation
    narrator: Narrator
    directory: Path

    # --- Kubernetes -------------------------------------------------------------------------------------------------

    def wait_for_counts(self, **wanted: int) -> None:
        """Wait until the policy's status counts so many ConfigMaps, for each decision named."""

        def counted() -> bool:
            counts = self.installation.status(NAMESPACE, POLICY).get("configMaps", {})
            return all(counts.get(decision) == number for decision, number in wanted.items())

        wait_for(counted, 60, f"the policy's status to count {wanted}")

    def configmap(self, name: str) -> dict[str, Any]:
        """Read a ConfigMap."""
        value: dict[str, Any] = self.control_plane.api.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{name}")
        return value

    def published(self, job_id: str) -> dict[str, Any]:
        """Read the ConfigMap that the gate published for a job."""
        answer = self.control_plane.api.get(
            f"/api/v1/namespaces/{NAMESPACE}/configmaps", labelSelector=f"sitelog.dev/job={job_id}"
        )
        (configmap,) = answer["items"]
        value: dict[str, Any] = configmap
        return value

    # --- NVFlare ----------------------------------------------------------------------------------------------------

    def start_site(self) -> None:
        """Start the site's FL client through the gate, with the rights of its own ServiceAccount."""
        kubeconfig = self.control_plane.service_account_kubeconfig(NAMESPACE, SITE)
        gate = {"KUBECONFIG": str(kubeconfig), "SITELOG_GATE_NAMESPACE": NAMESPACE}
        self.federation.stop_site()
        self.federation.start_site("sitelog.gate", gate)

    def submit(self, job_folder: Path) -> str:
        """Submit a job as the project's administrator; its id is the shell's $JOB from now on."""
        self.narrator.progress(f"submitting the job {job_folder.name} to the FL server")
        job_id = self.federation.submit(job_folder)
        self.narrator.let("JOB", job_id)
        return job_id

    def deployed_configuration(self, job_id: str) -> Path:
        """Path of a job's configuration on the site's disk, which its process reads."""
        return self.federation.workspace(SITE) / job_id / f"app_{SITE}" / "config" / JSON


@contextlib.contextmanager
def kubernetes_launcher(world: World) -> Iterator[None]:
    """Give the site NVFlare's Kubernetes launcher in place of its process launcher; it counts from its next start."""
    kubeconfig = world.control_plane.service_account_kubeconfig(NAMESPACE, f"{SITE}-launcher")
    launcher = {
        "id": "k8s_launcher",
        "path": "nvflare.app_opt.job_launcher.k8s_launcher.ClientK8sJobLauncher",
        "args": {
            "config_file_path": str(kubeconfig),
            "namespace": NAMESPACE,
            "workspace_mount_path": str(world.federation.workspace(SITE)),  # one path for parent and job, as in images
            "default_python_path": sys.executable,
        },
    }

    def change(resources: dict[str, Any]) -> None:
        others = [component for component in resources["components"] if component["id"] != "process_launcher"]
        resources["components"] = [*others, launcher]

    resources = world.federation.workspace(SITE) / "local" / "resources.json"
    before = resources.read_text() if resources.exists() else None
    world.federation.edit(SITE, change)
    try:
        yield
    finally:
        if before is None:
            resources.unlink()
        else:
            resources.write_text(before)


def streamers(configuration: str) -> list[str]:
    """Ids of the log streamers in a configuration's text."""
    components = json.loads(configuration).get("components") or []
    return [component["id"] for component in components if STREAMER in component.get("path", "")]
