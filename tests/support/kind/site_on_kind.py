"""A federation on a cluster: an FL server and a site, deployed as NVFlare's own tools and charts do it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from nvflare.app_opt.job_launcher.k8s_launcher import job_pod_name, uuid4_to_rfc1123

from support.commands import step
from support.control_plane.api import ApiError, Json
from support.federation.provisioning import ADMIN, MEMBER, SITE, edit, kit_files, nvflare, provision
from support.kind.fl_console import FlConsole
from support.kind.images import SITE as SITE_IMAGE
from support.kind.kind import FOLDER, Cluster
from support.sitelog.installation import Installation
from support.wait import wait_for

NAMESPACE = "nvflare"
SERVER = "nvflare-server"  # the participant, and its Service
COURIER_SECRET = "site-1-courier"
JOBS_AT_ONCE = 50
TTL = 60  # seconds for which a finished upload Job stays

_WORKSPACE = "/var/tmp/nvflare/workspace"
_SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}}
_SERVER_PODS = f"--selector=app.kubernetes.io/name={SERVER}"
# The launcher asks for images at their registry each time, unless the site says otherwise; ours are on the node.
_STUDY_RUNTIME = {
    "format_version": 2,
    "studies": {
        "default": {
            "pod_template": {"spec": {"containers": [{"name": "nvflare_job", "imagePullPolicy": "IfNotPresent"}]}}
        }
    },
}


class Site:
    """The federation as an admin and an operator of it see it: jobs, what is stored of them, the server's restarts.

    Attributes
    ----------
    namespace
        Where the server, the site and its job pods are.
    """

    namespace = NAMESPACE

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.console = FlConsole(cluster, NAMESPACE)

    # --- jobs ---------------------------------------------------------------------------------------------------

    def submit(self, job_folder: Path) -> str:
        """Submit a job and give its id, as soon as the server took it."""
        return self.console.submit(job_folder)

    def status(self, job_id: str) -> str:
        """Give a job's status now, such as `RUNNING`."""
        return str(self.console.ask("meta", job=job_id).get("status", ""))

    def abort(self, job_id: str) -> None:
        """Abort a job; it may take a while to end."""
        self.console.ask("abort", job=job_id)

    def wait_ended(self, job_id: str, deadline: float = 120) -> str:
        """Wait for a job's end and give its status, such as `FINISHED:COMPLETED`."""

        def ended() -> str:
            status = self.status(job_id)
            return status if status.startswith("FINISHED") else ""

        return wait_for(ended, deadline, f"job {job_id} to end", every=0.3)

    def stored(self, job_id: str) -> dict[str, bytes]:
        """Give what the server keeps of a job's logs: `ERRORLOG_site-1`, `LOG_log.txt_site-1` ..., whole."""
        return self.console.files("stored", job_id)

    def live(self, job_id: str) -> dict[str, bytes]:
        """Give the logs that stream in at this moment: `log.txt`, as far as it is."""
        return self.console.files("live", job_id)

    def job_pod(self, job_id: str) -> Json | None:
        """Give the pod that NVFlare's launcher made for a job at the site, as it is now."""
        name = job_pod_name(uuid4_to_rfc1123(job_id), SITE)
        try:
            return dict(self.cluster.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def client_pod(self) -> Json:
        """Give the pod of the site's FL client."""
        (pod,) = self.cluster.api.get(
            f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=f"app.kubernetes.io/name={SITE}"
        )["items"]
        return dict(pod)

    def client_log(self) -> str:
        """Give what the FL client logged."""
        return self.cluster.api.text(f"/api/v1/namespaces/{NAMESPACE}/pods/{self.client_pod()['metadata']['name']}/log")

    # --- the FL server --------------------------------------------------------------------------------------------

    def stop_server(self) -> None:
        """End the FL server and its jobs; its disk stays."""
        here = f"--namespace={NAMESPACE}"
        self.cluster.kubectl("scale", f"deployment/{SERVER}", "--replicas=0", here)
        self.cluster.kubectl("wait", "pods", _SERVER_PODS, "--for=delete", "--timeout=90s", here)

    def start_server(self) -> None:
        """Start the FL server, and wait until the site is registered again."""
        self.cluster.kubectl("scale", f"deployment/{SERVER}", "--replicas=1", f"--namespace={NAMESPACE}")
        self.wait_registered()

    def wait_registered(self) -> None:
        """Wait until the server knows the site."""
        wait_for(lambda: SITE in self.console.ask("clients"), 120, f"{SITE} to be registered", every=0.5)


def govern(sitelog: Installation, log_streaming: str = "Allowed") -> None:
    """Put the policy in force that most tests run under, or one that forbids."""
    error_log = {"upload": "Enabled", "courierSecretName": COURIER_SECRET, "ttlSecondsAfterFinished": TTL}
    sitelog.policy(NAMESPACE, logStreaming=log_streaming, clientName=SITE, gate="Injected", errorLog=error_log)


def deployed(cluster: Cluster) -> bool:
    """Say whether an earlier run has left a whole federation in the cluster."""
    return cluster.exists(f"/api/v1/namespaces/{NAMESPACE}/pods/fl-console")


def deploy(cluster: Cluster, site: Site) -> None:
    """Provision, prepare, stage and install server and site; the namespace is there, and empty."""
    directory = FOLDER / "federation"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    here = f"--namespace={NAMESPACE}"
    with step("deploying an FL server and a site with NVFlare's tools"):
        kits = provision(directory, SERVER, fed_learn_port=8002)
        files = [f"--from-file={path}" for path in kit_files(kits / MEMBER)]
        cluster.kubectl("create", "secret", "generic", COURIER_SECRET, *files, here)
        for participant in (SERVER, SITE):
            cluster.kubectl("create", "--filename=-", here, input=json.dumps(_claim(participant)))
            kit = _prepare(directory, kits, participant)
            nvflare(directory, "deploy", "k8s", "stage", str(kit), here, **cluster.environment)
            chart = str(kit / "helm_chart")
            cluster.helm("upgrade", "--install", participant, chart, here, "--set=image.pullPolicy=IfNotPresent")
        site.console.deploy(kits / ADMIN, SERVER, SERVER)
        site.wait_registered()


def _prepare(directory: Path, kits: Path, participant: str) -> Path:
    """Make a kit for Kubernetes out of a provisioned one, and give it what a site's operator would."""
    config, prepared = directory / f"{participant}.yaml", directory / "prepared" / participant
    parent = {"docker_image": SITE_IMAGE.name, "workspace_pvc": participant, "resources": _SMALL}
    runtime = {"runtime": "k8s", "namespace": NAMESPACE, "server_service_name": SERVER, "parent": parent}
    config.write_text(yaml.safe_dump(runtime))
    kit = str(kits / participant)
    nvflare(directory, "deploy", "prepare", f"--kit={kit}", f"--output={prepared}", f"--config={config}")
    if participant == SERVER:
        edit(prepared, _server_resources)
        _end_at_once(prepared / "helm_chart" / "templates" / "server-deployment.yaml")
    else:
        (prepared / "local" / "study_runtime.yaml").write_text(yaml.safe_dump(_STUDY_RUNTIME))
    return prepared


def _server_resources(resources: dict[str, Any]) -> None:
    """Start jobs quickly and many at once, as processes of the server's own pod: the site's pods are the subject."""
    components = {component["id"]: component for component in resources["components"]}
    components["job_scheduler"]["args"].update(min_schedule_interval=1.0, max_jobs=JOBS_AT_ONCE)
    components["log_receiver"]["args"]["dest_dir"] = f"{_WORKSPACE}/staging"
    launcher = "nvflare.app_common.job_launcher.server_process_launcher.ServerProcessJobLauncher"
    components["k8s_launcher"].update(id="process_launcher", path=launcher, args={})


def _end_at_once(template: Path) -> None:
    """Let a stop of the server be a power cut: it does not heed SIGTERM, and would take 30 s."""
    before, spec, after = template.read_text().rpartition("    spec:\n")
    template.write_text(f"{before}{spec}      terminationGracePeriodSeconds: 1\n{after}")


def _claim(name: str) -> Mapping[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
