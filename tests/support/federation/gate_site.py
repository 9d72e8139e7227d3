"""A site's workspace as NVFlare's client has it, with the gate behind NVFlare's own deployer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.fuel.utils.zip_utils import zip_directory_to_bytes

from sitelog.core.policy.policy import LogStreaming
from sitelog.gate import deployer
from sitelog.gate.job_policies import JobPolicies
from sitelog.gate.publisher import Publisher
from sitelog.gate.settings import Settings
from support.control_plane.control_plane import ControlPlane

CLIENT = "site-1"
JSON = "config/config_fed_client.json"
STREAMER = {"id": "s", "path": "nvflare.app_common.logging.job_log_streamer.JobLogStreamer"}
CONFIGURATION = json.dumps({"format_version": 2, "executors": [], "components": [STREAMER]}, indent=2)


@dataclass
class GatedSite:
    """One site: its workspace, what it is set to, and what the policy said about its jobs."""

    workspace: Workspace
    settings: Settings
    policies: JobPolicies

    @property
    def gate(self) -> deployer.Gate:
        """The gate alone, without NVFlare's deployer before it."""
        return deployer.Gate(Publisher(self.settings), self.policies, self.settings)

    def deploy(self, job_id: str, files: Mapping[str, str | bytes], context: FLContext | None = None) -> str | None:
        """Zip an app with these files and deploy it as NVFlare's engine does."""
        app = Path(self.workspace.root_dir).parent / f"app-of-{job_id}"
        for name, content in files.items():
            file = app / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        answer: str | None = deployer.deployer(self.gate)().deploy(
            workspace=self.workspace,
            job_id=job_id,
            job_meta={"job_id": job_id, "submitter_name": "admin@sitelog.dev"},
            app_name="app",
            app_data=zip_directory_to_bytes(str(app), ""),
            fl_ctx=context or FLContext(),
        )
        return answer

    def file(self, job_id: str, name: str = JSON) -> Path:
        """Give the path of a deployed file."""
        return Path(self.workspace.get_app_dir(job_id)) / name

    def run_folder(self, job_id: str) -> Path:
        """Give the folder that NVFlare makes for a job."""
        return Path(self.workspace.get_run_dir(job_id))


def make_site(
    directory: Path, namespace: str, *, kubeconfig: Path, fail_closed: bool = True, timeout: float = 20
) -> GatedSite:
    """Make a site whose gate publishes in `namespace`."""
    root = directory / "workspace"
    for folder in ("startup", "local"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    settings = Settings(namespace, fail_closed=fail_closed, timeout=timeout, kubeconfig=str(kubeconfig))
    policies = JobPolicies(Publisher(settings).log_streaming, fail_closed=fail_closed)
    return GatedSite(Workspace(str(root), site_name=CLIENT), settings, policies)


def published(control_plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    """Give all ConfigMaps that gates have published in a namespace."""
    answer = control_plane.kubectl("get", "cm", "-n", namespace, "-l", "sitelog.dev/published-by=gate", "-o", "json")
    items: list[dict[str, Any]] = json.loads(answer)["items"]
    return items


def annotate(control_plane: ControlPlane, configmap: Mapping[str, Any], log_streaming: LogStreaming | None) -> None:
    """Give a published ConfigMap another log streaming, as the controller does when a policy changes."""
    metadata = configmap["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/configmaps/{metadata['name']}"
    annotations = {"sitelog.dev/log-streaming": log_streaming.value if log_streaming else None}
    control_plane.api.patch(path, {"metadata": {"annotations": annotations}})
